/** ONNX's TensorProto to and from the graph IR's Tensor. */
import type { onnx as Onnx } from "onnx-proto";
import { userError } from "../../diagnostics/diagnostic.js";
import {
  allocateData,
  bytesPerElement,
  type DType,
  dtypes,
  elementCount,
  type Tensor,
  type TensorData,
  viewOf,
} from "../../graph/tensor.js";
import { onnx, type Payload, tensorField } from "./proto.js";

/** TensorProto.DataType by element type. */
export const elementTypeCodes: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
  float8e4m3fn: 17,
  float8e4m3fnuz: 18,
  float8e5m2: 19,
  float8e5m2fnuz: 20,
  uint4: 21,
  int4: 22,
  float4e2m1: 23,
  float8e8m0: 24,
  uint2: 25,
  int2: 26,
};

const typeOfCode = new Map(dtypes.map((dtype) => [elementTypeCodes[dtype], dtype]));

export function elementTypeOf(code: number | null | undefined): DType | undefined {
  return typeOfCode.get(code ?? 0);
}

/** Bits of the types that a file packs into bytes, low bits first. */
const packedBits: Partial<Record<DType, number>> = { int4: 4, uint4: 4, float4e2m1: 4, int2: 2, uint2: 2 };

/** The typed element field of each type; int32_data for those not listed. */
const typedFields: Partial<Record<DType, number>> = {
  float32: tensorField.float,
  complex64: tensorField.float,
  float64: tensorField.double,
  complex128: tensorField.double,
  int64: tensorField.int64,
  uint32: tensorField.uint64,
  uint64: tensorField.uint64,
  string: tensorField.string,
};

/** A dense tensor over this is refused where a file gives only a few of its elements. */
const largestSparse = 2 ** 29;

/** Where a tensor's bytes come from when they are not in the message. Gets the tensor's label, its location entries and the bytes that its dims ask for. */
export type ExternalData = (label: string, entries: ReadonlyMap<string, string>, byteLength: number) => Uint8Array;

export interface TensorSource {
  /** For messages. */
  readonly label: string;
  /** The buffer is the importer's: an unaligned payload may be moved within it, over bytes that have been decoded. Else it is copied. */
  readonly ownsBuffer: boolean;
  readonly external: ExternalData;
}

/** Throws a UserError where dims, type and data do not agree; allocates nothing before that is known. */
export function tensorFromProto(proto: Onnx.ITensorProto, source: TensorSource): Tensor {
  const { label } = source;
  const dtype = elementTypeOf(proto.dataType);
  if (dtype === undefined) throw userError("NCC0206", { tensor: label, type: proto.dataType ?? 0 });
  const shape = checkedShape(proto.dims ?? [], label);
  const count = elementCount(shape);
  const payload = (proto.payload ?? []).filter((part) => part.bytes.length > 0);
  if (proto.dataLocation === 1) {
    const entries = new Map((proto.externalData ?? []).map((entry) => [entry.key ?? "", entry.value ?? ""]));
    const bytes = source.external(label, entries, storedBytes(dtype, count));
    return { dtype, shape, data: fromStoredBytes(dtype, count, { bytes, slack: 0 }, source) };
  }
  const raw = payload.filter((part) => part.field === tensorField.raw);
  if (raw.length > 0) return { dtype, shape, data: fromStoredBytes(dtype, count, raw[raw.length - 1], source) };
  const field = typedFields[dtype] ?? tensorField.int32;
  const parts = payload.filter((part) => part.field === field);
  return { dtype, shape, data: fromTypedField(dtype, count, parts, source) };
}

function checkedShape(dims: readonly unknown[], label: string): number[] {
  const shape = dims.map(Number);
  const fits = shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0) && Number.isSafeInteger(elementCount(shape) * 16);
  if (!fits) throw userError("NCC0207", { tensor: label, shape: shape.join(",") });
  return shape;
}

function storedBytes(dtype: DType, count: number): number {
  const bits = packedBits[dtype];
  return bits === undefined ? count * bytesPerElement[dtype] : Math.ceil((count * bits) / 8);
}

function sizeMismatch(label: string, dtype: DType, count: number, found: string): Error {
  return userError("NCC0208", { tensor: label, count, dtype, found });
}

