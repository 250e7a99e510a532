/** Element types and tensors: the data half of the graph IR. Names of types are ONNX's, in lower case. */

export const dtypes = [
  "float32",
  "float16",
  "bfloat16",
  "float64",
  "int8",
  "uint8",
  "int16",
  "uint16",
  "int32",
  "uint32",
  "int64",
  "uint64",
  "bool",
  "string",
  "complex64",
  "complex128",
  "float8e4m3fn",
  "float8e4m3fnuz",
  "float8e5m2",
  "float8e5m2fnuz",
  "float8e8m0",
  "int4",
  "uint4",
  "float4e2m1",
  "int2",
  "uint2",
] as const;

export type DType = (typeof dtypes)[number];

/**
 * How a tensor's elements are held: `float16`, `bfloat16` as raw bits in a Uint16Array; `bool` and the sub-byte and
 * 8-bit float types one element a byte in a Uint8Array (Int8Array for int4, int2); complex as interleaved pairs.
 */
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | string[];

/** A constant: row-major elements of a static shape. Treated as immutable. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Bytes of one element as stored in DRAM or in a file (sub-byte types: unpacked, 1). Strings have none: 0. */
export const bytesPerElement: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float64: 8,
  int8: 1,
  uint8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  bool: 1,
  string: 0,
  complex64: 8,
  complex128: 16,
  float8e4m3fn: 1,
  float8e4m3fnuz: 1,
  float8e5m2: 1,
  float8e5m2fnuz: 1,
  float8e8m0: 1,
  int4: 1,
  uint4: 1,
  float4e2m1: 1,
  int2: 1,
  uint2: 1,
};

export function isFloat(dtype: DType): boolean {
  return dtype.startsWith("float") || dtype === "bfloat16";
}

export function isInteger(dtype: DType): boolean {
  return dtype.startsWith("int") || dtype.startsWith("uint");
}

/** The largest finite numbers of 16-bit floats. */
export const largestFinite = { float32: 2 ** 127 * (2 - 2 ** -23), float16: 65504, bfloat16: 2 ** 127 * (2 - 2 ** -7) } as const;

/** Element types that a NeuronCore has as two 32-bit words, the lower one first: of floats only the bits are known. */
const wideTypes: readonly (DType | undefined)[] = ["int64", "uint64", "float64"];

export function isWide(dtype: DType | undefined): boolean {
  return wideTypes.includes(dtype);
}

/** The words of elements of a wide type: the same bytes. */
export function toWords({ dtype, data }: Pick<Tensor, "dtype" | "data">): Int32Array {
  if (Array.isArray(data) || !isWide(dtype)) throw new Error(`${dtype} has no words`);
  return new Int32Array(data.buffer, data.byteOffset, data.byteLength / 4);
}

/** Elements of a wide type from their words [..., 2]. */
export function fromWords(dtype: DType, { shape, data }: Tensor): Tensor {
  if (!(data instanceof Int32Array)) throw new Error(`${dtype} is made of int32 words`);
  const { buffer, byteOffset, byteLength } = data;
  return { dtype, shape: shape.slice(0, -1), data: viewOf(dtype, buffer.slice(byteOffset, byteOffset + byteLength), 0, byteLength) };
}

/** Number of elements of a static shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Row-major strides in elements. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * shape[axis + 1];
  return strides;
}

/** A zero-filled array that holds `count` elements of `dtype`. */
export function allocateData(dtype: DType, count: number): TensorData {
  switch (dtype) {
    case "float32":
      return new Float32Array(count);
    case "float64":
      return new Float64Array(count);
    case "float16":
    case "bfloat16":
    case "uint16":
      return new Uint16Array(count);
    case "int8":
    case "int4":
    case "int2":
      return new Int8Array(count);
    case "int16":
      return new Int16Array(count);
    case "int32":
      return new Int32Array(count);
    case "uint32":
      return new Uint32Array(count);
    case "int64":
      return new BigInt64Array(count);
    case "uint64":
      return new BigUint64Array(count);
    case "string":
      return new Array<string>(count).fill("");
    case "complex64":
      return new Float32Array(2 * count);
    case "complex128":
      return new Float64Array(2 * count);
    default:
      return new Uint8Array(count);
  }
}

