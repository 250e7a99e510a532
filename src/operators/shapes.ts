/** What the records share: faults, reading a use's types and constants, extents that may be open, broadcasting, attribute builders. */
import { type UserError, userError } from "../diagnostics/diagnostic.js";
import { type Dim, intAttribute, intsAttribute, stringAttribute, type TensorType } from "../graph/graph.js";
import { type DType, elementCount, type Tensor, toNumbers } from "../graph/tensor.js";
import type { AttributeSpec, OperatorUse, Reason } from "./record.js";

export type Shape = readonly Dim[];

/** An extent that can't be told. Inference gives each its own name afterwards, so two of them are never equal. */
export const OPEN = "?";

/** Most elements that a tensor may have: counts stay exact in a number. */
const MOST_ELEMENTS = Number.MAX_SAFE_INTEGER;

/** ONNX's codes of element types (TensorProto.DataType). */
export const dtypeCodes: readonly (DType | undefined)[] = [
  undefined,
  ...(["float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64", "uint32"] as const),
  ...(["uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"] as const),
  ...(["uint4", "int4", "float4e2m1", "float8e8m0", "uint2", "int2"] as const),
];

/** ONNX's code of an element type. */
export function dtypeCode(dtype: DType): number {
  return dtypeCodes.indexOf(dtype);
}

// Attribute specs.

export const int = (value?: number): AttributeSpec => ({ type: "int", default: value });
export const float = (value?: number): AttributeSpec => ({ type: "float", default: value });
export const text = (value?: string): AttributeSpec => ({ type: "string", default: value });
export const ints: AttributeSpec = { type: "ints" };
export const required = (spec: AttributeSpec): AttributeSpec => ({ ...spec, required: true });

// Faults and reasons.

export function nodeLabel(use: OperatorUse): string {
  return use.node === undefined || use.node.name === "" ? `a ${use.op} node` : `${use.node.name} (${use.op})`;
}

export function attributeFault(use: OperatorUse, attribute: string, value: unknown, expected: string): UserError {
  return userError("NCC0250", { node: nodeLabel(use), attribute, value: String(value), expected });
}

export function inputLabel(use: OperatorUse, index: number): string {
  const name = use.node?.inputs[index];
  return name ? `input ${index} (${name})` : `input ${index}`;
}

export function inputFault(use: OperatorUse, index: number, expected: string): UserError {
  const type = use.inputs[index];
  const value = type === undefined ? "absent" : typeText(type);
  return userError("NCC0390", { node: nodeLabel(use), input: inputLabel(use, index), value, expected });
}

export function shapeText(shape: Shape | undefined): string {
  return shape === undefined ? "[...]" : `[${shape.join(", ")}]`;
}

export function typeText(type: TensorType): string {
  return `${type.dtype}${shapeText(type.shape)}`;
}

export function reason(rule: string, subject: string, value: unknown, nearest: string): Reason {
  return { rule, subject, value: Array.isArray(value) ? `[${value.join(", ")}]` : String(value), nearest };
}

// Reading a use.

/** The type of a required input. */
export function inputType(use: OperatorUse, index: number): TensorType {
  const type = use.inputs[index];
  if (type === undefined) throw inputFault(use, index, "a tensor");
  return type;
}

export function shapeOf(use: OperatorUse, index: number): Shape | undefined {
  return use.inputs[index]?.shape;
}

/** The static shape of an input. Throws (an internal invariant) where it is open: lowering and flops only. */
export function staticShape(use: OperatorUse, index: number): readonly number[] {
  const shape = use.inputs[index]?.shape;
  if (shape === undefined) throw new Error(`${nodeLabel(use)}: input ${index} has no shape`);
  return shape.map((extent) => {
    if (typeof extent === "string") throw new Error(`${nodeLabel(use)}: input ${index} has the open extent ${extent}`);
    return extent;
  });
}

export function dtypeOf(use: OperatorUse, index: number): DType {
  return inputType(use, index).dtype;
}

/** Fails unless the input's rank is known to be one of `ranks` or is unknown. */
export function requireRank(use: OperatorUse, index: number, minimum: number, maximum = Number.POSITIVE_INFINITY): void {
  const rank = shapeOf(use, index)?.length;
  if (rank === undefined || (rank >= minimum && rank <= maximum)) return;
  const form = minimum === maximum ? `rank ${minimum}` : maximum === Number.POSITIVE_INFINITY ? `rank ${minimum} or more` : "";
  throw inputFault(use, index, form || `rank ${minimum} to ${maximum}`);
}

/** Fails unless an input, where it is present, may have the shape. */
export function requireShape(use: OperatorUse, index: number, wanted: Shape): void {
  const shape = shapeOf(use, index);
  if (shape === undefined) return;
  const fits = shape.length === wanted.length && shape.every((dim, axis) => mergeDims(dim, wanted[axis]) !== undefined);
  if (!fits) throw inputFault(use, index, `of shape ${shapeText(wanted)}`);
}

/** One of an attribute's words; the first one if it is absent. */
export function requireWord(use: OperatorUse, name: string, words: readonly string[]): void {
  const value = stringAttribute(use.attributes, name, words[0]);
  if (!words.includes(value)) throw attributeFault(use, name, value, `use ${words.join(", ")}`);
}

