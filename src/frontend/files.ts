/** Reading model files: whole or by range, with a coded error for what can't be read. */
import { closeSync, openSync, readSync, type Stats, statSync } from "node:fs";
import { userError } from "../diagnostics/diagnostic.js";

const largestRead = 2 ** 30;

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.split("\n")[0] : String(error);
}

export function withFile<T>(path: string, use: (file: number) => T): T {
  const file = openSync(path, "r");
  try {
    return use(file);
  } finally {
    closeSync(file);
  }
}

/** Reads bytes [offset, offset + length) of an open file into a buffer of its own; shorter where the file ends. */
export function readRange(file: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const count = readSync(file, bytes, done, Math.min(length - done, largestRead), offset + done);
    if (count === 0) return bytes.subarray(0, done);
    done += count;
  }
  return bytes;
}

/** What is at a path; undefined where nothing is. Errors: NCC0104. */
export function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** The error for a file that is there but can't be read. */
export function unreadable(path: string, error: unknown): Error {
  return userError("NCC0104", { path, reason: reasonOf(error) });
}

/** What a model file is, which is there and holds something. Errors: NCC0101, NCC0103, NCC0104, NCC0105. */
export function modelStats(path: string): Stats {
  const stats = statsOf(path);
  if (stats === undefined) throw userError("NCC0101", { path });
  if (!stats.isFile()) throw userError("NCC0103", { path });
  if (stats.size === 0) throw userError("NCC0105", { path });
  return stats;
}

/** The content of a file of `size` bytes. Errors: NCC0104. */
export function readWhole(path: string, size: number): Uint8Array {
  try {
    return withFile(path, (file) => readRange(file, 0, size));
  } catch (error) {
    throw unreadable(path, error);
  }
}
