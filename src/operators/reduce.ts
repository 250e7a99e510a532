/** Reductions over axes, softmax and normalisations. */
import { type Dim, intAttribute, type TensorType } from "../graph/graph.js";
import { type DType, elementCount } from "../graph/tensor.js";
import type { ReduceOp } from "../program/program.js";
import { apply, divide, type Expression } from "./expression.js";
import { floatTypes, integerTypes, numericTypes } from "./pointwise.js";
import type { AttributeSpec, OperatorRecord, OperatorUse, Reason } from "./record.js";
import {
  axisAttribute,
  constantInts,
  dtypeOf,
  float,
  inputFault,
  int,
  mergeDims,
  normalAxes,
  OPEN,
  outputCount,
  reason,
  required,
  requireRank,
  type Shape,
  shapeOf,
  staticShape,
} from "./shapes.js";

/**
 * The axes that a Reduce* node reduces, counted from the front; undefined where they are not known. Absent or empty axes mean all of
 * them, or none with noop_with_empty_axes.
 */
export function reducedAxes(use: OperatorUse): readonly number[] | undefined {
  const rank = shapeOf(use, 0)?.length;
  if (rank === undefined) return undefined;
  const present = use.inputs[1] !== undefined;
  const axes = present ? constantInts(use, 1) : [];
  if (axes === undefined) return undefined;
  if (axes.length > 0) return normalAxes(use, "axes", axes, rank).sort((a, b) => a - b);
  return intAttribute(use.attributes, "noop_with_empty_axes", 0) ? [] : Array.from({ length: rank }, (_, axis) => axis);
}

function reducedShape(use: OperatorUse): Shape | undefined {
  const input = shapeOf(use, 0);
  const keep = intAttribute(use.attributes, "keepdims", 1) !== 0;
  if (input === undefined) return undefined;
  const axes = reducedAxes(use);
  if (axes === undefined) {
    // Only how many axes there are is known.
    return keep ? input.map(() => OPEN) : undefined;
  }
  return keep ? input.map((dim, axis) => (axes.includes(axis) ? 1 : dim)) : input.filter((_, axis) => !axes.includes(axis));
}

interface Reduction {
  readonly since: number;
  readonly summary: string;
  readonly op?: ReduceOp;
  readonly pre?: (value: Expression) => Expression;
  readonly post?: (value: Expression, count: number) => Expression;
  /** Types beside the floats. */
  readonly integers?: readonly DType[];
  readonly exact?: true;
}

const reductions: Readonly<Record<string, Reduction>> = {
  ReduceSum: { since: 13, summary: "sum", op: "add", integers: ["int32", "uint32"] },
  ReduceMean: { since: 18, summary: "mean", op: "add", post: (sum, count) => divide(sum, count) },
  ReduceMax: { since: 20, summary: "largest value", op: "maximum", integers: [...integerTypes, "bool"], exact: true },
  ReduceMin: { since: 20, summary: "smallest value", op: "minimum", integers: [...integerTypes, "bool"], exact: true },
  ReduceProd: { since: 18, summary: "product", op: "multiply", integers: ["int32", "uint32"] },
  ReduceL1: { since: 18, summary: "sum of |x|", op: "add", pre: (x) => apply("abs", x) },
  ReduceL2: {
    since: 18,
    summary: "root of the sum of squares",
    op: "add",
    pre: (x) => apply("square", x),
    post: (sum) => apply("sqrt", sum),
  },
  ReduceSumSquare: { since: 18, summary: "sum of squares", op: "add", pre: (x) => apply("square", x) },
  ReduceLogSum: { since: 18, summary: "log of the sum", op: "add", post: (sum) => apply("log", sum) },
  // Decomposed: exp of the values themselves would overflow.
  ReduceLogSumExp: { since: 18, summary: "log of the sum of exp(x)" },
};

function refuseReduction(use: OperatorUse): Reason | undefined {
  if (reducedAxes(use)?.length === 0) return reason("attribute", "noop_with_empty_axes", 1, "axes that are given");
  return undefined;
}

