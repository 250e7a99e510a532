import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { parseGraph } from "../../src/graph/text.js";
import { command } from "./command.js";

const graph = parseGraph(`graph "small" {
  input %x: float32[1, 4, 8, 8]
  const %w: float32[2, 4, 1, 1] = [1, 2, 3, 4, 5, 6, 7, 8]
  %a: float32[1, 2, 8, 8] = Conv(%x, %w) {kernel_shape = [1, 1]} @a
  %y: float32[1, 2, 8, 8] = Relu(%a) @b
  output %y
}`);

it("neuronc compile --report tells what bounds each stage", async () => {
  const folder = mkdtempSync(join(tmpdir(), "stage-report-"));
  const model = join(folder, "small.onnx");
  writeFileSync(model, writeOnnx(graph));
  const words = ["compile", model, "--output", join(folder, "small.neff"), "--force-fuse-ops", "a"];
  const { code, out } = await command(neuronc, ...words, "--report");
  expect(code).toBe(0);
  expect(out).toContain("Of DRAM bandwidth");
  expect(out).toContain("Spills");
  expect(out).toMatch(/Peak +Live at once +Gap +Spills +PSUM banks +Live at once +Gap/);
  expect((await command(neuronc, ...words)).out).not.toContain("Spills");
  const { subgraphs } = JSON.parse((await command(neuronc, ...words, "--json")).out);
  expect(subgraphs[0].stages[0]).toMatchObject({
    flops: 2 * 64 * 8 + 128,
    psumPeakBytes: 2048 * 64,
    psumBoundBytes: 4 * 64 * 64,
    traffic: { inputs: 1024, outputs: 512, spills: expect.any(Number) },
  });
});
