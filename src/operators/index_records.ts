/** Operators that find or use places, and losses: their forms and types. `indices.ts` decomposes them. */
import { intAttribute, type TensorType } from "../graph/graph.js";
import { toNumbers } from "../graph/tensor.js";
import { as, formRecords, indexTypes, one, ownOr, selectedTypes } from "./form.js";
import { elementTypes, floatTypes, movedTypes, numericTypes } from "./pointwise.js";
import type { OperatorUse } from "./record.js";
import {
  attributeFault,
  axisAttribute,
  constantInts,
  constantScalar,
  dtypeOf,
  inputFault,
  int,
  mergeDims,
  normalAxis,
  OPEN,
  productOf,
  requireRank,
  requireSameType,
  requireShape,
  requireWord,
  shapeOf,
  text,
} from "./shapes.js";
import { elementFlops, lossFlops, noFlops, scatterFlops, topKFlops } from "./work.js";

/** Each index stands for one element, at its own place on the other axes. */
function checkElementIndices(use: OperatorUse): void {
  const [data, indices] = [shapeOf(use, 0), shapeOf(use, 1)];
  requireRank(use, 0, 1);
  if (data === undefined) return;
  requireRank(use, 1, data.length, data.length);
  const axis = axisAttribute(use, 0, data.length);
  const far = indices?.findIndex((dim, other) => other !== axis && Number(dim) > Number(data[other])) ?? -1;
  if (far >= 0) throw inputFault(use, 1, `of an extent of at most ${data[far]} on axis ${far}`);
}

function gatherElements(use: OperatorUse): TensorType[] {
  checkElementIndices(use);
  return one(dtypeOf(use, 0), shapeOf(use, 1));
}

function scatterElements(use: OperatorUse): TensorType[] {
  checkElementIndices(use);
  requireSameType(use, 0, 2);
  const indices = shapeOf(use, 1);
  if (indices) requireShape(use, 2, indices);
  return one(dtypeOf(use, 0), shapeOf(use, 0));
}

/** Batch axes, and the number of axes that a tuple of indices names. */
function tupleDepth(use: OperatorUse): { batch: number; depth: number } | undefined {
  const [data, indices] = [shapeOf(use, 0), shapeOf(use, 1)];
  requireRank(use, 0, 1);
  requireRank(use, 1, 1);
  const depth = indices?.[indices.length - 1];
  const batch = intAttribute(use.attributes, "batch_dims", 0);
  if (data === undefined || indices === undefined || typeof depth !== "number") return undefined;
  if (batch < 0 || batch >= Math.min(data.length, indices.length))
    throw attributeFault(use, "batch_dims", batch, "use less than both ranks");
  if (depth < 1 || batch + depth > data.length) throw inputFault(use, 1, `of a last extent of 1 to ${data.length - batch}`);
  const differs = range(0, batch).find((axis) => mergeDims(data[axis], indices[axis]) === undefined);
  if (differs !== undefined) throw inputFault(use, 1, `of extent ${data[differs]} on axis ${differs}`);
  return { batch, depth };
}

function gatherND(use: OperatorUse): TensorType[] {
  const tuple = tupleDepth(use);
  const [data, indices] = [shapeOf(use, 0), shapeOf(use, 1)];
  if (tuple === undefined || data === undefined || indices === undefined) return one(dtypeOf(use, 0));
  return one(dtypeOf(use, 0), [...indices.slice(0, -1), ...data.slice(tuple.batch + tuple.depth)]);
}

function scatterND(use: OperatorUse): TensorType[] {
  const tuple = tupleDepth(use);
  const [data, indices] = [shapeOf(use, 0), shapeOf(use, 1)];
  requireSameType(use, 0, 2);
  if (tuple && data && indices) requireShape(use, 2, [...indices.slice(0, -1), ...data.slice(tuple.depth)]);
  return one(dtypeOf(use, 0), data);
}

