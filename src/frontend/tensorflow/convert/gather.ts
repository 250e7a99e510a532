/** Operators that take or put elements by indices. */
import type { Attributes } from "../../../graph/graph.js";
import { type DType, fromNumbers, toNumbers } from "../../../graph/tensor.js";
import { type Conversion, int, type Rule, type Rules, range, text } from "./rule.js";

/** One of params' axis for each index. Axes before `batch_dims` are those of the indices too. */
const gather: Rule = (node) => {
  const [params, indices] = node.inputs;
  const axis = node.inputs.length > 2 ? node.number(2) : 0;
  const given = node.int("batch_dims");
  if (given === 0) return [node.emit("Gather", [params, indices], { axis: int(axis) })];
  const rank = node.rank(params);
  const indexRank = node.rank(indices);
  const batch = given < 0 ? given + indexRank : given;
  const at = axis < 0 ? axis + rank : axis;
  // The gathered axis goes before those between the batch and it; the indices' own axes then stand in its place.
  const between = range(batch, at);
  const first = node.transpose(params, [...range(0, batch), at, ...between, ...range(at + 1, rank)]);
  const points = node.unsqueeze(node.cast(indices, "int64"), [indexRank]);
  const taken = node.emit("GatherND", [first, points], { batch_dims: int(batch) });
  const inner = range(batch, indexRank);
  const moved = between.map((_, index) => indexRank + index);
  const after = range(indexRank + between.length, indexRank + rank - batch - 1);
  return [node.transpose(taken, [...range(0, batch), ...moved, ...inner, ...after])];
};

/** A sum of all updates in a tensor of zeros. */
const scatter: Rule = (node) => {
  const [, updates] = node.inputs;
  const background = node.emit("Expand", [node.scalar(0, node.dtypeOf(updates)), node.int64(2)]);
  return [node.emit("ScatterND", [background, node.int64(0), updates], { reduction: text("add") })];
};

/** Values at given places of a tensor of defaults; a scalar value goes to all of them. */
const sparseToDense: Rule = (node) => {
  const [indices, , values, fallback] = node.inputs;
  const background = node.emit("Expand", [fallback, node.int64(1)]);
  const rank = node.rank(indices);
  const places = rank === 2 ? node.int64(0) : node.reshape(node.int64(0), [-1, 1]);
  const count = node.slice(node.emit("Shape", [places]), 0, 0, 1);
  const updates = node.rank(values) === 0 ? node.emit("Expand", [values, count]) : values;
  return [node.emit("ScatterND", [background, places, updates], { reduction: text("none") })];
};

const scatterInto =
  (reduction: string, change: (node: Conversion, updates: string) => string = (_, updates) => updates): Rule =>
  (node) => [node.emit("ScatterND", [node.inputs[0], node.int64(1), change(node, node.inputs[2])], { reduction: text(reduction) })];

/** 0, 1, ... below a limit. */
function countingUp(node: Conversion, limit: string, dtype: DType): string {
  const known = node.known(limit);
  if (known === undefined) return node.emit("Range", [node.scalar(0, dtype), node.cast(limit, dtype), node.scalar(1, dtype)]);
  const [length] = toNumbers(known);
  return node.numbersOf(dtype, [length], range(0, length));
}

/** `on` where the class is the index, `off` elsewhere: for indices outside, everywhere. */
const oneHot: Rule = (node) => {
  const [indices, , on, off] = node.inputs;
  const rank = node.rank(indices);
  const axis = node.int("axis", -1) < 0 ? rank : node.int("axis");
  const wide = node.cast(indices, node.dtypeOf(indices) === "int64" ? "int64" : "int32");
  const dtype = node.dtypeOf(wide);
  const classes = countingUp(node, node.inputs[1], dtype);
  const trailing = node.reshape(classes, [node.extent(classes, 0), ...range(axis, rank).map(() => 1)]);
  return [node.emit("Where", [node.emit("Equal", [node.unsqueeze(wide, [axis]), trailing]), on, off])];
};

/** The permutation that takes each place back. */
const invertPermutation: Rule = (node) => {
  const [permutation] = node.inputs;
  const known = node.known(permutation);
  if (known !== undefined) {
    const places = toNumbers(known);
    const inverse = places.map((_, place) => places.indexOf(place));
    return [node.constant(fromNumbers(known.dtype, known.shape, inverse))];
  }
  const dtype = node.dtypeOf(permutation);
  const steps = countingUp(node, node.squeeze(node.shapeOf([node.extent(permutation, 0)]), [0]), "int64");
  const inverse = node.emit("ScatterElements", [steps, node.cast(permutation, "int64"), steps], { axis: int(0) });
  return [node.cast(inverse, dtype)];
};

/** Places that are not zero (or false), as rows. */
const nonZero: Rule = (node) => {
  const found = node.emit("NonZero", node.inputs);
  return [node.transpose(found, [1, 0])];
};

/** Distinct elements in the order of their first places, where each one's place among them is, and how many there are of each. */
const unique: Rule = (node) => {
  const axes = node.source.op.endsWith("V2") ? node.numbers(1) : [];
  const attributes: Attributes = axes.length === 0 ? { sorted: int(0) } : { sorted: int(0), axis: int(axes[0]) };
  const [values, , inverse, counts] = node.emitAll("Unique", [node.inputs[0]], attributes, 4);
  const dtype = node.dtype("out_idx", "int32");
  return [values, node.cast(inverse, dtype), node.cast(counts, dtype)];
};

