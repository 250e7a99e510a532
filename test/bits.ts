/** Equality of outputs, bit by bit. */
import type { Tensor } from "../src/index.js";

type Values = ReadonlyMap<string, Tensor>;

/** The name of an output whose shape or bits are others in `second`; undefined where all are the same. */
export function unlikeOutput(first: Values, second: Values): string | undefined {
  return [...first.keys()].find((name) => !sameTensor(first.get(name), second.get(name)));
}

function sameTensor(first: Tensor | undefined, second: Tensor | undefined): boolean {
  if (!first || !second || first.dtype !== second.dtype || first.shape.join() !== second.shape.join()) return false;
  return bytesOf(first).equals(bytesOf(second));
}

function bytesOf({ data }: Tensor): Buffer {
  return Array.isArray(data) ? Buffer.from(JSON.stringify(data)) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
