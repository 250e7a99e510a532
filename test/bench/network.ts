/** The generated networks as files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networks } from "../../models/networks.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";

/** Calls `use` with the path of a generated network's file at batch 1, which is gone afterwards. */
export async function withNetwork<T>(name: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-bench-"));
  try {
    const path = join(folder, `${name}.onnx`);
    writeFileSync(path, writeOnnx(networks[name]({ batch: 1 })));
    return await use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
