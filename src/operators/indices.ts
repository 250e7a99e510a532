/** Operators that find or use places: arguments of extremes, selections, scatters, one-hot forms, running sums. Places are int32 inside. */
import { intAttribute, stringAttribute } from "../graph/graph.js";
import { type DType, elementCount, fromNumbers, isFloat, toNumbers } from "../graph/tensor.js";
import { type Builder, intValue, MOST_STEPS, type Rule, range, refuseExpansion } from "./builder.js";
import type { OperatorUse, Reason } from "./record.js";
import { axisAttribute, constantScalar, dtypeFromCode, normalAxis, reason, staticShape } from "./shapes.js";

/** Places as int32, counted from the front where they count from the back of an axis of `size`. */
function places(builder: Builder, value: string, size: number): string {
  const narrow = builder.cast(value, "int32");
  const wrapped = builder.op("Add", [narrow, builder.typed("int32", size)]);
  return builder.op("Where", [builder.op("Less", [narrow, builder.typed("int32", 0)]), wrapped, narrow]);
}

/** The least (or greatest) value of a type, as a scalar. */
function extreme(builder: Builder, dtype: DType, greatest: boolean): string {
  if (isFloat(dtype)) return builder.typed(dtype, greatest ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY);
  const bits = Number(/\d+$/.exec(dtype)?.[0] ?? 1);
  const [low, high] = /^int/.test(dtype) ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  return builder.typed(dtype, greatest ? high : low);
}

/** The sum over `axis` of values of which at most one is not 0. Exact: integers are summed as int32. */
function only(builder: Builder, value: string, axis: number): string {
  const dtype = builder.dtypeOf(value);
  const wide = isFloat(dtype) ? value : builder.cast(value, "int32");
  return builder.cast(builder.reduce("ReduceSum", wide, [axis]), dtype);
}

const zero = (builder: Builder, like: string): string => builder.typed(builder.dtypeOf(like), 0);

/** First (or last) place of the largest (or smallest) value along an axis, which stays with extent 1. */
function argument(builder: Builder, x: string, axis: number, op: "ReduceMax" | "ReduceMin", last = false): string {
  const shape = builder.shape(x);
  const hit = builder.op("Equal", [x, builder.reduce(op, x, [axis])]);
  const beyond = builder.typed("int32", last ? -1 : shape[axis]);
  const candidates = builder.op("Where", [hit, builder.iota(shape[axis], axis, shape.length), beyond]);
  return builder.reduce(last ? "ReduceMax" : "ReduceMin", candidates, [axis]);
}

const argumentOf =
  (op: "ReduceMax" | "ReduceMin"): Rule =>
  (builder, [x], use) => {
    const rank = staticShape(use, 0).length;
    if (rank === 0) return builder.reshape(builder.typed("int64", 0), builder.shape(builder.node.outputs[0]));
    const place = argument(builder, x, axisAttribute(use, 0, rank), op, intAttribute(use.attributes, "select_last_index", 0) !== 0);
    return builder.cast(builder.reshape(place, builder.shape(builder.node.outputs[0])), "int64");
  };

/** 1 at the first largest value along an axis, else 0. */
const hardmax: Rule = (builder, [x], use) => {
  const shape = staticShape(use, 0);
  const axis = axisAttribute(use, -1, shape.length);
  const place = argument(builder, x, axis, "ReduceMax");
  return builder.cast(builder.op("Equal", [builder.iota(shape[axis], axis, shape.length), place]), builder.dtype);
};

