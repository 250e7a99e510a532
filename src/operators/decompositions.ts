/** How operators without a lowering of their own are written in the small operator set. */
import { floatAttribute, intAttribute } from "../graph/graph.js";
import { fromNumbers, isFloat, largestFinite, toNumbers } from "../graph/tensor.js";
import { attentionRules } from "./attention.js";
import { type Builder, intValue, type Rule, range } from "./builder.js";
import { einsum } from "./einsum.js";
import { indexRules } from "./indices.js";
import { newestRules } from "./newest.js";
import { normalisationRules } from "./normalisations.js";
import { quantizedRules } from "./quantized.js";
import type { OperatorUse } from "./record.js";
import { recurrentRules } from "./recurrent.js";
import { reducedAxes } from "./reduce.js";
import { axisSampling, isMovement, refuseSampling, type Sampling } from "./resize.js";
import { reason, staticShape } from "./shapes.js";
import { spatialRules } from "./spatial.js";

const keep = { keepdims: intValue(1) };

/** alpha A B + beta C. */
const gemm: Rule = (builder, [a, b, c], use) => {
  const turned = (value: string, attribute: string): string =>
    intAttribute(use.attributes, attribute, 0) ? builder.op("Transpose", [value], { perm: { type: "ints", value: [1, 0] } }) : value;
  const scaled = (value: string, attribute: string): string => {
    const factor = floatAttribute(use.attributes, attribute, 1);
    return factor === 1 ? value : builder.op("Mul", [value, builder.scalar(factor)]);
  };
  const product = scaled(builder.op("MatMul", [turned(a, "transA"), turned(b, "transB")]), "alpha");
  if (!c || floatAttribute(use.attributes, "beta", 1) === 0) return product;
  return builder.op("Add", [product, scaled(c, "beta")]);
};

/** Vectors are matrices of one row or column. */
const vectorMatmul: Rule = (builder, [a, b], use) => {
  const [left, right] = [staticShape(use, 0), staticShape(use, 1)];
  if (left.length > 1 && right.length > 1) return undefined;
  const first = left.length > 1 ? a : builder.op("Reshape", [a, builder.integers([1, left[0]])]);
  const second = right.length > 1 ? b : builder.op("Reshape", [b, builder.integers([right[0], 1])]);
  const product = builder.op("MatMul", [first, second]);
  const shape = [...builder.shape(product)];
  if (right.length === 1) shape.splice(shape.length - 1, 1);
  if (left.length === 1) shape.splice(shape.length - (right.length === 1 ? 1 : 2), 1);
  return builder.op("Reshape", [product, builder.integers(shape)]);
};

const globalReduction =
  (op: string): Rule =>
  (builder, [x], use) =>
    builder.op(op, [x, builder.integers(range(2, staticShape(use, 0).length))], keep);

/** More than two inputs, joined one by one. */
const chain =
  (op: string): Rule =>
  (builder, inputs) =>
    inputs.length > 2 ? inputs.slice(1).reduce((sum, input) => builder.op(op, [sum, input]), inputs[0]) : undefined;

const meanChain: Rule = (builder, inputs) => {
  const sum = inputs.length > 2 ? inputs.slice(1).reduce((left, right) => builder.op("Add", [left, right]), inputs[0]) : undefined;
  return sum && builder.op("Div", [sum, builder.scalar(inputs.length)]);
};

const LARGEST_LRN = 64;

/** x (bias + alpha / size (sum of squares over a window of channels)) ^ -beta. */
const localResponse: Rule = (builder, [x], use) => {
  const shape = staticShape(use, 0);
  const size = intAttribute(use.attributes, "size", 1);
  if (shape.length < 2) return reason("rank", "input 0", shape.length, "2 or more dimensions");
  if (size < 1 || size > LARGEST_LRN) return reason("attribute", "size", size, `1 to ${LARGEST_LRN}`);
  const before = Math.floor((size - 1) / 2);
  const after = size - 1 - before;
  const square = builder.op("Mul", [x, x]);
  const zeros = shape.map(() => 0);
  const pads = [...zeros.with(1, before), ...zeros.with(1, after)];
  const padded = size === 1 ? square : builder.op("Pad", [square, builder.integers(pads)]);
  const axis = builder.integers([1]);
  const windows = range(0, size).map((start) =>
    size === 1 ? padded : builder.op("Slice", [padded, builder.integers([start]), builder.integers([start + shape[1]]), axis]),
  );
  const sum = windows.reduce((left, right) => builder.op("Add", [left, right]));
  const scaled = builder.op("Mul", [sum, builder.scalar(floatAttribute(use.attributes, "alpha", 1e-4) / size)]);
  const base = builder.op("Add", [scaled, builder.scalar(floatAttribute(use.attributes, "bias", 1))]);
  const power = builder.op("Pow", [base, builder.scalar(-floatAttribute(use.attributes, "beta", 0.75))]);
  return builder.op("Mul", [x, power]);
};

/** Elements in their order, in the output's shape. */
const reshape: Rule = (builder, [x]) => builder.op("Reshape", [x, builder.integers(builder.shape(builder.node.outputs[0]))]);

