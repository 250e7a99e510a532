/** NumPy's `.npz`: a zip of `.npy` files, stored or deflated. Zip64 is not read: NumPy writes it for arrays over 4 GB only. */
import { inflateRawSync } from "node:zlib";
import { userError } from "../../diagnostics/diagnostic.js";
import type { Tensor } from "../../graph/tensor.js";
import { readNpy } from "./npy.js";

const END_OF_DIRECTORY = 0x06054b50;
const END_BYTES = 22;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_BYTES = 30;

/** The arrays of a `.npz` file by name. `label` names the file in errors. Errors: NCC0803. */
export function readNpz(bytes: Uint8Array, label: string): Map<string, Tensor> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const arrays = new Map<string, Tensor>();
  try {
    let end = view.length - END_BYTES;
    while (view.readUInt32LE(end) !== END_OF_DIRECTORY) end--;
    let at = view.readUInt32LE(end + 16);
    for (let left = view.readUInt16LE(end + 10); left > 0; left--) {
      if (view.readUInt32LE(at) !== DIRECTORY_ENTRY) throw new RangeError("directory entry");
      const nameLength = view.readUInt16LE(at + 28);
      const name = view.toString("utf8", at + 46, at + 46 + nameLength);
      arrays.set(name.replace(/\.npy$/, ""), readNpy(member(view, at), `${label}:${name}`));
      at += 46 + nameLength + view.readUInt16LE(at + 30) + view.readUInt16LE(at + 32);
    }
  } catch (error) {
    // Reads outside the file and wrong deflate data: the file is no whole zip.
    if (error instanceof RangeError || (error instanceof Error && "code" in error)) {
      throw userError("NCC0803", { file: label, format: ".npz", detail: "it is not a whole zip file" });
    }
    throw error;
  }
  return arrays;
}

function member(view: Buffer, entry: number): Uint8Array {
  const method = view.readUInt16LE(entry + 10);
  const size = view.readUInt32LE(entry + 20);
  const local = view.readUInt32LE(entry + 42);
  const start = local + LOCAL_BYTES + view.readUInt16LE(local + 26) + view.readUInt16LE(local + 28);
  if (start + size > view.length) throw new RangeError("member");
  const data = view.subarray(start, start + size);
  return method === 0 ? data : inflateRawSync(data);
}