/** Fails unless two present inputs have one dtype. */
export function requireSameType(use: OperatorUse, first: number, second: number): void {
  const [left, right] = [use.inputs[first], use.inputs[second]];
  if (left && right && left.dtype !== right.dtype) throw inputFault(use, second, `${left.dtype}, as ${inputLabel(use, first)}`);
}

/** The integers of a constant input; undefined where it is absent or not constant. */
export function constantInts(use: OperatorUse, index: number): readonly number[] | undefined {
  const tensor = use.constants[index];
  if (tensor === undefined) return undefined;
  if (tensor.dtype !== "int64" && tensor.dtype !== "int32") throw inputFault(use, index, "int64");
  if (tensor.shape.length > 1) throw inputFault(use, index, "one dimension");
  return toNumbers(tensor);
}

/** A constant scalar's value; undefined where it is absent, not constant, or no single number. */
export function constantScalar(use: OperatorUse, index: number): number | undefined {
  const tensor = use.constants[index];
  return tensor === undefined || !isScalar(tensor) ? undefined : toNumbers(tensor)[0];
}

export function isScalar(tensor: Tensor): boolean {
  return elementCount(tensor.shape) === 1 && tensor.dtype !== "string" && !/^(complex|float[48]e)/.test(tensor.dtype);
}

/** An axis counted from the front. */
export function normalAxis(use: OperatorUse, name: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw attributeFault(use, name, axis, rank === 0 ? "a scalar has no axis" : `use ${-rank} to ${rank - 1}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** Axes counted from the front, each once. */
export function normalAxes(use: OperatorUse, name: string, axes: readonly number[], rank: number): number[] {
  const result = axes.map((axis) => normalAxis(use, name, axis, rank));
  if (new Set(result).size !== result.length) throw attributeFault(use, name, `[${axes.join(", ")}]`, "name each axis once");
  return result;
}

export function axisAttribute(use: OperatorUse, fallback: number, rank: number): number {
  return normalAxis(use, "axis", intAttribute(use.attributes, "axis", fallback), rank);
}

export function dtypeFromCode(use: OperatorUse, name: string, code: number): DType {
  const dtype = dtypeCodes[code];
  if (dtype === undefined) throw attributeFault(use, name, code, `use a TensorProto element type, 1 to ${dtypeCodes.length - 1}`);
  return dtype;
}

/** An ints attribute of `count` values, each at least `least`; `fallback` where it is absent. */
export function intsOf(use: OperatorUse, name: string, count: number, least: number, fallback: number): readonly number[] {
  const values = intsAttribute(use.attributes, name);
  if (values === undefined) return new Array<number>(count).fill(fallback);
  if (values.length !== count || values.some((value) => !Number.isInteger(value) || value < least || value > 2 ** 31)) {
    throw attributeFault(use, name, `[${values.join(", ")}]`, `use ${count} integers of at least ${least}`);
  }
  return values;
}

// Extents.

/** An extent computed from others: open if one of them is. */
export function extent(from: readonly Dim[], compute: (values: number[]) => number): Dim {
  const values = from.filter((dim) => typeof dim === "number");
  return values.length === from.length ? compute(values) : OPEN;
}

/** The product of extents; a single open one among ones keeps its name. */
export function productOf(dims: readonly Dim[]): Dim {
  const others = dims.filter((dim) => dim !== 1);
  return others.length === 1 ? others[0] : extent(others, elementCount);
}

/** Two extents that have to be equal: the better known of them; undefined if they differ. */
export function mergeDims(left: Dim, right: Dim): Dim | undefined {
  if (typeof left === "string") return right === OPEN ? left : right;
  return typeof right === "string" || left === right ? left : undefined;
}

/** Shapes joined by ONNX's (NumPy's) broadcasting. An open extent against a number above 1 has to be that number. */
export function broadcast(use: OperatorUse, shapes: readonly (Shape | undefined)[]): Shape | undefined {
  let result: Dim[] = [];
  for (const shape of shapes) {
    if (shape === undefined) return undefined;
    const rank = Math.max(result.length, shape.length);
    const at = (dims: Shape, axis: number): Dim => dims[axis - rank + dims.length] ?? 1;
    result = Array.from({ length: rank }, (_, axis) => {
      const [left, right] = [at(result, axis), at(shape, axis)];
      if (left === right) return left;
      if (left === 1) return right;
      if (right === 1) return left;
      if (typeof left === "number" && typeof right === "number") {
        throw userError("NCC0391", { node: nodeLabel(use), shapes: shapes.map(shapeText).join(" and ") });
      }
      return typeof left === "number" ? left : typeof right === "number" ? right : OPEN;
    });
  }
  return result;
}

/** A type that is not too large to count. Every record's result passes here (in `inferTypes`). */
export function checkSize(use: OperatorUse, type: TensorType): TensorType {
  let count = 1;
  for (const dim of type.shape ?? []) {
    if (typeof dim === "string") continue;
    if (!Number.isInteger(dim) || dim < 0 || (dim > 0 && count * dim > MOST_ELEMENTS)) {
      throw userError("NCC0392", { node: nodeLabel(use), shape: shapeText(type.shape) });
    }
    if (dim > 0) count *= dim;
  }
  return type;
}

/** Elements of the first output (the static shape that `infer` gives). */
export function outputCount(outputs: readonly TensorType[]): number {
  return (outputs[0]?.shape ?? []).reduce<number>((count, dim) => count * (typeof dim === "number" ? dim : 1), 1);
}
