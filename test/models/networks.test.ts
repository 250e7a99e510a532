import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { networks } from "../../models/networks.js";
import { Random } from "../../models/random.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Graph } from "../../src/graph/graph.js";
import { elementCount, floatTensor, int64Tensor, toFloat32 } from "../../src/graph/tensor.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { createHostSession } from "../../src/host/index.js";

/** Elements of the constants that training would change: batch-norm statistics and bounds left out. */
function parameters(graph: Graph): number {
  let count = 0;
  for (const [name, { shape }] of graph.constants) if (/\.(weight|bias)$/.test(name)) count += elementCount(shape);
  return count;
}

function argmax(values: Float32Array): number {
  return values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
}

describe("networks", () => {
  it.each([
    ["resnet18", 11_689_512],
    ["resnet50", 25_557_032],
    ["mobilenet_v2", 3_504_872],
  ])("%s has the published number of parameters", (name, count) => {
    const graph = networks[name]({});
    expect(verifyGraph(graph)).toEqual([]);
    expect(parameters(graph)).toBe(count);
    expect(graph.types.get("input")?.shape).toEqual(["batch", 3, 224, 224]);
  });

  it.each([
    ["bert_base", 109_482_240, ["batch", 20, 768]],
    ["minilm", 22_713_216, ["batch", 20, 384]],
    ["distilbert", 66_362_880, ["batch", 20, 768]],
    ["vit_b_16", 86_567_656, ["batch", 1000]],
    // 7,087,872 a block of GPT-2, and the last normalization.
    ["gpt2_blocks", 4 * 7_087_872 + 2 * 768, ["batch", 20, 768]],
    // Table of words, two LSTMs, scores.
    ["lstm_tagger", 1_280_000 + 264_192 + 395_264 + 4369, ["batch", 20, 17]],
  ])("%s has the published number of parameters, and the sequence length that is asked for", (name, count, shape) => {
    const graph = networks[name]({ sequence: 20 });
    expect(verifyGraph(graph)).toEqual([]);
    expect(parameters(graph)).toBe(count);
    expect(graph.types.get(graph.outputs[0])?.shape).toEqual(shape);
  });

  it("are the same for the same seed only", () => {
    const hash = (seed: number) =>
      createHash("sha256")
        .update(writeOnnx(networks.mobilenet_v2({ seed, batch: 1 })))
        .digest("hex");
    const first = hash(1);
    expect(hash(1)).toBe(first);
    expect(hash(2)).not.toBe(first);
  });

  it("score images differently, with activations of order 1", async () => {
    const graph = networks.mobilenet_v2({ batch: 1 });
    const inner = "features.14.depthwise.bn.output";
    const session = await createHostSession(writeOnnx({ ...graph, outputs: [...graph.outputs, inner] }));
    const best = new Set<number>();
    for (let seed = 0; seed < 6; seed++) {
      const image = floatTensor([1, 3, 224, 224], new Random(seed, "image").normals(3 * 224 * 224));
      const outputs = await session.run(new Map([["input", image]]));
      const scores = toFloat32(outputs.get(graph.outputs[0])!);
      const values = toFloat32(outputs.get(inner)!);
      const square = values.reduce((sum, value) => sum + value * value, 0) / values.length;
      expect(square).toBeGreaterThan(0.5);
      expect(square).toBeLessThan(5);
      expect(scores.every(Number.isFinite)).toBe(true);
      best.add(argmax(scores));
    }
    await session.dispose();
    expect(best.size).toBeGreaterThan(2);
  });
});

describe("networks of text", () => {
  it.each([
    ["minilm", 30522],
    ["lstm_tagger", 10000],
  ])("%s answers texts differently, with values of order 1, and no otherwise for what is masked", async (name, vocabulary) => {
    const graph = networks[name]({ batch: 2, sequence: 16 });
    const session = await createHostSession(writeOnnx(graph));
    const random = new Random(1, name);
    const tokens = Array.from({ length: 32 }, () => Math.floor(random.uniform(0, vocabulary)));
    const inputs = new Map(
      graph.inputs.map((input) => [input, int64Tensor([2, 16], new Array(32).fill(input === "token_type_ids" ? 0 : 1))]),
    );
    inputs.set(graph.inputs[0], int64Tensor([2, 16], tokens));
    const outputs = await session.run(inputs);
    const values = toFloat32(outputs.get(graph.outputs[0])!);
    const [first, second] = [values.subarray(0, values.length / 2), values.subarray(values.length / 2)];
    const meanSquare = (data: Float32Array) => data.reduce((sum, value) => sum + value * value, 0) / data.length;
    expect(meanSquare(values)).toBeGreaterThan(0.5);
    expect(meanSquare(values)).toBeLessThan(30);
    expect(meanSquare(first.map((value, index) => value - second[index]))).toBeGreaterThan(0.2 * meanSquare(values));
    if (graph.inputs.includes("attention_mask")) {
      const seen = Array.from({ length: 32 }, (_, index) => (index % 16 < 10 ? 1 : 0));
      inputs.set("attention_mask", int64Tensor([2, 16], seen));
      const masked = await session.run(inputs);
      inputs.set(
        graph.inputs[0],
        int64Tensor(
          [2, 16],
          tokens.map((token, index) => (seen[index] === 1 ? token : 7)),
        ),
      );
      const [a, b] = [masked, await session.run(inputs)].map((all) => toFloat32(all.get(graph.outputs[0])!).subarray(0, 384 * 10));
      expect(Math.max(...a.map((value, index) => Math.abs(value - b[index])))).toBeLessThan(1e-4);
    }
    await session.dispose();
  });
});

describe("random numbers", () => {
  it("are normal: mean, variance and share within one deviation", () => {
    const values = new Random(7, "test").normals(100_000);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.01);
    expect(Math.abs(variance - 1)).toBeLessThan(0.02);
    expect(Math.abs(values.filter((value) => Math.abs(value) < 1).length / values.length - 0.6827)).toBeLessThan(0.005);
  });

  it("keep to their range, and streams of different names differ", () => {
    const random = new Random(3);
    const draws = Array.from({ length: 1000 }, () => random.uniform(2, 5));
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(2);
    expect(Math.max(...draws)).toBeLessThan(5);
    expect(new Random(3, "a").bits()).not.toBe(new Random(3, "b").bits());
  });
});
