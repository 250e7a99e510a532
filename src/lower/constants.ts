/** Constants in the forms that programs hold. */
import { type DType, elementCount, numberAt, type Tensor, type TensorData, toBfloat16Bits, toFloat16Bits } from "../graph/tensor.js";
import { type DeviceType, deviceTypes } from "../program/program.js";

/** The same type, known to be one that the engines hold. The check has refused the others: an invariant. */
export function deviceTypeOf(dtype: DType, value: string): DeviceType {
  const found = deviceTypes.find((candidate) => candidate === dtype);
  if (!found) throw new Error(`value ${value}: the engines hold no ${dtype}`);
  return found;
}

export type DeviceArray = Float32Array | Int32Array | Uint32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;

/** An array for `count` elements of a device type. */
export function deviceArray(dtype: DeviceType, count: number): DeviceArray {
  switch (dtype) {
    case "float32":
      return new Float32Array(count);
    case "int32":
      return new Int32Array(count);
    case "uint32":
      return new Uint32Array(count);
    case "int16":
      return new Int16Array(count);
    case "int8":
      return new Int8Array(count);
    case "uint8":
    case "bool":
      return new Uint8Array(count);
    default:
      return new Uint16Array(count);
  }
}

/** How a number is stored in a device type: rounded to nearest even for 16-bit floats. */
export function encoder(dtype: DeviceType): (value: number) => number {
  if (dtype === "bfloat16") return toBfloat16Bits;
  if (dtype === "float16") return toFloat16Bits;
  return (value) => value;
}

/** A constant's elements as raw storage of a device type: its own array if it has that type. */
export function deviceElements(tensor: Tensor, dtype: DeviceType): DeviceArray {
  const { data } = tensor;
  if (tensor.dtype === dtype && ArrayBuffer.isView(data) && isDeviceArray(data)) return data;
  const count = elementCount(tensor.shape);
  const result = deviceArray(dtype, count);
  const encode = encoder(dtype);
  for (let index = 0; index < count; index++) result[index] = encode(numberAt(tensor, index));
  return result;
}

function isDeviceArray(data: TensorData): data is DeviceArray {
  return !Array.isArray(data) && !(data instanceof BigInt64Array) && !(data instanceof BigUint64Array) && !(data instanceof Float64Array);
}

/** Raw little-endian bytes of a constant in a device type, in its own order. */
export function deviceData(tensor: Tensor, dtype: DeviceType): Uint8Array {
  const elements = deviceElements(tensor, dtype);
  return new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
}
