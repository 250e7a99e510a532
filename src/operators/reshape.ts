/** The reshape family (elements stay in their order), and operators that make constants or shapes. */
import { type Dim, floatAttribute, intAttribute, intsAttribute, stringAttribute, type TensorType } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { type MovementForm, movementRecord, typed } from "./movement.js";
import { contiguous } from "./pieces.js";
import type { Movement, OperatorRecord, OperatorUse, Reason } from "./record.js";
import {
  attributeFault,
  constantInts,
  constantScalar,
  dtypeOf,
  extent,
  float,
  inputFault,
  int,
  ints,
  mergeDims,
  normalAxes,
  normalAxis,
  OPEN,
  productOf,
  reason,
  requireRank,
  type Shape,
  shapeOf,
  shapeText,
  staticShape,
  text,
} from "./shapes.js";

const inOrder = (use: OperatorUse): Movement[] => [{ output: 0, pieces: [contiguous(0, elementCount(staticShape(use, 0)))] }];

function reshapeShape(use: OperatorUse): Shape | undefined {
  const input = shapeOf(use, 0);
  const target = constantInts(use, 1);
  requireRank(use, 1, 1, 1);
  if (target === undefined) {
    const rank = shapeOf(use, 1)?.[0];
    return typeof rank === "number" && rank <= 64 ? new Array<Dim>(rank).fill(OPEN) : undefined;
  }
  if (target.some((size) => size < -1) || target.filter((size) => size === -1).length > 1) {
    throw inputFault(use, 1, `extents of 0 or more with at most one -1, not ${shapeText(target)}`);
  }
  const keepZero = intAttribute(use.attributes, "allowzero", 0) !== 0;
  const dims = target.map((size, axis): Dim => {
    if (size !== 0 || keepZero) return size;
    if (input !== undefined && axis >= input.length) throw inputFault(use, 1, `without a 0 at axis ${axis}, which the input lacks`);
    return input?.[axis] ?? OPEN;
  });
  return input === undefined ? dims.map((dim) => (dim === -1 ? OPEN : dim)) : completeShape(use, input, dims);
}

/** Resolves the -1 of a target shape, cancelling open extents that occur on both sides; checks the element count. */
function completeShape(use: OperatorUse, input: Shape, dims: readonly Dim[]): Shape {
  const free = dims.indexOf(-1);
  const rest = input.slice();
  const others: Dim[] = [];
  for (const dim of dims) {
    const twin = typeof dim === "string" ? rest.indexOf(dim) : -1;
    if (twin >= 0) rest.splice(twin, 1);
    else if (dim !== -1) others.push(dim);
  }
  const open = [...rest, ...others].filter((dim) => typeof dim === "string");
  const [have, want] = [rest, others].map((list) => elementCount(list.filter((dim) => typeof dim === "number")));
  if (free < 0) {
    if (open.length === 0 && have !== want) throw inputFault(use, 1, `of as many elements as ${shapeText(input)}, not ${shapeText(dims)}`);
    return dims;
  }
  if (open.length > 0) {
    const alone = open.length === 1 && others.every((dim) => typeof dim === "number") && have === want;
    return dims.map((dim) => (dim === -1 ? (alone ? open[0] : OPEN) : dim));
  }
  if (want === 0 ? have !== 0 : have % want !== 0)
    throw inputFault(use, 1, `of extents that divide ${shapeText(input)}, not ${shapeText(dims)}`);
  return dims.map((dim) => (dim === -1 ? (want === 0 ? 0 : have / want) : dim));
}

function flattenShape(use: OperatorUse): Shape | undefined {
  const input = shapeOf(use, 0);
  if (input === undefined) return [OPEN, OPEN];
  const axis = intAttribute(use.attributes, "axis", 1);
  const split = axis === input.length ? axis : normalAxis(use, "axis", axis, input.length);
  return [productOf(input.slice(0, split)), productOf(input.slice(split))];
}

