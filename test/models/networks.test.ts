import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { networks } from "../../models/networks.js";
import { Random } from "../../models/random.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Graph } from "../../src/graph/graph.js";
import { elementCount, floatTensor, toFloat32 } from "../../src/graph/tensor.js";
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
