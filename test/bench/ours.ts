/** This project as the benchmark sees it: through the package's API, and the simulator's clock. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileModel, loadModel, readNeff } from "../../src/index.js";
import { simulateTime } from "../../src/simulator/time.js";
import { runProcess } from "./process.js";
import type { Engine, ModelInput } from "./protocol.js";

/** Values on simulated cores, all operations in 16 bits (the compiler's default). */
export async function loadOurs(path: string, inputs: readonly ModelInput[], threads: number): Promise<Engine> {
  const { artifact } = await compileModel(path, { inputShapes: new Map(inputs.map(({ name, shape }) => [name, shape])) });
  const model = await loadModel(artifact, { threads });
  const values = new Map(inputs.map(({ name, ...tensor }) => [name, tensor]));
  return { run: async () => void (await model.run(values)) };
}

export interface CompileFigures {
  readonly seconds: number;
  readonly peakMemoryBytes: number;
}

/** `neuronc compile` at batch 1 for so many cores in a process of its own. */
export async function compileCold(path: string, cores = 1): Promise<CompileFigures> {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-bench-"));
  try {
    const command = new URL("../../../bin/neuronc.js", import.meta.url).pathname;
    const started = performance.now();
    const flags = ["--batch-size", "1", "--neuroncore-pipeline-cores", String(cores), "--json", "--output", join(folder, "out.neff")];
    const text = await runProcess([command, "compile", path, ...flags]);
    const seconds = (performance.now() - started) / 1e3;
    const report: unknown = JSON.parse(text);
    if (typeof report !== "object" || report === null || !("peakMemoryBytes" in report) || typeof report.peakMemoryBytes !== "number") {
      throw new Error("neuronc compile --json: no peakMemoryBytes");
    }
    return { seconds, peakMemoryBytes: report.peakMemoryBytes };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Seconds to simulate the time of one request, without values, in this process. */
export async function timingOnly(path: string): Promise<() => number> {
  const { bytes } = await compileModel(path, { batchSize: 1 });
  const subgraphs = [...readNeff(bytes).programs.values()].map((stages) => stages.map(({ program }) => program));
  return () => {
    const started = performance.now();
    simulateTime(subgraphs);
    return (performance.now() - started) / 1e3;
  };
}

/** Bytes of a file: what an ONNX model's weights take, to within its small rest. */
export function fileBytes(path: string): number {
  return statSync(path).size;
}
