import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { seeded } from "../../src/graph/random.js";
import { floatTensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { compileModel, loadModel, toNumbers } from "../../src/index.js";
import { splitOperands } from "../../src/passes/residues.js";

const folder = mkdtempSync(join(tmpdir(), "residues-"));
afterAll(() => rmSync(folder, { recursive: true }));

const [channels, outputs, size] = [3, 4, 6];

/** A pointwise convolution on the device, and its sums in float64: of the products, and of their absolute values. */
async function convolve(word: string, x: Float32Array, w: Float32Array) {
  const graph = parseGraph(`graph "pointwise" { input %x: float32[1, ${channels}, ${size}, ${size}]
    const %w: float32[${outputs}, ${channels}, 1, 1] = [${[...w].join(", ")}]
    %y: float32[1, ${outputs}, ${size}, ${size}] = Conv(%x, %w) @conv
    output %y }`);
  const path = join(folder, "model.onnx");
  writeFileSync(path, writeOnnx(graph));
  const { bytes } = await compileModel(path, { fastMath: [word], forceFuseOps: ["conv"], minimumSegmentSize: 1 });
  const loaded = await loadModel(bytes, { threads: 1 });
  const seen = toNumbers((await loaded.run(new Map([["x", floatTensor([1, channels, size, size], x)]]))).get("y")!);
  await loaded.dispose();
  const area = size * size;
  const sum = (index: number, of: (product: number) => number) =>
    Array.from({ length: channels }, (_, c) => of(x[c * area + (index % area)] * w[Math.floor(index / area) * channels + c])).reduce(
      (total, product) => total + product,
    );
  return seen.map((value, index) => ({ value, wanted: sum(index, Number), magnitude: sum(index, Math.abs) }));
}

test.each([
  ["fp32-cast-matmult-fp16", 2 ** -19],
  ["fp32-cast-matmult-bf16", 2 ** -14],
])("%s: a convolution of few channels errs by far less than one rounding", async (word, unit) => {
  const random = seeded(7);
  const values = (count: number) => Float32Array.from({ length: count }, () => 2 * random() - 1);
  for (const { value, wanted, magnitude } of await convolve(word, values(channels * size * size), values(outputs * channels))) {
    expect(Math.abs(value - wanted)).toBeLessThanOrEqual(unit * magnitude);
  }
});

test("infinities, and numbers beyond FP16's, are themselves", async () => {
  const x = new Float32Array(channels * size * size).fill(1);
  x.set([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 100000]);
  for (const { value, wanted } of await convolve("fp32-cast-matmult-fp16", x, new Float32Array(outputs * channels).fill(0.5))) {
    expect(value).toBe(wanted);
  }
});

test.each([
  [3, 1, true],
  [42, 1, true],
  [43, 1, false],
  [3, 7, true],
  [5, 3, true],
  // In parts, the kernel's rows would no longer share a pass.
  [6, 3, false],
  [14, 3, false],
])("%d channels, %d x %d kernel: parts %s", (inputs, kernel, split) => {
  const weights = floatTensor([1, inputs, kernel, kernel], new Float32Array(inputs * kernel * kernel).fill(0.3));
  const graph = parseGraph(`graph "first" { input %x: float32[1, ${inputs}, 9, 9]
    %w: float32[1, ${inputs}, ${kernel}, ${kernel}] = Neg(%u) @w
    const %u: float32[] = [1]
    %y: float32[1, 1, ${10 - kernel}, ${10 - kernel}] = Conv(%x, %w) @conv
    output %y }`);
  const constants = new Map([["w", weights]]);
  const nodes = graph.nodes.filter(({ op }) => op === "Conv");
  expect(splitOperands({ ...graph, nodes, constants }, "float16").nodes.length > 1).toBe(split);
});
