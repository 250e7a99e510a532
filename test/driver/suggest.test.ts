import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { batchByRoofline, coresByWeights } from "../../src/driver/suggest.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
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
    expect((await command(neuronc, "suggest", write("open.onnx", "n"), "--batches", "1")).out).toContain("--batch-size 36");
  });

  it("takes a fixed batch as it is", async () => {
    const { out } = await command(neuronc, "suggest", write("fixed.onnx", "4"), "--json");
    expect(JSON.parse(out)).toMatchObject({ batchSize: 36, found: { batchSize: 4, tried: [{ batchSize: 4 }] } });
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