function tensorScatter(use: OperatorUse): TensorType[] {
  const data = shapeOf(use, 0);
  requireSameType(use, 0, 1);
  requireRank(use, 0, 2);
  requireWord(use, "mode", ["linear", "circular"]);
  if (data !== undefined) {
    const axis = axisAttribute(use, -2, data.length);
    if (axis === 0) throw attributeFault(use, "axis", axis, "use an axis behind the batch");
    requireShape(use, 1, data.with(axis, shapeOf(use, 1)?.[axis] ?? OPEN));
    requireShape(use, 2, [data[0]]);
    const [size, news] = [data[axis], shapeOf(use, 1)?.[axis]];
    if (typeof size === "number" && typeof news === "number" && news > size) throw inputFault(use, 1, `of at most ${size} on axis ${axis}`);
  }
  return one(dtypeOf(use, 0), data);
}

function topK(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  if (input === undefined) return [{ dtype: dtypeOf(use, 0) }, { dtype: "int64" }];
  const axis = axisAttribute(use, -1, input.length);
  const count = constantInts(use, 1)?.[0] ?? OPEN;
  const size = input[axis];
  if (typeof count === "number" && (count < 0 || (typeof size === "number" && count > size))) {
    throw inputFault(use, 1, `0 to ${size}, not ${count}`);
  }
  const shape = input.with(axis, count);
  return [
    { dtype: dtypeOf(use, 0), shape },
    { dtype: "int64", shape },
  ];
}

function oneHot(use: OperatorUse): TensorType[] {
  const indices = shapeOf(use, 0);
  const depth = constantScalar(use, 1) ?? OPEN;
  requireShape(use, 2, [2]);
  if (typeof depth === "number" && !(depth >= 1)) throw inputFault(use, 1, `1 or more, not ${depth}`);
  if (indices === undefined) return one(dtypeOf(use, 2));
  const axis = axisAttribute(use, -1, indices.length + 1);
  return one(dtypeOf(use, 2), [...indices.slice(0, axis), depth, ...indices.slice(axis)]);
}

function eyeLike(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 2, 2);
  return ownOr(use);
}

/** Of running sums and products: the type of the input, whose axis has to exist. */
function running(use: OperatorUse): TensorType[] {
  const rank = shapeOf(use, 0)?.length;
  const axis = constantScalar(use, 1);
  if (rank !== undefined && axis !== undefined) normalAxis(use, "axis", axis, rank);
  return one(dtypeOf(use, 0), shapeOf(use, 0));
}

function reverseSequence(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 2);
  const [batch, time] = [intAttribute(use.attributes, "batch_axis", 1), intAttribute(use.attributes, "time_axis", 0)];
  if (![0, 1].includes(batch) || time !== 1 - batch) throw attributeFault(use, "time_axis", time, "use 0 and 1 for the two axes");
  requireShape(use, 1, [shapeOf(use, 0)?.[batch] ?? OPEN]);
  return one(dtypeOf(use, 0), shapeOf(use, 0));
}

/** Input [batch, classes, ...], target [batch, ...], a weight for each class. */
function loss(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  requireRank(use, 0, 2);
  requireWord(use, "reduction", ["mean", "sum", "none"]);
  if (input) {
    requireShape(use, 1, [input[0], ...input.slice(2)]);
    requireShape(use, 2, [input[1]]);
  }
  const full = use.attributes.reduction?.value === "none";
  const result = { dtype: dtypeOf(use, 0), shape: full ? shapeOf(use, 1) : [] };
  return use.outputCount > 1 ? [result, { dtype: dtypeOf(use, 0), shape: input }] : [result];
}

