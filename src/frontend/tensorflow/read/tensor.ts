/** Element types, shapes, tensors and attributes of TensorFlow's messages, as the graph IR has them. */
import { userError } from "../../../diagnostics/diagnostic.js";
import { allocateData, bytesPerElement, type DType, elementCount, type Tensor, type TensorData, viewOf } from "../../../graph/tensor.js";
import type { FlatAttribute, FlatShape } from "../flat.js";
import type { AttrValue, TensorProto, TensorShapeProto, Wide } from "./schema.js";

export type FlatType = DType | "resource" | "variant";

/** By DataType's numbers. The quantised types are the integers that hold them. */
const typeOfCode: Readonly<Record<number, FlatType>> = {
  1: "float32",
  2: "float64",
  3: "int32",
  4: "uint8",
  5: "int16",
  6: "int8",
  7: "string",
  8: "complex64",
  9: "int64",
  10: "bool",
  11: "int8",
  12: "uint8",
  13: "int32",
  14: "bfloat16",
  15: "int16",
  16: "uint16",
  17: "uint16",
  18: "complex128",
  19: "float16",
  20: "resource",
  21: "variant",
  22: "uint32",
  23: "uint64",
  24: "float8e5m2",
  25: "float8e4m3fn",
  29: "int4",
  30: "uint4",
};

const firstReference = 100;

/** The type of a DataType; that of the value for a reference to a variable. Undefined for what is none. */
export function typeOf(dataType: number): FlatType | undefined {
  return typeOfCode[dataType > firstReference ? dataType - firstReference : dataType];
}

export function shapeOf(proto: TensorShapeProto | null): FlatShape {
  if (proto === null || proto.unknown_rank) return undefined;
  return proto.dim.map(({ size }) => Math.max(-1, Number(size)));
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}

/** The shape of elements in memory. Throws a UserError where there can't be that many. */
export function staticShape(proto: TensorShapeProto | null, label: string): number[] {
  const shape = (proto?.dim ?? []).map(({ size }) => Number(size));
  const fits = shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0) && elementCount(shape) < 2 ** 32;
  if (!fits || proto?.unknown_rank) throw userError("NCC0207", { tensor: label, shape: shape.join(",") });
  return shape;
}

const tensors = new WeakMap<TensorProto, Tensor>();

/**
 * The tensor of a message that was decoded from a buffer of its own. Large elements stay where they are in the buffer, moved by the few
 * bytes that their alignment asks for, over the bytes before them, which have been decoded.
 */
export function tensorOf(proto: TensorProto, label: string): Tensor {
  const known = tensors.get(proto);
  if (known !== undefined) return known;
  const dtype = typeOf(proto.dtype);
  if (dtype === undefined || dtype === "resource" || dtype === "variant") {
    throw userError("NCC0157", { tensor: label, type: dtype ?? proto.dtype });
  }
  const shape = staticShape(proto.tensor_shape, label);
  const tensor: Tensor = { dtype, shape, data: elements(proto, dtype, elementCount(shape), label) };
  tensors.set(proto, tensor);
  return tensor;
}

function elements(proto: TensorProto, dtype: DType, count: number, label: string): TensorData {
  const content = proto.tensor_content;
  if (content.length > 0 && dtype !== "string") {
    if (content.length !== count * bytesPerElement[dtype]) {
      throw userError("NCC0208", { tensor: label, count, dtype, found: `${content.length} bytes` });
    }
    return aligned(dtype, content);
  }
  const given = listedElements(proto, dtype);
  const perElement = dtype.startsWith("complex") ? 2 : 1;
  if (given.length > count * perElement) {
    throw userError("NCC0208", { tensor: label, count, dtype, found: `${given.length / perElement} values` });
  }
  return spread(given, allocateData(dtype, count), perElement);
}

/** The field that lists elements of a type one by one. */
function listedElements(proto: TensorProto, dtype: DType): ArrayLike<Wide | boolean | Uint8Array> {
  switch (dtype) {
    case "float32":
      return proto.float_val;
    case "float64":
      return proto.double_val;
    case "float16":
    case "bfloat16":
      return proto.half_val;
    case "int64":
      return proto.int64_val;
    case "uint64":
      return proto.uint64_val;
    case "uint32":
      return proto.uint32_val;
    case "bool":
      return proto.bool_val;
    case "string":
      return proto.string_val;
    case "complex64":
      return proto.scomplex_val;
    case "complex128":
      return proto.dcomplex_val;
    case "float8e5m2":
    case "float8e4m3fn":
      return proto.float8_val;
    default:
      return proto.int_val;
  }
}

/** Fills `data` with the elements given; the last one stands for all that follow. */
function spread(given: ArrayLike<Wide | boolean | Uint8Array>, data: TensorData, perElement: number): TensorData {
  const count = given.length;
  if (count === 0) return data;
  if (Array.isArray(data)) {
    for (let index = 0; index < count; index++) data[index] = stringOf(given[index]);
    return data.fill(data[count - 1], count);
  }
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    for (let index = 0; index < count; index++) data[index] = BigInt(given[index].toString());
    return data.fill(data[count - 1], count);
  }
  for (let index = 0; index < count; index++) data[index] = Number(given[index]);
  for (let index = count; index < data.length; index++) data[index] = data[index - perElement];
  return data;
}

function stringOf(value: Wide | boolean | Uint8Array): string {
  return value instanceof Uint8Array ? textOf(value) : String(value);
}

const contentTag = (4 << 3) | 2;

/** The elements of a field's content; a copy only where alignment asks for it and the field's own head is too short to move over. */
function aligned(dtype: DType, content: Uint8Array): TensorData {
  const { buffer, byteOffset, length } = content;
  const misaligned = byteOffset % Math.min(8, bytesPerElement[dtype]);
  if (misaligned === 0) return viewOf(dtype, buffer, byteOffset, length);
  const head = [contentTag];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 128)) head.push((rest % 128) + (rest > 127 ? 128 : 0));
  const before = new Uint8Array(buffer, 0, byteOffset).subarray(-head.length);
  if (misaligned > head.length || head.some((byte, index) => byte !== before[index])) {
    return viewOf(dtype, new Uint8Array(content).buffer, 0, length);
  }
  const start = byteOffset - misaligned;
  new Uint8Array(buffer).copyWithin(start, byteOffset, byteOffset + length);
  return viewOf(dtype, buffer, start, length);
}

/** An attribute; undefined for what reading does not hand on: functions, which have become graphs of their own, and references. */
export function attributeOf(proto: AttrValue, label: string): FlatAttribute | undefined {
  switch (proto.value) {
    case "s":
      return { type: "string", value: textOf(proto.s) };
    case "i":
      return { type: "int", value: Number(proto.i) };
    case "f":
      return { type: "float", value: proto.f };
    case "b":
      return { type: "bool", value: proto.b };
    case "type": {
      const value = typeOf(proto.type);
      return value === undefined ? undefined : { type: "dtype", value };
    }
    case "shape":
      return { type: "shape", value: shapeOf(proto.shape) };
    case "tensor":
      return { type: "tensor", value: tensorOf(proto.tensor, label) };
    case "list": {
      const { s, i, f, b, type, shape } = proto.list;
      const value = [
        ...s.map(textOf),
        ...i.map(Number),
        ...f,
        ...b,
        ...type.map((code) => typeOf(code) ?? "resource"),
        ...shape.map(shapeOf),
      ];
      return { type: "list", value };
    }
    default:
      return undefined;
  }
}