/** One largest value after the other; the lower place first among equal ones. */
const topK: Rule = (builder, [x], use) => {
  const shape = staticShape(use, 0);
  const axis = axisAttribute(use, -1, shape.length);
  const count = use.constants[1] ? toNumbers(use.constants[1])[0] : 0;
  if (count < 1 || count > MOST_STEPS) return reason("size", "k", count, `1 to ${MOST_STEPS}`);
  const fault = refuseExpansion("k", count * elementCount(shape));
  if (fault) return fault;
  const largest = intAttribute(use.attributes, "largest", 1) !== 0;
  const iota = builder.iota(shape[axis], axis, shape.length);
  const beyond = builder.typed("int32", shape[axis]);
  const worst = extreme(builder, builder.dtype, !largest);
  let values = x;
  let free = iota;
  const rounds = range(0, count).map(() => {
    const best = builder.reduce(largest ? "ReduceMax" : "ReduceMin", values, [axis]);
    const candidates = builder.op("Where", [builder.op("Equal", [values, best]), free, beyond]);
    const place = builder.reduce("ReduceMin", candidates, [axis]);
    const taken = builder.op("Equal", [iota, place]);
    values = builder.op("Where", [taken, worst, values]);
    free = builder.op("Where", [taken, beyond, free]);
    return { best, place };
  });
  const all = (name: "best" | "place"): string =>
    builder.concat(
      rounds.map((round) => round[name]),
      axis,
    );
  return [all("best"), builder.cast(all("place"), "int64")];
};

/** `on` where the place along a new axis is the index, else `off`; all `off` for an index outside. */
const oneHot: Rule = (builder, [indices, , values], use) => {
  const shape = staticShape(use, 0);
  const depth = constantScalar(use, 1);
  if (depth === undefined) return reason("not-constant", "depth", "computed at run time", "a constant");
  const axis = axisAttribute(use, -1, shape.length + 1);
  const hit = builder.op("Equal", [builder.iota(depth, axis, shape.length + 1), builder.unsqueeze(places(builder, indices, depth), axis)]);
  const [off, on] = [0, 1].map((index) => builder.reshape(builder.slice(values, 0, index, index + 1), []));
  return builder.op("Where", [hit, on, off]);
};

const eyeLike: Rule = (builder, _, use) => {
  const [rows, columns] = staticShape(use, 0);
  const code = intAttribute(use.attributes, "dtype", 0);
  const k = intAttribute(use.attributes, "k", 0);
  const values = range(0, rows * columns).map((place) => Number((place % columns) - Math.floor(place / columns) === k));
  return builder.constant(fromNumbers(code ? dtypeFromCode(use, "dtype", code) : builder.dtype, [rows, columns], values));
};

/** Running sums (products) in a logarithmic number of steps: each adds the value 1, 2, 4, ... places before. */
const running =
  (op: "Add" | "Mul", neutral: number): Rule =>
  (builder, [x], use) => {
    const shape = staticShape(use, 0);
    const axis = normalAxis(use, "axis", constantScalar(use, 1) ?? 0, shape.length);
    const reverse = intAttribute(use.attributes, "reverse", 0) !== 0;
    const shifted = (value: string, by: number): string => {
      const [begin, end] = [reverse ? -by : by, reverse ? by : -by].map((pad) => shape.map((_, index) => (index === axis ? pad : 0)));
      return builder.op("Pad", [value, builder.integers([...begin, ...end]), builder.scalar(neutral)]);
    };
    let sum = intAttribute(use.attributes, "exclusive", 0) !== 0 ? shifted(x, 1) : x;
    for (let step = 1; step < shape[axis]; step *= 2) sum = builder.op(op, [sum, shifted(sum, step)]);
    return sum;
  };

// Selections: the elements at a place are the sum over all places of those where a mask holds.

/** data [batch, size, inner] at places [batch, count] (of any batch extent 1): [batch, count, inner]. */
function select(builder: Builder, data: string, index: string): string | Reason {
  const [batch, size, inner] = builder.shape(data);
  const [indexBatch, count] = builder.shape(index);
  const fault = refuseExpansion("selection", Math.max(batch, indexBatch) * count * size * inner);
  if (fault) return fault;
  const hit = builder.op("Equal", [builder.iota(size, 2, 4), builder.reshape(index, [indexBatch, count, 1, 1])]);
  const found = only(builder, builder.op("Where", [hit, builder.unsqueeze(data, 1), zero(builder, data)]), 2);
  return builder.reshape(found, [Math.max(batch, indexBatch), count, inner]);
}

