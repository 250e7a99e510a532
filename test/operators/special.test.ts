/** Infinities, and borders that are cut off: forced onto a NeuronCore, against ONNX Runtime. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { floatTensor, toNumbers } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { runGraph } from "../../src/host/index.js";
import { compileModel, loadModel } from "../../src/index.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-special-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function both(text: string, shape: readonly number[], values: readonly number[]): Promise<{ seen: number[]; wanted: number[] }> {
  const graph = parseGraph(text);
  const path = join(folder, "net.onnx");
  writeFileSync(path, writeOnnx(graph));
  const forceFuseOps = graph.nodes.map(({ name }) => name);
  const { artifact, report } = await compileModel(path, { fastMath: ["none"], forceFuseOps, minimumSegmentSize: 1, verifyEach: true });
  expect(report.subgraphs.map(({ device }) => device)).toEqual(["neuron"]);
  const model = await loadModel(artifact);
  try {
    const inputs = new Map([["x", floatTensor(shape, values)]]);
    const [seen, wanted] = [await model.run(inputs), await runGraph(graph, inputs)].map((outputs) => [...toNumbers(outputs.get("y")!)]);
    return { seen, wanted };
  } finally {
    await model.dispose();
  }
}

const { POSITIVE_INFINITY: most, NEGATIVE_INFINITY: least } = Number;

describe("special values", () => {
  it("the logarithm of a sum of exponentials is infinite where its terms are", async () => {
    const text = `graph "net" { input %x: float32[4, 2]
      const %axes: int64[1] = [1]
      %y: float32[4, 1] = ReduceLogSumExp(%x, %axes) @sum
      output %y }`;
    const { seen } = await both(text, [4, 2], [most, 1, least, least, most, least, 0, least]);
    expect(seen).toEqual([most, least, most, 0]);
  });

  it("the remainder of the least integer, by either sign", async () => {
    const text = `graph "net" { input %x: float32[4]
      const %least: int32[4] = [-2147483648, -2147483648, 2147483647, -2147483648]
      const %b: int32[4] = [10, -10, -10, -1]
      %n: int32[4] = Cast(%x) {to = 6} @cast
      %a: int32[4] = BitwiseXor(%n, %least) @flip
      %r: int32[4] = Mod(%a, %b) {fmod = 1} @mod
      %y: float32[4] = Cast(%r) {to = 1} @back
      output %y }`;
    const { seen, wanted } = await both(text, [4], [0, 0, 0, 0]);
    expect(seen).toEqual(wanted);
    expect(seen.map((value) => value + 0)).toEqual([-8, -8, 7, 0]);
  });

  it.each(["reflect", "edge", "wrap"])("a border in mode %s shows nothing of what is cut off at the other end", async (mode) => {
    const text = `graph "net" { input %x: float32[6]
      const %pads: int64[2] = [2, -1]
      %y: float32[7] = Pad(%x, %pads) {mode = "${mode}"} @pad
      output %y }`;
    const { seen, wanted } = await both(text, [6], [1, 2, 3, 4, 5, 6]);
    expect(seen).toEqual(wanted);
  });
});
