/** A tensor's elements as bytes. */
import { createHash } from "node:crypto";
import type { Tensor } from "../../graph/tensor.js";

/** A view of the elements as they lie in memory: little-endian on every host that Node supports with this package. Not for strings. */
export function rawBytes(tensor: Tensor): Uint8Array {
  const { data } = tensor;
  if (Array.isArray(data)) throw new Error("rawBytes: strings have no raw form");
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** SHA-256 of the elements' bytes; of strings, of their JSON. */
export function sha256(tensor: Tensor): string {
  const bytes = Array.isArray(tensor.data) ? JSON.stringify(tensor.data) : rawBytes(tensor);
  return createHash("sha256").update(bytes).digest("hex");
}