/** The sum of the taps of each axis in turn: y = sum Gather(x, indices) weights; outside the input a constant. */
const resize: Rule = (builder, [x], use) => {
  if (isMovement(use)) return undefined;
  // How samples become integers is ONNX Runtime's own.
  if (!isFloat(builder.dtypeOf(x))) return reason("dtype", "input 0", builder.dtypeOf(x), "float types, or mode nearest");
  const fault = refuseSampling(use);
  if (fault) return fault;
  const rank = staticShape(use, 0).length;
  return staticShape(use, 0).reduce((value, _, axis) => {
    const sampling = axisSampling(use, axis);
    return sampling === undefined ? value : sampled(builder, value, axis, rank, sampling, use);
  }, x);
};

function sampled(builder: Builder, value: string, axis: number, rank: number, { taps, outside }: Sampling, use: OperatorUse): string {
  const along = (count: number): number[] => new Array<number>(rank).fill(1).with(axis, count);
  const terms = taps.map(({ indices, weights }) => {
    const gathered = builder.op("Gather", [value, builder.integers(indices)], { axis: intValue(axis) });
    return weights.every((weight) => weight === 1)
      ? gathered
      : builder.op("Mul", [gathered, builder.values(along(weights.length), weights)]);
  });
  const sum = terms.reduce((left, right) => builder.op("Add", [left, right]));
  if (outside === undefined) return sum;
  const mask = builder.constant(fromNumbers("bool", along(outside.length), outside.map(Number)));
  return builder.op("Where", [mask, builder.scalar(floatAttribute(use.attributes, "extrapolation_value", 0)), sum]);
}

/** No axis to reduce: the input itself, where the operator changes no single value. */
const unreduced: Rule = (builder, [x], use) => (reducedAxes(use)?.length === 0 ? builder.op("Identity", [x]) : undefined);

/** max + log(sum(exp(x - max))). Of what an infinite maximum leaves, infinities would cancel: a finite one takes its place. */
const logSumExp: Rule = (builder, [x], use) => {
  const axes = reducedAxes(use) ?? [];
  if (axes.length === 0) return reason("attribute", "noop_with_empty_axes", 1, "axes that are given");
  const list = builder.integers(axes);
  const largest = builder.op("ReduceMax", [x, list], keep);
  const bound = largestFinite[builder.dtype === "float16" || builder.dtype === "bfloat16" ? builder.dtype : "float32"];
  const finite = builder.op("Clip", [largest, builder.scalar(-bound), builder.scalar(bound)]);
  const powers = builder.op("Exp", [builder.op("Sub", [x, finite])]);
  const sum = builder.op("Log", [builder.op("ReduceSum", [powers, list], keep)]);
  return reshape(builder, [builder.op("Add", [sum, finite])], use);
};

/** One side of the diagonal `k` of each matrix, zeros elsewhere: a choice by a constant mask. */
const triangle: Rule = (builder, [x], use) => {
  const [rows, columns] = staticShape(use, 0).slice(-2);
  const k = use.constants[1] ? toNumbers(use.constants[1])[0] : 0;
  const upper = intAttribute(use.attributes, "upper", 1) !== 0;
  const kept = range(0, rows * columns).map((place) => {
    const diagonal = (place % columns) - Math.floor(place / columns);
    return Number(upper ? diagonal >= k : diagonal <= k);
  });
  return builder.op("Where", [builder.constant(fromNumbers("bool", [rows, columns], kept)), x, builder.scalar(0)]);
};

const rules: Readonly<Record<string, Rule>> = {
  CastLike: (builder, [x, like]) => builder.cast(x, builder.dtypeOf(like)),
  Einsum: einsum,
  Flatten: reshape,
  Gemm: gemm,
  GlobalAveragePool: globalReduction("ReduceMean"),
  GlobalMaxPool: globalReduction("ReduceMax"),
  LRN: localResponse,
  MatMul: vectorMatmul,
  Max: chain("Max"),
  Mean: meanChain,
  Min: chain("Min"),
  ReduceLogSumExp: logSumExp,
  ReduceMax: unreduced,
  ReduceMean: unreduced,
  ReduceMin: unreduced,
  ReduceProd: unreduced,
  ReduceSum: unreduced,
  Resize: resize,
  Squeeze: reshape,
  Sum: chain("Add"),
  Trilu: triangle,
  Unsqueeze: reshape,
  ...attentionRules,
  ...indexRules,
  ...newestRules,
  ...normalisationRules,
  ...quantizedRules,
  ...recurrentRules,
  ...spatialRules,
};

export function hasDecomposition(op: string): boolean {
  return rules[op] !== undefined;
}

/** How an operator is written as smaller ones; undefined if it is not. */
export function ruleOf(op: string): Rule | undefined {
  return rules[op];
}

/** Operators that are decomposed whatever computes them: they only change the shape, or no runtime has them. */
const always = new Set(["CastLike", "Flatten", "Squeeze", "Unsqueeze", "Max", "Min", "Sum", ...Object.keys(newestRules)]);

export function isAlwaysDecomposed(op: string): boolean {
  return always.has(op);
}