/** Number of boundaries at or below each element. */
const bucketize: Rule = (node) => {
  const boundaries = node.list("boundaries");
  const values = node.unsqueeze(node.cast(node.inputs[0], "float32"), [-1]);
  const above = node.emit("GreaterOrEqual", [values, node.numbersOf("float32", [boundaries.length], boundaries)]);
  return [node.reduce("ReduceSum", node.cast(above, "int32"), [-1], false)];
};

/** Where each value would stand in its sorted row: number of the row's elements below (or up to) it. */
const searchSorted =
  (comparison: string): Rule =>
  (node) => {
    const [rows, values] = node.inputs;
    const before = node.emit(comparison, [node.unsqueeze(rows, [-2]), node.unsqueeze(values, [-1])]);
    return [node.cast(node.reduce("ReduceSum", node.cast(before, "int32"), [-1], false), node.dtype("out_type", "int32"))];
  };

/** How often each class below `size` occurs in each row, or the sum of its weights, or whether it does. */
const denseBincount: Rule = (node) => {
  const [input, , weights] = node.inputs;
  const hasWeights = !node.dims(weights).includes(0);
  const dtype = node.dtypeOf(weights);
  const classes = countingUp(node, node.inputs[1], node.dtypeOf(input));
  const hits = node.cast(node.emit("Equal", [node.unsqueeze(input, [-1]), classes]), dtype);
  if (node.bool("binary_output")) return [node.reduce("ReduceMax", hits, [-2], false)];
  const weighted = hasWeights ? node.emit("Mul", [hits, node.unsqueeze(weights, [-1])]) : hits;
  return [node.reduce("ReduceSum", weighted, [-2], false)];
};

/** Rows of data by the partition that each is of. */
const dynamicPartition: Rule = (node) => {
  const [data, partitions] = node.inputs;
  if (node.rank(partitions) !== 1) throw node.refusal("only a list of partitions is supported");
  return range(0, node.int("num_partitions", 1)).map((index) => {
    const isOfIt = node.emit("Equal", [partitions, node.scalar(index, node.dtypeOf(partitions))]);
    return node.emit("Compress", [data, isOfIt], { axis: int(0) });
  });
};

/** Rows put at places that only the run tells: as many as the last place asks for, zeros where none is put. */
function stitched(node: Conversion, rows: readonly string[]): string {
  const places = rows.map((_, index) => node.reshape(node.cast(node.inputs[index], "int64"), [-1]));
  const all = node.concat([node.integers([-1]), ...places], 0);
  const count = node.emit("Add", [node.reduce("ReduceMax", all, [0], true), node.integers([1])]);
  const data = node.inputs[node.inputs.length / 2];
  const extents = node.shapeOf([count, ...node.extents(data).slice(node.rank(node.inputs[0]))]);
  const background = node.emit("Expand", [node.scalar(0, node.dtypeOf(data)), extents]);
  const indices = node.unsqueeze(node.concat(places, 0), [1]);
  return node.emit("ScatterND", [background, indices, node.concat(rows, 0)], { reduction: text("none") });
}

/** Rows put at given places; of several for one place the last. */
const dynamicStitch: Rule = (node) => {
  const count = node.inputs.length / 2;
  const rows = range(0, count).map((index) => {
    const data = node.inputs[count + index];
    return node.reshape(data, [-1, ...node.extents(data).slice(node.rank(node.inputs[index]))]);
  });
  if (!range(0, count).every((index) => node.known(node.inputs[index]))) return [stitched(node, rows)];
  const places = range(0, count).flatMap((index) => node.numbers(index));
  const sources = range(0, Math.max(-1, ...places) + 1).map((place) => Math.max(0, places.lastIndexOf(place)));
  return [node.emit("Gather", [node.concat(rows, 0), node.numbersOf("int32", [sources.length], sources)], { axis: int(0) })];
};

export const gatherRules: Rules = {
  Bucketize: bucketize,
  DenseBincount: denseBincount,
  DynamicPartition: dynamicPartition,
  DynamicStitch: dynamicStitch,
  Gather: gather,
  GatherNd: (node) => [node.emit("GatherND", [node.inputs[0], node.int64(1)])],
  GatherV2: gather,
  InvertPermutation: invertPermutation,
  LowerBound: searchSorted("Less"),
  OneHot: oneHot,
  ParallelDynamicStitch: dynamicStitch,
  ScatterNd: scatter,
  SparseToDense: sparseToDense,
  TensorScatterAdd: scatterInto("add"),
  TensorScatterMax: scatterInto("max"),
  TensorScatterMin: scatterInto("min"),
  TensorScatterSub: scatterInto("add", (node, updates) => node.emit("Neg", [updates])),
  TensorScatterUpdate: scatterInto("none"),
  Unique: unique,
  UniqueV2: unique,
  UniqueWithCounts: unique,
  UniqueWithCountsV2: unique,
  UpperBound: searchSorted("LessOrEqual"),
  Where: nonZero,
};