/** Elements as raw_data has them: little-endian, sub-byte types packed. A view of `bytes` where their alignment allows. */
function fromStoredBytes(dtype: DType, count: number, stored: Pick<Payload, "bytes" | "slack">, source: TensorSource): TensorData {
  const { bytes } = stored;
  const expected = storedBytes(dtype, count);
  if (dtype === "string" || bytes.length !== expected) {
    throw sizeMismatch(source.label, dtype, count, `${bytes.length} bytes of raw data, not ${expected}`);
  }
  const bits = packedBits[dtype];
  if (bits !== undefined) return unpackBits(dtype, count, bytes, bits);
  const empty = allocateData(dtype, 0);
  if (Array.isArray(empty)) return empty;
  const misaligned = bytes.byteOffset % empty.BYTES_PER_ELEMENT;
  if (misaligned === 0) return viewOf(dtype, bytes.buffer, bytes.byteOffset, bytes.length);
  if (source.ownsBuffer && misaligned <= stored.slack) {
    const start = bytes.byteOffset - misaligned;
    new Uint8Array(bytes.buffer).copyWithin(start, bytes.byteOffset, bytes.byteOffset + bytes.length);
    return viewOf(dtype, bytes.buffer, start, bytes.length);
  }
  return viewOf(dtype, bytes.slice().buffer, 0, bytes.length);
}

function unpackBits(dtype: DType, count: number, bytes: ArrayLike<number>, bits: number): TensorData {
  const data = allocateData(dtype, count);
  const perByte = 8 / bits;
  const isSigned = data instanceof Int8Array;
  for (let index = 0; index < count; index++) {
    const value = (bytes[Math.floor(index / perByte)] >>> ((index % perByte) * bits)) & (2 ** bits - 1);
    data[index] = isSigned && value >= 2 ** (bits - 1) ? value - 2 ** bits : value;
  }
  return data;
}

function packBits(data: ArrayLike<number>, bits: number): Uint8Array {
  const perByte = 8 / bits;
  const bytes = new Uint8Array(Math.ceil(data.length / perByte));
  for (let index = 0; index < data.length; index++) {
    bytes[Math.floor(index / perByte)] |= (data[index] & (2 ** bits - 1)) << ((index % perByte) * bits);
  }
  return bytes;
}

/** Elements from float_data and its kind: packed (one run of the values) or not (each with its tag), or in several runs. */
function fromTypedField(dtype: DType, count: number, parts: readonly Payload[], source: TensorSource): TensorData {
  const bits = packedBits[dtype];
  const isComplex = dtype.startsWith("complex");
  const items = bits === undefined ? count * (isComplex ? 2 : 1) : storedBytes(dtype, count);
  const fixedSize = dtype === "float32" || dtype === "complex64" ? 4 : dtype === "float64" || dtype === "complex128" ? 8 : 0;
  if (fixedSize > 0 && parts.length === 1 && parts[0].form === "whole") return fromStoredBytes(dtype, count, parts[0], source);
  if (dtype === "string") return stringEntries(parts, count, source.label);
  const found = countItems(parts, fixedSize);
  if (found !== items) throw sizeMismatch(source.label, dtype, count, `${found} values`);
  const data = bits === undefined ? allocateData(dtype, count) : new Uint8Array(items);
  if (Array.isArray(data)) throw new Error("strings are read elsewhere");
  if (fixedSize > 0) fillFixed(new Uint8Array(data.buffer), parts, fixedSize);
  else fillVarints(data, parts);
  return bits === undefined || !(data instanceof Uint8Array) ? data : unpackBits(dtype, count, data, bits);
}

/** Values in the parts; varints end with the byte that has no high bit. A tag is one byte, so counts as a varint of its own. */
function countItems(parts: readonly Payload[], fixedSize: number): number {
  let items = 0;
  for (const { form, bytes } of parts) {
    if (fixedSize > 0) items += bytes.length / (form === "whole" ? fixedSize : fixedSize + 1);
    else {
      let ends = 0;
      for (let index = 0; index < bytes.length; index++) if (bytes[index] < 128) ends++;
      items += form === "whole" ? ends : ends / 2;
    }
  }
  return items;
}

function fillFixed(target: Uint8Array, parts: readonly Payload[], size: number): void {
  let position = 0;
  for (const { form, bytes } of parts) {
    const tag = form === "whole" ? 0 : 1;
    const run = form === "whole" ? bytes.length : size;
    for (let at = tag; at < bytes.length; at += run + tag) {
      target.set(bytes.subarray(at, at + run), position);
      position += run;
    }
  }
}