/** The elements of `dtype` that stand at `offset` of the buffer, little-endian; a view. Throws where they are not aligned to their size. */
export function viewOf(dtype: DType, buffer: ArrayBufferLike, offset: number, byteLength: number): TensorData {
  const empty = allocateData(dtype, 0);
  if (Array.isArray(empty)) throw new Error("strings have no bytes");
  const length = byteLength / empty.BYTES_PER_ELEMENT;
  if (empty instanceof Float32Array) return new Float32Array(buffer, offset, length);
  if (empty instanceof Float64Array) return new Float64Array(buffer, offset, length);
  if (empty instanceof Int8Array) return new Int8Array(buffer, offset, length);
  if (empty instanceof Int16Array) return new Int16Array(buffer, offset, length);
  if (empty instanceof Uint16Array) return new Uint16Array(buffer, offset, length);
  if (empty instanceof Int32Array) return new Int32Array(buffer, offset, length);
  if (empty instanceof Uint32Array) return new Uint32Array(buffer, offset, length);
  if (empty instanceof BigInt64Array) return new BigInt64Array(buffer, offset, length);
  if (empty instanceof BigUint64Array) return new BigUint64Array(buffer, offset, length);
  return new Uint8Array(buffer, offset, length);
}

export function floatTensor(shape: readonly number[], data: Float32Array | readonly number[]): Tensor {
  return { dtype: "float32", shape, data: data instanceof Float32Array ? data : Float32Array.from(data) };
}

export function int64Tensor(shape: readonly number[], values: readonly number[]): Tensor {
  return { dtype: "int64", shape, data: BigInt64Array.from(values, (value) => BigInt(value)) };
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** Rounds to bfloat16 (nearest, ties to even); returns its 16 bits. NaN stays NaN. */
export function toBfloat16Bits(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0];
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

export function fromBfloat16Bits(bits: number): number {
  scratchBits[0] = bits << 16;
  return scratchFloat[0];
}

/** Rounds to IEEE half precision (nearest, ties to even; overflow to infinity); returns its 16 bits. */
export function toFloat16Bits(value: number): number {
  scratchFloat[0] = value;
  const bits = scratchBits[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the rounded significand in the low bits.
    scratchBits[0] = magnitude;
    scratchFloat[0] += 0.5;
    return sign | (scratchBits[0] - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

export function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Element `index` as a number; 64-bit integers lose precision beyond 2^53. Throws on strings and complex. */
export function numberAt(tensor: Tensor, index: number): number {
  const { dtype, data } = tensor;
  if (dtype === "float16") return fromFloat16Bits(Number(data[index]));
  if (dtype === "bfloat16") return fromBfloat16Bits(Number(data[index]));
  if (dtype === "string" || dtype.startsWith("complex") || dtype.startsWith("float8") || dtype.startsWith("float4")) {
    throw new Error(`numberAt: ${dtype} has no number form`);
  }
  return Number(data[index]);
}

/** All elements as numbers, in row-major order. */
export function toNumbers(tensor: Tensor): number[] {
  return Array.from({ length: elementCount(tensor.shape) }, (_, index) => numberAt(tensor, index));
}

/** The elements in FP32; the tensor's own array when it is FP32 already. */
export function toFloat32(tensor: Tensor): Float32Array {
  if (tensor.data instanceof Float32Array && tensor.dtype === "float32") return tensor.data;
  const result = new Float32Array(elementCount(tensor.shape));
  for (let index = 0; index < result.length; index++) result[index] = numberAt(tensor, index);
  return result;
}

/** Makes a tensor of any numeric type from numbers, rounding to the type (nearest even; integers truncate). */
export function fromNumbers(dtype: DType, shape: readonly number[], values: ArrayLike<number>): Tensor {
  const data = allocateData(dtype, values.length);
  for (let index = 0; index < values.length; index++) {
    if (dtype === "float16") data[index] = toFloat16Bits(values[index]);
    else if (dtype === "bfloat16") data[index] = toBfloat16Bits(values[index]);
    else if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[index] = BigInt(Math.trunc(values[index]));
    else data[index] = values[index];
  }
  return { dtype, shape, data };
}
