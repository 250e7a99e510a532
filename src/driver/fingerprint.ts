/** Which files a model came from, told by their content. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { userError } from "../diagnostics/diagnostic.js";

export interface Fingerprint {
  readonly sha256: string;
  readonly bytes: number;
}

const CHUNK = 1 << 20;

/** Of one file or several after each other, read in pieces, whatever their size. Errors: NCC0101, NCC0802. */
export function fingerprint(paths: readonly string[]): Fingerprint {
  const hash = createHash("sha256");
  const bytes = paths.reduce((sum, path) => sum + hashFile(path, (piece) => hash.update(piece)), 0);
  return { sha256: hash.digest("hex"), bytes };
}

/** Returns the file's bytes. */
function hashFile(path: string, update: (piece: Uint8Array) => void): number {
  const buffer = Buffer.allocUnsafe(CHUNK);
  let bytes = 0;
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    for (let count = readSync(file, buffer); count > 0; count = readSync(file, buffer)) {
      update(buffer.subarray(0, count));
      bytes += count;
    }
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    if (error.code === "ENOENT" || error.code === "ENOTDIR") throw userError("NCC0101", { path });
    throw userError("NCC0802", { file: path, detail: String(error.code) });
  } finally {
    if (file !== undefined) closeSync(file);
  }
  return bytes;
}