function reductionRecord(name: string, entry: Reduction): OperatorRecord {
  const { op, pre, post } = entry;
  return {
    name,
    domain: "",
    since: entry.since,
    minInputs: 1,
    maxInputs: 2,
    attributes: { keepdims: int(1), noop_with_empty_axes: int(0) },
    parameters: [1],
    types: [...floatTypes, ...(entry.integers ?? [])],
    summary: `${entry.summary}, over axes`,
    infer: (use) => [{ dtype: dtypeOf(use, 0), shape: reducedShape(use) }],
    ...(op ? { lowering: { kind: "reduce" as const, op, axes: (use: OperatorUse) => reducedAxes(use) ?? [], pre, post } } : {}),
    refuse: refuseReduction,
    flops: (use) => elementCount(staticShape(use, 0)) * (pre ? 2 : 1),
    exactness: entry.exact ? "exact" : "fp32",
  };
}

const sameAsFirst = (use: OperatorUse): TensorType[] => [{ dtype: dtypeOf(use, 0), shape: shapeOf(use, 0) }];

/** Types as input 0, whose `axis` has to exist. */
function alongAxis(fallback: number): (use: OperatorUse) => TensorType[] {
  return (use) => {
    const shape = shapeOf(use, 0);
    if (shape !== undefined && shape.length > 0) axisAttribute(use, fallback, shape.length);
    return sameAsFirst(use);
  };
}

function softmaxRecord(name: string, log: boolean): OperatorRecord {
  return {
    name,
    domain: "",
    since: 13,
    minInputs: 1,
    maxInputs: 1,
    attributes: { axis: int(-1) },
    types: floatTypes,
    summary: log ? "x - log(sum exp(x)) along an axis" : "exp(x) / sum exp(x) along an axis",
    infer: alongAxis(-1),
    lowering: { kind: "softmax", log, axis: (use) => axisAttribute(use, -1, staticShape(use, 0).length) },
    refuse: (use) => (staticShape(use, 0).length === 0 ? reason("rank", "input 0", 0, "1 or more dimensions") : undefined),
    flops: (use) => 5 * elementCount(staticShape(use, 0)),
    exactness: "fp32",
  };
}

/** One value a channel for each of `indices`. */
function checkChannels(use: OperatorUse, indices: readonly number[], channels: Dim | undefined): void {
  for (const index of indices) {
    requireRank(use, index, 1, 1);
    const shape = shapeOf(use, index);
    if (shape && channels !== undefined && mergeDims(shape[0], channels) === undefined) throw inputFault(use, index, `[${channels}]`);
  }
}

function inferBatchNormalization(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  checkChannels(use, [1, 2, 3, 4], input?.length === 1 ? 1 : input?.[1]);
  const statistics = { dtype: dtypeOf(use, 3), shape: shapeOf(use, 3) };
  return [sameAsFirst(use)[0], statistics, statistics].slice(0, use.outputCount);
}

function inferChannels(use: OperatorUse): TensorType[] {
  requireRank(use, 0, use.op === "InstanceNormalization" ? 3 : 2);
  checkChannels(use, [1, 2], shapeOf(use, 0)?.[1]);
  return sameAsFirst(use);
}

function inferLayerNormalization(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  const [first] = alongAxis(-1)(use);
  const axis = input === undefined ? 0 : axisAttribute(use, -1, input.length);
  const statistics: TensorType = { dtype: "float32", shape: input?.map((dim, index) => (index < axis ? dim : 1)) };
  return [first, statistics, statistics].slice(0, Math.max(1, use.outputCount));
}

function inferArg(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  if (input === undefined) return [{ dtype: "int64" }];
  const axis = axisAttribute(use, 0, input.length);
  const keep = intAttribute(use.attributes, "keepdims", 1) !== 0;
  return [{ dtype: "int64", shape: input.flatMap((dim, index) => (index !== axis ? [dim] : keep ? [1] : [])) }];
}

interface Plain {
  readonly name: string;
  readonly since: number;
  readonly inputs: readonly [number, number];
  readonly attributes: Readonly<Record<string, AttributeSpec>>;
  readonly summary: string;
  infer(use: OperatorUse): TensorType[];
  /** Operations an element. */
  readonly cost: number;
  readonly types?: readonly DType[];
  readonly exact?: true;
}

