/** Which file a model came from, told by its content. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { userError } from "./diagnostics/diagnostic.js";

export interface Fingerprint {
  readonly sha256: string;
  readonly bytes: number;
}

const CHUNK = 1 << 20;

/** Reads the file in pieces, whatever its size. Errors: NCC0801, NCC0802. */
export function fingerprint(path: string): Fingerprint {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(CHUNK);
  let bytes = 0;
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    for (let count = readSync(file, buffer); count > 0; count = readSync(file, buffer)) {
      hash.update(buffer.subarray(0, count));
      bytes += count;
    }
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    if (error.code === "ENOENT" || error.code === "ENOTDIR") throw userError("NCC0801", { file: path });
    throw userError("NCC0802", { file: path, detail: String(error.code) });
  } finally {
    if (file !== undefined) closeSync(file);
  }
  return { sha256: hash.digest("hex"), bytes };
}