/** The rows of `table` (its first axis) at the places in `indices`. */
export function selectRows(builder: Builder, table: string, indices: string): string | Reason {
  const [size, ...rest] = builder.shape(table);
  const shape = builder.shape(indices);
  const index = builder.reshape(places(builder, indices, size), [1, elementCount(shape)]);
  const found = select(builder, builder.reshape(table, [1, size, elementCount(rest)]), index);
  return typeof found === "string" ? builder.reshape(found, [...shape, ...rest]) : found;
}

/** Places that are computed, in data that is too. By constant places it is movement, and a table is the host's to look up. */
const gather: Rule = (builder, [data, indices], use) => {
  if (use.constants[0] || use.constants[1]) return undefined;
  const shape = staticShape(use, 0);
  const axis = axisAttribute(use, 0, shape.length);
  const [outer, inner] = [elementCount(shape.slice(0, axis)), elementCount(shape.slice(axis + 1))];
  const index = builder.reshape(places(builder, indices, shape[axis]), [1, elementCount(staticShape(use, 1))]);
  const found = select(builder, builder.reshape(data, [outer, shape[axis], inner]), index);
  return typeof found === "string" ? builder.reshape(found, builder.shape(builder.node.outputs[0])) : found;
};

const gatherElements: Rule = (builder, [data, indices], use) => {
  const [shape, wanted] = [staticShape(use, 0), staticShape(use, 1)];
  const axis = axisAttribute(use, 0, shape.length);
  const fault = refuseExpansion("selection", elementCount(wanted) * shape[axis]);
  if (fault) return fault;
  const near = shape.reduce((value, _, other) => (other === axis ? value : builder.slice(value, other, 0, wanted[other])), data);
  const hit = builder.op("Equal", [
    builder.iota(shape[axis], axis + 1, shape.length + 1),
    builder.unsqueeze(places(builder, indices, shape[axis]), axis + 1),
  ]);
  const found = only(builder, builder.op("Where", [hit, builder.unsqueeze(near, axis), zero(builder, data)]), axis + 1);
  return builder.reshape(found, wanted);
};

/** Tuples of places in the axes `extents`, as places in the axes taken together: [..., depth] to [...]. */
function joined(builder: Builder, indices: string, extents: readonly number[]): string {
  const shape = builder.shape(indices);
  const rest = shape.slice(0, -1);
  const parts = extents.map((size, axis) => {
    const part = places(builder, builder.reshape(builder.slice(indices, rest.length, axis, axis + 1), rest), size);
    const stride = elementCount(extents.slice(axis + 1));
    return stride === 1 ? part : builder.op("Mul", [part, builder.typed("int32", stride)]);
  });
  return parts.reduce((sum, part) => builder.op("Add", [sum, part]));
}

const gatherND: Rule = (builder, [data, indices], use) => {
  const [shape, tuples] = [staticShape(use, 0), staticShape(use, 1)];
  const batches = intAttribute(use.attributes, "batch_dims", 0);
  const depth = tuples[tuples.length - 1];
  const batch = elementCount(shape.slice(0, batches));
  const extents = shape.slice(batches, batches + depth);
  const index = builder.reshape(joined(builder, builder.cast(indices, "int32"), extents), [batch, -1]);
  const found = select(builder, builder.reshape(data, [batch, elementCount(extents), -1]), index);
  return typeof found === "string" ? builder.reshape(found, builder.shape(builder.node.outputs[0])) : found;
};

/** What several updates of one place become, and how they meet the value that is there; `none`: at most one, which replaces it. */
const reductions: Readonly<
  Record<string, { readonly join: string; readonly neutral: (b: Builder, t: DType) => string; readonly meet?: string }>
