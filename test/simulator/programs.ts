/** Seeded test material: random numbers, accesses and small programs. */
import type { TensorData } from "../../src/graph/tensor.js";
import { allocateData, toBfloat16Bits, toFloat16Bits } from "../../src/graph/tensor.js";
import type { Access, Buffer, ChipBuffer, DeviceType, DramBuffer, DramKind, LoadedProgram, Operation } from "../../src/program/program.js";

export function randomData(random: () => number, dtype: DeviceType, count: number, size = 8): TensorData {
  const data = allocateData(dtype, count);
  for (let index = 0; index < count; index++) {
    const value = (random() - 0.5) * 2 * size;
    if (dtype === "float16") data[index] = toFloat16Bits(value);
    else if (dtype === "bfloat16") data[index] = toBfloat16Bits(value);
    else if (dtype === "float32") data[index] = value;
    else if (dtype === "bool") data[index] = random() < 0.5 ? 1 : 0;
    else data[index] = Math.floor(random() * 2 ** 32) >> (random() < 0.5 ? 28 : 0);
  }
  return data;
}

export const dram = (name: string, kind: DramKind, dtype: DeviceType, shape: readonly number[], address = 0): DramBuffer => ({
  name,
  space: "dram",
  kind,
  dtype,
  shape,
  address,
});

export const chip = (name: string, space: "sbuf" | "psum", dtype: DeviceType, elements: number, address: number): ChipBuffer => ({
  name,
  space,
  dtype,
  partitions: space === "sbuf" ? 128 : 64,
  elements,
  address,
});

/** Row-major whole of `sizes` from `offset` on. */
export function rows(buffer: string, start: number, count: number, sizes: readonly number[], offset = 0, partitionStride = 0): Access {
  const strides = sizes.map((_, axis) => sizes.slice(axis + 1).reduce((product, size) => product * size, 1));
  return { buffer, partitionStart: start, partitionCount: count, partitionStride, offset, sizes, strides };
}

/** A DRAM buffer as `lanes` rows of `count` elements. */
export const planes = (buffer: string, lanes: number, count: number): Access => rows(buffer, 0, lanes, [count], 0, count);

export function program(buffers: readonly Buffer[], infer: readonly Operation[], constants = new Map<string, Uint8Array>()): LoadedProgram {
  const instructions = infer.map((operation) => ({ operation, origin: "", waits: [] }));
  return { program: { name: "test", buffers, load: [], infer: [{ engine: "vector", instructions }] }, constants };
}

/** Raw bytes of elements. */
export function bytesOf(data: TensorData): Uint8Array {
  if (Array.isArray(data)) throw new Error("strings have no bytes");
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
