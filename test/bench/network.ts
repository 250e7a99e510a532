/** The generated networks as files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networks } from "../../models/networks.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Dim } from "../../src/graph/graph.js";

/** Calls `use` with the path of a generated network's file, which is gone afterwards. */
export async function withNetwork<T>(name: string, use: (path: string) => Promise<T>, batch: Dim = 1): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-bench-"));
  try {
    const path = join(folder, `${name}.onnx`);
    writeFileSync(path, writeOnnx(networks[name]({ batch })));
    return await use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