> = {
  none: { join: "ReduceSum", neutral: (builder, dtype) => builder.typed(dtype, 0) },
  add: { join: "ReduceSum", neutral: (builder, dtype) => builder.typed(dtype, 0), meet: "Add" },
  mul: { join: "ReduceProd", neutral: (builder, dtype) => builder.typed(dtype, 1), meet: "Mul" },
  max: { join: "ReduceMax", neutral: (builder, dtype) => extreme(builder, dtype, false), meet: "Max" },
  min: { join: "ReduceMin", neutral: (builder, dtype) => extreme(builder, dtype, true), meet: "Min" },
};

/** Updates the data where `mask` (with one more axis, of the updates, at `axis`) says that an update falls. */
function scatter(builder: Builder, use: OperatorUse, data: string, mask: string, updates: string, axis: number): string | Reason {
  const name = stringAttribute(use.attributes, "reduction", "none");
  const reduction = reductions[name];
  const shape = builder.shape(data);
  const dtype = builder.dtypeOf(data);
  if (reduction === undefined) return reason("attribute", "reduction", name, Object.keys(reductions).join(", "));
  const wide: DType = isFloat(dtype) ? dtype : "int32";
  const [own, news] = [data, updates].map((value) => builder.cast(value, wide));
  const each = builder.op("Where", [mask, news, reduction.neutral(builder, wide)]);
  const sum = builder.reshape(builder.reduce(reduction.join, each, [axis]), shape);
  if (reduction.meet) return builder.cast(builder.op(reduction.meet, [own, sum]), dtype);
  const covered = builder.reshape(builder.reduce("ReduceMax", builder.cast(mask, "int32"), [axis]), builder.shape(mask).toSpliced(axis, 1));
  return builder.cast(builder.op("Where", [builder.cast(covered, "bool"), sum, own]), dtype);
}

const scatterElements: Rule = (builder, [data, indices, updates], use) => {
  const [shape, given] = [staticShape(use, 0), staticShape(use, 1)];
  const axis = axisAttribute(use, 0, shape.length);
  const fault = refuseExpansion("updates", elementCount(shape) * given[axis]);
  if (fault) return fault;
  const pads = [...shape.map(() => 0), ...shape.map((size, other) => (other === axis ? 0 : size - given[other]))];
  const padded = (value: string, fill: number): string =>
    pads.every((pad) => pad === 0)
      ? value
      : builder.op("Pad", [value, builder.integers(pads), builder.typed(builder.dtypeOf(value), fill)]);
  // Beside the updates' box no place is hit.
  const index = builder.unsqueeze(padded(places(builder, indices, shape[axis]), -1), axis);
  const hit = builder.op("Equal", [builder.iota(shape[axis], axis, shape.length + 1), index]);
  return scatter(builder, use, data, hit, builder.unsqueeze(padded(updates, 0), axis), axis + 1);
};

const scatterND: Rule = (builder, [data, indices, updates], use) => {
  const [shape, tuples] = [staticShape(use, 0), staticShape(use, 1)];
  const extents = shape.slice(0, tuples[tuples.length - 1]);
  const [size, inner, count] = [extents, shape.slice(extents.length), tuples.slice(0, -1)].map(elementCount);
  const fault = refuseExpansion("updates", size * inner * count);
  if (fault) return fault;
  const index = builder.reshape(joined(builder, builder.cast(indices, "int32"), extents), [1, count, 1]);
  const hit = builder.op("Equal", [builder.iota(size, 0, 3), index]);
  const result = scatter(builder, use, builder.reshape(data, [size, inner]), hit, builder.reshape(updates, [1, count, inner]), 1);
  return typeof result === "string" ? builder.reshape(result, shape) : result;
};