function fillVarints(data: Exclude<TensorData, string[]>, parts: readonly Payload[]): void {
  const isWide = data instanceof BigInt64Array || data instanceof BigUint64Array;
  const words = isWide ? new Uint32Array(data.buffer) : undefined;
  let index = 0;
  for (const { form, bytes } of parts) {
    let at = 0;
    while (at < bytes.length) {
      if (form === "entries") at++;
      let low = 0;
      let high = 0;
      for (let shift = 0; at < bytes.length; shift += 7) {
        const byte = bytes[at++];
        const seven = byte & 127;
        if (shift < 32) low |= seven << shift;
        if (shift >= 32) high |= seven << (shift - 32);
        else if (shift > 25) high |= seven >>> (32 - shift);
        if (byte < 128) break;
      }
      if (words !== undefined) {
        words[2 * index] = low;
        words[2 * index + 1] = high;
      } else if (!(data instanceof BigInt64Array || data instanceof BigUint64Array)) data[index] = low;
      index++;
    }
  }
}

function stringEntries(parts: readonly Payload[], count: number, label: string): string[] {
  const decoder = new TextDecoder();
  const strings: string[] = [];
  for (const { bytes } of parts) {
    let at = 0;
    while (at < bytes.length) {
      at++;
      let length = 0;
      for (let scale = 1; at < bytes.length; scale *= 128) {
        const byte = bytes[at++];
        length += (byte & 127) * scale;
        if (byte < 128) break;
      }
      strings.push(decoder.decode(bytes.subarray(at, at + length)));
      at += length;
    }
  }
  if (strings.length !== count) throw sizeMismatch(label, "string", count, `${strings.length} strings`);
  return strings;
}

/** A sparse tensor, dense: zero where it gives no value. `indices` are linear, or one coordinate tuple a row. */
export function tensorFromSparse(proto: Onnx.ISparseTensorProto, source: TensorSource): Tensor {
  const values = tensorFromProto(proto.values ?? {}, source);
  const indices = tensorFromProto(proto.indices ?? {}, source);
  const shape = checkedShape(proto.dims ?? [], source.label);
  const count = elementCount(shape);
  const given = elementCount(values.shape);
  const coordinates = indices.shape.length === 2 ? indices.shape[1] : 1;
  const isConsistent = indices.dtype === "int64" && indices.data.length === given * coordinates && values.dtype !== "string";
  if (!isConsistent || (indices.shape.length === 2 && coordinates !== shape.length)) throw userError("NCC0209", { tensor: source.label });
  if (count * bytesPerElement[values.dtype] > largestSparse) throw userError("NCC0207", { tensor: source.label, shape: shape.join(",") });
  const data = allocateData(values.dtype, count);
  for (let item = 0; item < given; item++) {
    let position = 0;
    for (let axis = 0; axis < coordinates; axis++) {
      const coordinate = Number(indices.data[item * coordinates + axis]);
      const extent = indices.shape.length === 2 ? shape[axis] : count;
      if (coordinate < 0 || coordinate >= extent) throw userError("NCC0209", { tensor: source.label });
      position = position * extent + coordinate;
    }
    if (values.dtype.startsWith("complex")) {
      data[2 * position] = values.data[2 * item];
      data[2 * position + 1] = values.data[2 * item + 1];
    } else data[position] = values.data[item];
  }
  return { dtype: values.dtype, shape, data };
}

/** The message of a tensor. Its bytes stay the tensor's own (sub-byte types excepted) until the message is encoded. */
export function tensorToProto(name: string, tensor: Tensor): Onnx.ITensorProto {
  const { dtype, shape, data } = tensor;
  const header = { name, dims: [...shape], dataType: elementTypeCodes[dtype] };
  if (Array.isArray(data)) return { ...header, stringData: data.map((text) => Buffer.from(text, "utf8")) };
  const bits = packedBits[dtype];
  const isSmall = data instanceof Uint8Array || data instanceof Int8Array;
  if (bits !== undefined && isSmall) return { ...header, rawData: packBits(data, bits) };
  return { ...header, rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** The tensor of a TensorProto file (`.pb`). Its data may refer to `bytes`. Throws a UserError on what is none. */
export function readTensorProto(bytes: Uint8Array): { name: string; tensor: Tensor } {
  let proto: Onnx.ITensorProto;
  try {
    proto = onnx.TensorProto.decode(bytes);
  } catch (error) {
    throw userError("NCC0210", { reason: error instanceof Error ? error.message : String(error) });
  }
  const external: ExternalData = (label) => {
    throw userError("NCC0210", { reason: `${label} refers to external data` });
  };
  const name = proto.name ?? "";
  return { name, tensor: tensorFromProto(proto, { label: name === "" ? "the tensor" : `tensor ${name}`, ownsBuffer: false, external }) };
}

export function writeTensorProto(name: string, tensor: Tensor): Uint8Array {
  return onnx.TensorProto.encode(tensorToProto(name, tensor)).finish();
}