function squeezeShape(use: OperatorUse): Shape | undefined {
  const input = shapeOf(use, 0);
  const given = constantInts(use, 1);
  if (input === undefined || (use.inputs[1] !== undefined && given === undefined)) return undefined;
  if (given === undefined) return input.some((dim) => typeof dim === "string") ? undefined : input.filter((dim) => dim !== 1);
  const axes = normalAxes(use, "axes", given, input.length);
  const wide = axes.find((axis) => mergeDims(input[axis], 1) === undefined);
  if (wide !== undefined) throw inputFault(use, 0, `of extent 1 on axis ${wide}, which is squeezed`);
  return input.filter((_, axis) => !axes.includes(axis));
}

function unsqueezeShape(use: OperatorUse): Shape | undefined {
  const input = shapeOf(use, 0);
  const given = constantInts(use, 1);
  if (input === undefined || given === undefined) return undefined;
  const rank = input.length + given.length;
  const axes = normalAxes(use, "axes", given, rank);
  const rest = [...input];
  return Array.from({ length: rank }, (_, axis): Dim => (axes.includes(axis) ? 1 : (rest.shift() ?? 1)));
}

function inferDropout(use: OperatorUse): TensorType[] {
  const shape = shapeOf(use, 0);
  return [...typed(use, shape), { dtype: "bool" as const, shape }].slice(0, Math.max(1, use.outputCount));
}

function refuseDropout(use: OperatorUse): Reason | undefined {
  if (use.outputCount > 1) return reason("outputs", "mask", "used", "the first output only");
  const training = use.inputs[2] !== undefined && constantScalar(use, 2) !== 0;
  return training ? reason("attribute", "training_mode", "true or unknown", "inference") : undefined;
}

/** The tensor of a Constant node. */
export function constantValue(use: OperatorUse): Tensor | undefined {
  const { attributes } = use;
  if (attributes.value?.type === "tensor") return attributes.value.value;
  const floats = attributes.value_floats;
  if (floats?.type === "floats") return { dtype: "float32", shape: [floats.value.length], data: Float32Array.from(floats.value) };
  const strings = attributes.value_strings;
  if (strings?.type === "strings") return { dtype: "string", shape: [strings.value.length], data: [...strings.value] };
  if (attributes.value_float) return { dtype: "float32", shape: [], data: Float32Array.of(floatAttribute(attributes, "value_float", 0)) };
  if (attributes.value_string) return { dtype: "string", shape: [], data: [stringAttribute(attributes, "value_string", "")] };
  const values = intsAttribute(attributes, "value_ints");
  const list = values ?? (attributes.value_int ? [intAttribute(attributes, "value_int", 0)] : undefined);
  return list && { dtype: "int64", shape: values ? [list.length] : [], data: BigInt64Array.from(list, BigInt) };
}

/** First and last (exclusive) axis that a Shape node reads. */
export function shapeRange(use: OperatorUse, rank: number): [number, number] {
  const clamp = (axis: number): number => Math.min(Math.max(axis < 0 ? axis + rank : axis, 0), rank);
  const start = clamp(intAttribute(use.attributes, "start", 0));
  return [start, Math.max(start, clamp(intAttribute(use.attributes, "end", rank)))];
}

function filledShape(use: OperatorUse): Shape | undefined {
  const shape = constantInts(use, 0);
  if (shape?.some((size) => size < 0)) throw inputFault(use, 0, `extents of 0 or more, not ${shapeText(shape)}`);
  if (shape !== undefined) return shape;
  const rank = shapeOf(use, 0)?.[0];
  return typeof rank === "number" && rank <= 64 ? new Array<Dim>(rank).fill(OPEN) : undefined;
}

function fillOf(use: OperatorUse): Tensor | undefined {
  const value = use.attributes.value;
  if (value?.type === "tensor" && elementCount(value.value.shape) !== 1) throw attributeFault(use, "value", "a tensor", "use one element");
  return value?.type === "tensor" ? value.value : undefined;
}