/** A cache with new entries at places of its own for each item of the batch. */
const tensorScatter: Rule = (builder, [past, update, start], use) => {
  const [shape, news] = [staticShape(use, 0), staticShape(use, 1)];
  const axis = axisAttribute(use, -2, shape.length);
  const fault = refuseExpansion("updates", elementCount(shape) * news[axis]);
  if (fault) return fault;
  const rank = shape.length + 1;
  const offsets = builder.iota(news[axis], axis + 1, rank);
  const first = start && builder.reshape(builder.cast(start, "int32"), [shape[0], ...new Array<number>(rank - 1).fill(1)]);
  const plain = first ? builder.op("Add", [first, offsets]) : offsets;
  const circular = stringAttribute(use.attributes, "mode", "linear") === "circular";
  const index = circular ? builder.op("Mod", [plain, builder.typed("int32", shape[axis])]) : plain;
  const hit = builder.op("Equal", [builder.iota(shape[axis], axis, rank), index]);
  return scatter(builder, use, past, hit, builder.unsqueeze(update, axis), axis + 1);
};

// Losses.

/** -sum of weights x input at the target class, by `reduction`. */
function likelihoodLoss(builder: Builder, input: string, target: string, weight: string | undefined, use: OperatorUse): string {
  const shape = builder.shape(input);
  const hit = builder.op("Equal", [builder.iota(shape[1], 1, shape.length), builder.unsqueeze(builder.cast(target, "int32"), 1)]);
  const nothing = zero(builder, input);
  const picked = (values: string): string =>
    builder.reshape(only(builder, builder.op("Where", [hit, values, nothing]), 1), builder.shape(target));
  const ones = (): string => builder.expand(builder.scalar(1), builder.shape(target));
  let weights = weight ? picked(builder.reshape(weight, [shape[1], ...shape.slice(2).map(() => 1)])) : ones();
  const ignored = use.attributes.ignore_index;
  if (ignored?.type === "int") {
    const skip = builder.op("Equal", [builder.cast(target, "int32"), builder.typed("int32", ignored.value)]);
    weights = builder.op("Where", [skip, nothing, weights]);
  }
  const losses = builder.op("Mul", [builder.op("Neg", [picked(input)]), weights]);
  const reduction = stringAttribute(use.attributes, "reduction", "mean");
  if (reduction === "none") return losses;
  const total = (values: string): string => builder.reshape(builder.reduce("ReduceSum", values, range(0, shape.length - 1)), []);
  return reduction === "sum" ? total(losses) : builder.op("Div", [total(losses), total(weights)]);
}

const negativeLogLikelihood: Rule = (builder, [input, target, weight], use) => likelihoodLoss(builder, input, target, weight, use);

const crossEntropy: Rule = (builder, [scores, target, weight], use) => {
  const logarithms = builder.op("LogSoftmax", [scores], { axis: intValue(1) });
  return [likelihoodLoss(builder, logarithms, target, weight, use), logarithms];
};

/** Each sequence's first elements in the reverse order, by constant lengths. */
const reverseSequence: Rule = (builder, [x, lengths], use) => {
  const shape = staticShape(use, 0);
  const [batch, time] = [intAttribute(use.attributes, "batch_axis", 1), intAttribute(use.attributes, "time_axis", 0)];
  const rank = shape.length;
  const iota = builder.iota(shape[time], time, rank);
  const last = builder.reshape(
    builder.cast(lengths, "int32"),
    range(0, rank).map((axis) => (axis === batch ? shape[batch] : 1)),
  );
  const turned = builder.op("Sub", [builder.op("Sub", [last, builder.typed("int32", 1)]), iota]);
  const index = builder.op("Where", [builder.op("Less", [iota, last]), turned, iota]);
  return builder.op("GatherElements", [x, builder.expand(index, shape)], { axis: intValue(time) });
};

export const indexRules: Readonly<Record<string, Rule>> = {
  ArgMax: argumentOf("ReduceMax"),
  ArgMin: argumentOf("ReduceMin"),
  CumProd: running("Mul", 1),
  CumSum: running("Add", 0),
  EyeLike: eyeLike,
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  Hardmax: hardmax,
  NegativeLogLikelihoodLoss: negativeLogLikelihood,
  OneHot: oneHot,
  ReverseSequence: reverseSequence,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  SoftmaxCrossEntropyLoss: crossEntropy,
  TensorScatter: tensorScatter,
  TopK: topK,
};
