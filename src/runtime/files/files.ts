/** Tensors from and to the files that a request is made of: `.npy`, `.npz`, ONNX TensorProto `.pb`. */
import { readFileSync, statSync } from "node:fs";
import { extname } from "node:path";
import { UserError, userError } from "../../diagnostics/diagnostic.js";
import { readTensorProto } from "../../frontend/onnx/tensor.js";
import type { Tensor } from "../../graph/tensor.js";
import { readNpy } from "./npy.js";
import { readNpz } from "./npz.js";

/**
 * Reads the value of one input. Of a `.npz`, the array of that name, or the only one.
 * Errors: NCC0101 no such file, NCC0802 a folder or unreadable, NCC0803 damaged, NCC0804 no such array, NCC0805 another kind of file.
 */
export function readTensorFile(path: string, name: string): Tensor {
  const kind = extname(path).toLowerCase();
  const bytes = readBytes(path);
  if (kind === ".npy") return readNpy(bytes, path);
  if (kind === ".npz") {
    const arrays = readNpz(bytes, path);
    const found = arrays.get(name) ?? (arrays.size === 1 ? [...arrays.values()][0] : undefined);
    if (!found) throw userError("NCC0804", { file: path, name, names: [...arrays.keys()].join(", ") });
    return found;
  }
  if (kind !== ".pb") throw userError("NCC0805", { file: path });
  try {
    return readTensorProto(bytes).tensor;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw userError("NCC0803", { file: path, format: "TensorProto .pb", detail: error.diagnostics[0].message });
  }
}

/** A whole file. Errors: NCC0101, NCC0802. */
export function readBytes(path: string): Uint8Array {
  try {
    if (statSync(path).isDirectory()) throw userError("NCC0802", { file: path, detail: "it is a directory" });
    return readFileSync(path);
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    if (error.code === "ENOENT" || error.code === "ENOTDIR") throw userError("NCC0101", { path });
    throw userError("NCC0802", { file: path, detail: String(error.code) });
  }
}
