import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { batchByRoofline, coresByWeights } from "../../src/driver/suggest.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Graph, Node, TensorType } from "../../src/graph/graph.js";
import { floatTensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { denseWork } from "../../src/operators/dense.js";
import { command } from "../cli/command.js";

describe("the vendor's rules of thumb", () => {
  it("give the batches that the vendor derives", () => {
    expect(batchByRoofline({ flops: 77.3e9, weights: 302e6 })).toBe(6);
    expect(batchByRoofline({ flops: 7.8e9, weights: 25e6 })).toBe(5);
    expect(batchByRoofline({ flops: 0, weights: 0 })).toBe(1);
  });

  it("give cores in groups of four", () => {
    expect([1e6, 25.5e6, 86e6, 302e6].map(coresByWeights)).toEqual([1, 4, 16, 60]);
  });
});

const graph = (batch: string) =>
  parseGraph(`graph "small" {
  input %x: float32[${batch}, 2, 5, 5]
  const %w: float32[3, 2, 3, 3] = [${Array.from({ length: 54 }, (_, index) => index % 3).join(", ")}]
  const %b: float32[3] = [1, 2, 3]
  %a: float32[${batch}, 3, 5, 5] = Conv(%x, %w, %b) {kernel_shape = [3, 3], pads = [1, 1, 1, 1]} @a
  %y: float32[${batch}, 3, 5, 5] = Relu(%a) @b
  output %y
}`);

/** Products with square matrices one after the other. */
function dense(layers: number, extent: number): Graph {
  const value: TensorType = { dtype: "float32", shape: ["n", extent] };
  const weights = Array.from(
    { length: layers },
    (_, layer) => [`w${layer}`, floatTensor([extent, extent], new Float32Array(extent ** 2).fill(layer + 1))] as const,
  );
  const node = (layer: number): Node => ({
    name: `product${layer}`,
    op: "MatMul",
    domain: "",
    inputs: [`v${layer}`, `w${layer}`],
    outputs: [`v${layer + 1}`],
    attributes: {},
    origins: [],
  });
  const last = `v${layers}`;
  return {
    name: "dense",
    inputs: ["v0"],
    outputs: [last],
    nodes: weights.map((_, layer) => node(layer)),
    types: new Map<string, TensorType>([["v0", value], [last, value], ...weights]),
    constants: new Map(weights),
  };
}

/** A transposed convolution whose weights, which no channels divide, are more than a core holds. */
function largeKernel(): Graph {
  const weights = floatTensor([512, 896, 4, 4], new Float32Array(512 * 896 * 16));
  return {
    name: "large",
    inputs: ["x"],
    outputs: ["y"],
    nodes: [{ name: "up", op: "ConvTranspose", domain: "", inputs: ["x", "w"], outputs: ["y"], attributes: {}, origins: [] }],
    types: new Map<string, TensorType>([
      ["x", { dtype: "float32", shape: ["n", 512, 2, 2] }],
      ["y", { dtype: "float32", shape: ["n", 896, 5, 5] }],
      ["w", weights],
    ]),
    constants: new Map([["w", weights]]),
  };
}

it("counts products with elements, not with padding, and weights with biases", () => {
  // Of 3 taps over 5 positions along an axis, 13 lie inside.
  expect(denseWork(graph("1"))).toEqual({ flops: 2 * 3 * 2 * 13 * 13, weights: 54 + 3 });
});

describe("neuronc suggest", () => {
  const folder = mkdtempSync(join(tmpdir(), "suggest-"));
  const write = (name: string, batch: string) => {
    const path = join(folder, name);
    writeFileSync(path, writeOnnx(graph(batch)));
    return path;
  };

  it("prints the starting points beside what it finds", async () => {
    const { code, out } = await command(neuronc, "suggest", write("open.onnx", "n"), "--batches", "1,2", "--json");
    expect(code).toBe(0);
    const result = JSON.parse(out);
    // 640 / (2028 / 114) = 36.
    expect(result).toMatchObject({ batchSize: 36, neuroncorePipelineCores: 1, found: { tried: [{ batchSize: 1 }, { batchSize: 2 }] } });
    const text = (await command(neuronc, "suggest", write("open.onnx", "n"), "--batches", "1")).out;
    expect(text).toContain("--batch-size 36");
    expect(text).toContain("1 core holds every weight on chip");
  });

  it("takes a fixed batch as it is", async () => {
    const { out } = await command(neuronc, "suggest", write("fixed.onnx", "4"), "--json");
    expect(JSON.parse(out)).toMatchObject({
      batchSize: 36,
      found: { batchSize: 4, tried: [{ batchSize: 4 }], pipelines: [{ neuronCores: 1 }] },
    });
  });

  it("finds the fewest cores that hold every weight, beside the vendor's number", async () => {
    const model = join(folder, "dense.onnx");
    writeFileSync(model, writeOnnx(dense(10, 1024)));
    // 21 MB in BF16; a core keeps 12.6 MB less what values take.
    const { neuroncorePipelineCores, found } = JSON.parse((await command(neuronc, "suggest", model, "--batches", "1", "--json")).out);
    expect(neuroncorePipelineCores).toBe(4);
    expect(found).toMatchObject({
      neuroncorePipelineCores: 2,
      pipelines: [
        { neuroncorePipelineCores: "auto", neuronCores: 2, residentWeights: 1, instance: "inf1.xlarge", replicas: 2 },
        { neuroncorePipelineCores: 4, residentWeights: 1, instance: "inf1.xlarge" },
      ],
      refused: [],
    });
  });

  it("says why no number of cores holds every weight", async () => {
    const model = join(folder, "large.onnx");
    writeFileSync(model, writeOnnx(largeKernel()));
    const { out } = await command(neuronc, "suggest", model, "--batches", "1");
    expect(out).toContain("no number of cores holds every weight on chip");
    expect(out).toMatch(/\n {2}1 +1 +[\d.]+ % +inf1.xlarge x 4 .*\n {2}auto: NCC0691: up: its weights take/);
  });

  it.each([
    ["NCC0101", [join(folder, "none.onnx")]],
    ["NCC0402", [join(folder, "open.onnx"), "--batches", "1,0"]],
    ["NCC0403", [join(folder, "open.onnx"), "--instance", "inf2.xlarge"]],
  ])("%s for %j, exit 1", async (id, words) => {
    const { code, err } = await command(neuronc, "suggest", ...words);
    expect([code, err]).toEqual([1, expect.stringContaining(id)]);
  });
});