const epsilon = { epsilon: float(1e-5) };
const argument = { axis: int(0), keepdims: int(1), select_last_index: int(0) };

/** Without a lowering of their own: decomposed, or run on the CPU. */
const plain: readonly Plain[] = [
  {
    name: "BatchNormalization",
    since: 15,
    inputs: [5, 5],
    attributes: { ...epsilon, momentum: float(0.9), training_mode: int(0) },
    summary: "scale (x - mean) / sqrt(variance + epsilon) + bias, a channel",
    infer: inferBatchNormalization,
    cost: 2,
  },
  {
    name: "LRN",
    since: 13,
    inputs: [1, 1],
    attributes: { alpha: float(1e-4), beta: float(0.75), bias: float(1), size: required(int()) },
    summary: "x / (bias + alpha / size sum of neighbouring channels' squares) ^ beta",
    infer: sameAsFirst,
    cost: 10,
  },
  {
    name: "InstanceNormalization",
    since: 22,
    inputs: [3, 3],
    attributes: epsilon,
    summary: "normalisation of each channel of each item",
    infer: inferChannels,
    cost: 8,
  },
  {
    name: "GroupNormalization",
    since: 21,
    inputs: [3, 3],
    attributes: { ...epsilon, num_groups: required(int()), stash_type: int(1) },
    summary: "normalisation over groups of channels",
    infer: inferChannels,
    cost: 8,
  },
  {
    name: "LayerNormalization",
    since: 17,
    inputs: [2, 3],
    attributes: { axis: int(-1), ...epsilon, stash_type: int(1) },
    summary: "normalisation over the axes from `axis` on",
    infer: inferLayerNormalization,
    cost: 8,
  },
  {
    name: "RMSNormalization",
    since: 23,
    inputs: [2, 2],
    attributes: { axis: int(-1), ...epsilon, stash_type: int(1) },
    summary: "x / root mean square, over the axes from `axis` on",
    infer: alongAxis(-1),
    cost: 5,
  },
  {
    name: "LpNormalization",
    since: 22,
    inputs: [1, 1],
    attributes: { axis: int(-1), p: int(2) },
    summary: "x / its p-norm along an axis",
    infer: alongAxis(-1),
    cost: 3,
  },
  {
    name: "MeanVarianceNormalization",
    since: 13,
    inputs: [1, 1],
    attributes: { axes: { type: "ints", default: [0, 2, 3] } },
    summary: "(x - mean) / standard deviation over axes",
    infer: sameAsFirst,
    cost: 6,
  },
  {
    name: "Hardmax",
    since: 13,
    inputs: [1, 1],
    attributes: { axis: int(-1) },
    summary: "1 at the first maximum",
    infer: alongAxis(-1),
    cost: 1,
    exact: true,
  },
  {
    name: "ArgMax",
    since: 13,
    inputs: [1, 1],
    attributes: argument,
    summary: "index of the largest value",
    infer: inferArg,
    cost: 1,
    types: numericTypes,
    exact: true,
  },
  {
    name: "ArgMin",
    since: 13,
    inputs: [1, 1],
    attributes: argument,
    summary: "index of the smallest value",
    infer: inferArg,
    cost: 1,
    types: numericTypes,
    exact: true,
  },
];

export const reduceRecords: readonly OperatorRecord[] = [
  ...Object.entries(reductions).map(([name, entry]) => reductionRecord(name, entry)),
  softmaxRecord("Softmax", false),
  softmaxRecord("LogSoftmax", true),
  ...plain.map(
    ({ inputs: [minInputs, maxInputs], cost, exact, ...entry }): OperatorRecord => ({
      types: floatTypes,
      ...entry,
      domain: "",
      minInputs,
      maxInputs,
      flops: (use) => cost * Math.max(outputCount(entry.infer(use)), elementCount(staticShape(use, 0))),
      exactness: exact ? "exact" : "fp32",
    }),
  ),
];
