import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { networks } from "../../models/networks.js";
import { compileModel } from "../../src/driver/compile.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { hardware } from "../../src/hardware/hardware.js";

it("counts the work of an LSTM that is kept on the CPU", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kept-"));
  try {
    const path = join(folder, "tagger.onnx");
    const graph = networks.lstm_tagger({ batch: 2, sequence: 32 });
    writeFileSync(path, writeOnnx(graph));
    const names = graph.nodes.filter(({ op }) => op === "LSTM").map(({ name }) => name);
    const [whole, kept] = [await compileModel(path), await compileModel(path, { noFuseOps: names })];
    const cpu = kept.report.subgraphs.filter(({ device }) => device === "cpu");
    const flops = cpu.reduce((sum, part) => sum + part.flops, 0);
    expect(kept.report.flopsOnNeuron).toBeLessThan(0.5);
    expect(kept.report.flops / whole.report.flops).toBeGreaterThan(0.95);
    expect(kept.report.flops / whole.report.flops).toBeLessThan(1.05);
    expect(cpu.reduce((sum, { ms }) => sum + ms, 0)).toBeGreaterThanOrEqual((1000 * flops) / hardware.hostFlops);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
