/** Elements of requests and constants to and from slots. NaN leaves in one form (0x7fc00000, 0x7fc0, 0x7e00), whatever the host made. */
import { allocateData, fromFloat16Bits, type TensorData, toBfloat16Bits, toFloat16Bits } from "../graph/tensor.js";
import { type DeviceType, deviceBytes } from "../program/program.js";
import type { Memory } from "./memory.js";

let halves: Int32Array | undefined;

/** FP32 bits of every half-precision number. */
function halfTable(): Int32Array {
  if (!halves) {
    const floats = Float32Array.from({ length: 65536 }, (_, bits) => fromFloat16Bits(bits));
    halves = new Int32Array(floats.buffer);
  }
  return halves;
}

export type NumericData = Exclude<TensorData, string[] | BigInt64Array | BigUint64Array>;

export function isNumericData(data: TensorData): data is NumericData {
  return !(Array.isArray(data) || data instanceof BigInt64Array || data instanceof BigUint64Array);
}

/** Copies `count` elements, from index `source` on with that step, into slots from index `target` on with that step. */
export type SlotCopier = (source: number, sourceStep: number, slots: Int32Array, target: number, targetStep: number, count: number) => void;

/** A loop of its own for each way to make a slot's bits: elements by the million go through it. */
export function slotCopier(dtype: DeviceType, data: NumericData): SlotCopier {
  if (dtype === "bfloat16") {
    return (source, sourceStep, slots, target, targetStep, count) => {
      for (let step = 0; step < count; step++) slots[target + step * targetStep] = data[source + step * sourceStep] << 16;
    };
  }
  if (dtype === "float16" || dtype === "bool") {
    const table = dtype === "bool" ? Int32Array.from({ length: 256 }, (_, byte) => (byte ? 1 : 0)) : halfTable();
    return (source, sourceStep, slots, target, targetStep, count) => {
      for (let step = 0; step < count; step++) slots[target + step * targetStep] = table[data[source + step * sourceStep]];
    };
  }
  const bits = dtype === "float32" ? new Int32Array(data.buffer, data.byteOffset, data.length) : data;
  return (source, sourceStep, slots, target, targetStep, count) => {
    for (let step = 0; step < count; step++) slots[target + step * targetStep] = bits[source + step * sourceStep];
  };
}

/** The elements of raw little-endian bytes. */
export function viewBytes(dtype: DeviceType, bytes: Uint8Array): NumericData {
  const width = deviceBytes(dtype, "dram");
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  const length = byteLength / width;
  switch (dtype) {
    case "float32":
      return new Float32Array(buffer, byteOffset, length);
    case "int32":
      return new Int32Array(buffer, byteOffset, length);
    case "uint32":
      return new Uint32Array(buffer, byteOffset, length);
    case "int16":
      return new Int16Array(buffer, byteOffset, length);
    case "int8":
      return new Int8Array(buffer, byteOffset, length);
    case "uint8":
    case "bool":
      return new Uint8Array(buffer, byteOffset, length);
    default:
      return new Uint16Array(buffer, byteOffset, length);
  }
}

/** Stores the elements of `data` from `address` on. */
export function storeElements(memory: Memory, address: number, dtype: DeviceType, data: NumericData): void {
  if (dtype === "float32" && data instanceof Float32Array) {
    memory.floats.set(data, address / 4);
    return;
  }
  slotCopier(dtype, data)(0, 1, memory.ints, address / 4, 1, data.length);
}

/** The `count` elements from `address` on, in the buffer's own dtype. */
export function loadElements(memory: Memory, address: number, dtype: DeviceType, count: number): TensorData {
  const data = allocateData(dtype, count);
  const start = address / 4;
  const { ints, floats } = memory;
  if (data instanceof Float32Array) {
    data.set(floats.subarray(start, start + count));
    const bits = new Int32Array(data.buffer);
    for (let index = 0; index < count; index++) if (Number.isNaN(data[index])) bits[index] = 0x7fc00000;
  } else if (dtype === "float16" || dtype === "bfloat16") {
    const [toBits, notANumber] = dtype === "float16" ? [toFloat16Bits, 0x7e00] : [toBfloat16Bits, 0x7fc0];
    for (let index = 0; index < count; index++) {
      const value = floats[start + index];
      data[index] = Number.isNaN(value) ? notANumber : toBits(value);
    }
  } else {
    for (let index = 0; index < count; index++) data[index] = ints[start + index];
  }
  return data;
}