function compress(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  const condition = use.constants[1];
  const flat = use.attributes.axis === undefined;
  const axis = input && !flat ? axisAttribute(use, 0, input.length) : 0;
  requireRank(use, 1, 1, 1);
  const size = flat ? input && productOf(input) : input?.[axis];
  if (condition && typeof size === "number" && condition.shape[0] > size) throw inputFault(use, 1, `of at most ${size} values`);
  const kept = condition ? toNumbers(condition).filter((value) => value !== 0).length : OPEN;
  return one(dtypeOf(use, 0), flat ? [kept] : input?.with(axis, kept));
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

const lossAttributes = { ignore_index: int(), reduction: text("mean") };

export const indexRecords = formRecords({
  Compress: {
    since: 11,
    inputs: [2, 2],
    attributes: { axis: int() },
    infer: compress,
    flops: noFlops,
    parameters: [1],
    exactness: "exact",
    summary: "the places where a constant condition holds",
  },
  CumProd: {
    since: 26,
    inputs: [2, 2],
    parameters: [1],
    attributes: { exclusive: int(0), reverse: int(0) },
    infer: running,
    flops: elementFlops,
    types: [...floatTypes, "int32", "uint32"],
    summary: "running products along an axis",
  },
  CumSum: {
    since: 14,
    inputs: [2, 2],
    attributes: { exclusive: int(0), reverse: int(0) },
    infer: running,
    flops: elementFlops,
    parameters: [1],
    types: [...floatTypes, "int32", "uint32"],
    summary: "running sums along an axis",
  },
  EyeLike: {
    since: 22,
    inputs: [1, 1],
    attributes: { dtype: int(), k: int(0) },
    infer: eyeLike,
    flops: noFlops,
    types: [...elementTypes, "float64", "int64", "uint64"],
    summary: "ones on a diagonal",
    exactness: "exact",
  },
  GatherElements: {
    since: 13,
    inputs: [2, 2],
    attributes: { axis: int(0) },
    infer: gatherElements,
    flops: noFlops,
    types: selectedTypes,
    exactness: "exact",
    inputTypes: { 1: indexTypes },
    summary: "elements of an axis, each by its own index",
  },
  GatherND: {
    since: 13,
    inputs: [2, 2],
    attributes: { batch_dims: int(0) },
    infer: gatherND,
    flops: noFlops,
    types: selectedTypes,
    exactness: "exact",
    inputTypes: { 1: indexTypes },
    summary: "elements or slices by tuples of indices",
  },
  NegativeLogLikelihoodLoss: {
    since: 22,
    inputs: [2, 3],
    attributes: lossAttributes,
    infer: loss,
    flops: lossFlops,
    types: floatTypes,
    inputTypes: { 1: indexTypes },
    summary: "- the weighted input at each target",
  },
  OneHot: {
    since: 11,
    inputs: [3, 3],
    attributes: { axis: int(-1) },
    infer: oneHot,
    flops: noFlops,
    parameters: [1],
    types: [...floatTypes, ...indexTypes],
    inputTypes: { 2: elementTypes },
    exactness: "exact",
    summary: "one value at the index, another elsewhere, along a new axis",
  },
  ReverseSequence: {
    since: 10,
    inputs: [2, 2],
    attributes: { batch_axis: int(1), time_axis: int(0) },
    infer: reverseSequence,
    flops: noFlops,
    types: selectedTypes,
    exactness: "exact",
    inputTypes: { 1: indexTypes },
    summary: "the first elements of each sequence in the reverse order",
  },
  ScatterElements: {
    since: 18,
    inputs: [3, 3],
    attributes: { axis: int(0), reduction: text("none") },
    infer: scatterElements,
    flops: scatterFlops,
    types: selectedTypes,
    inputTypes: { 1: indexTypes },
    summary: "the data with updates at given places",
  },
  ScatterND: {
    since: 18,
    inputs: [3, 3],
    attributes: { reduction: text("none") },
    infer: scatterND,
    flops: scatterFlops,
    types: selectedTypes,
    inputTypes: { 1: indexTypes },
    summary: "the data with updates at given places",
  },
  SoftmaxCrossEntropyLoss: {
    since: 13,
    inputs: [2, 3],
    attributes: lossAttributes,
    infer: loss,
    flops: lossFlops,
    types: floatTypes,
    inputTypes: { 1: indexTypes },
    summary: "the loss of softmax(x) at each target",
  },
  TensorScatter: {
    since: 24,
    inputs: [2, 3],
    attributes: { axis: int(-2), mode: text("linear") },
    infer: tensorScatter,
    flops: noFlops,
    types: selectedTypes,
    exactness: "exact",
    inputTypes: { 2: indexTypes },
    summary: "a cache with new entries",
  },
  TopK: {
    since: 11,
    inputs: [2, 2],
    attributes: { axis: int(-1), largest: int(1), sorted: int(1) },
    infer: topK,
    flops: topKFlops,
    parameters: [1],
    types: numericTypes,
    exactness: "exact",
    summary: "the largest or smallest values along an axis, and their places",
  },
  Trilu: {
    since: 14,
    inputs: [1, 2],
    parameters: [1],
    attributes: { upper: int(1) },
    infer: as(0),
    flops: noFlops,
    exactness: "exact",
    types: movedTypes,
    summary: "the upper or lower triangle of the matrices, 0 beside it",
  },
});