/** Number of elements of a Range. */
export function rangeLength(use: OperatorUse): Dim {
  const [start, limit, delta] = [0, 1, 2].map((index) => constantScalar(use, index));
  if (start === undefined || limit === undefined || delta === undefined) return OPEN;
  if (delta === 0) throw inputFault(use, 2, "other than 0");
  return Math.max(0, Math.ceil((limit - start) / delta));
}

const forms: readonly MovementForm[] = [
  {
    name: "Reshape",
    since: 21,
    inputs: [2, 2],
    attributes: { allowzero: int(0) },
    parameters: [1],
    summary: "the elements in another shape",
    infer: (use) => typed(use, reshapeShape(use)),
    items: "in order",
    movements: inOrder,
  },
  {
    name: "Flatten",
    since: 21,
    inputs: [1, 1],
    attributes: { axis: int(1) },
    summary: "two dimensions: the axes before `axis`, and the rest",
    infer: (use) => typed(use, flattenShape(use)),
    items: "in order",
    movements: inOrder,
  },
  {
    name: "Squeeze",
    since: 21,
    inputs: [1, 2],
    parameters: [1],
    summary: "without axes of extent 1",
    infer: (use) => typed(use, squeezeShape(use)),
    items: "in order",
    movements: inOrder,
  },
  {
    name: "Unsqueeze",
    since: 21,
    inputs: [2, 2],
    parameters: [1],
    summary: "with new axes of extent 1",
    infer: (use) => typed(use, unsqueezeShape(use)),
    items: "in order",
    movements: inOrder,
  },
  {
    name: "Identity",
    since: 21,
    inputs: [1, 1],
    summary: "the input",
    infer: (use) => typed(use, shapeOf(use, 0)),
    items: "in order",
    movements: inOrder,
  },
  {
    name: "Dropout",
    since: 22,
    inputs: [1, 3],
    attributes: { seed: int() },
    parameters: [1, 2],
    summary: "the input (inference)",
    infer: inferDropout,
    items: "in order",
    movements: inOrder,
    refuse: refuseDropout,
  },
  {
    name: "Constant",
    isConstant: true,
    since: 21,
    inputs: [0, 0],
    attributes: {
      value: { type: "tensor" },
      value_float: float(),
      value_floats: { type: "floats" },
      value_int: int(),
      value_ints: ints,
      value_string: text(),
      value_strings: { type: "strings" },
    },
    summary: "a constant",
    infer: (use) => {
      const value = constantValue(use);
      return value ? [{ dtype: value.dtype, shape: value.shape }] : [];
    },
  },
  {
    name: "ConstantOfShape",
    isConstant: true,
    since: 21,
    inputs: [1, 1],
    attributes: { value: { type: "tensor" } },
    parameters: [0],
    summary: "one value in a given shape",
    infer: (use) => [{ dtype: fillOf(use)?.dtype ?? "float32", shape: filledShape(use) }],
  },
  {
    name: "Shape",
    isConstant: true,
    since: 21,
    inputs: [1, 1],
    attributes: { start: int(0), end: int() },
    summary: "the input's extents",
    infer: (use) => {
      const rank = shapeOf(use, 0)?.length;
      if (rank === undefined) return [{ dtype: "int64", shape: [OPEN] }];
      const [start, end] = shapeRange(use, rank);
      return [{ dtype: "int64", shape: [end - start] }];
    },
  },
  {
    name: "Size",
    isConstant: true,
    since: 21,
    inputs: [1, 1],
    summary: "the input's element count",
    infer: () => [{ dtype: "int64", shape: [] }],
  },
  {
    name: "Range",
    isConstant: true,
    since: 11,
    inputs: [3, 3],
    parameters: [0, 1, 2],
    summary: "start, start + delta, ... below limit",
    infer: (use) => [{ dtype: dtypeOf(use, 0), shape: [extent([rangeLength(use)], ([count]) => count)] }],
  },
];

export const reshapeRecords: readonly OperatorRecord[] = forms.map(movementRecord);
