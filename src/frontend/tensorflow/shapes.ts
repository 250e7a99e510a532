/** Reductions, and operators that move elements or tell shapes. */
import { type Conversion, int, ints, type Rule, type Rules } from "./rule.js";

const reduction =
  (op: string): Rule =>
  (node) => [
    node.emit(op, [node.inputs[0], node.int64(1, true)], { keepdims: int(node.bool("keep_dims") ? 1 : 0), noop_with_empty_axes: int(1) }),
  ];

/** ONNX tells shapes and indices in int64; TensorFlow in the type that an attribute names, int32 unless given. */
function indices(node: Conversion, value: string, attribute: string): string {
  const dtype = node.source.attributes.has(attribute) ? node.dtype(attribute) : "int32";
  return dtype === "int64" ? value : node.cast(value, dtype);
}

const argument =
  (op: string): Rule =>
  (node) => {
    const [axis] = node.numbers(1);
    const found = node.emit(op, [node.inputs[0]], { axis: int(axis), keepdims: int(0) });
    const dtype = node.source.attributes.has("output_type") ? node.dtype("output_type") : "int64";
    return [dtype === "int64" ? found : node.cast(found, dtype)];
  };

/** TensorFlow gives [axis, 2] pairs, ONNX all starts and then all ends. */
const pad =
  (mode: string): Rule =>
  (node) => {
    const pairs = node.emit("Transpose", [node.int64(1)], { perm: ints([1, 0]) });
    const pads = node.emit("Reshape", [pairs, node.integers([-1])]);
    return [node.emit("Pad", [node.inputs[0], pads, ...node.inputs.slice(2)], { mode: { type: "string", value: mode } })];
  };

const mirrorPad: Rule = (node) => {
  if (node.text("mode", "REFLECT") !== "REFLECT") throw node.refusal("only its mode REFLECT is supported");
  return pad("reflect")(node);
};

const pack: Rule = (node) => {
  const axis = node.int("axis");
  const parts = node.inputs.map((value) => node.emit("Unsqueeze", [value, node.integers([axis])]));
  return [node.emit("Concat", parts, { axis: int(axis) })];
};

const unpack: Rule = (node) => {
  const [axis, count] = [node.int("axis"), node.int("num")];
  const parts = node.emitAll("Split", [node.inputs[0]], { axis: int(axis), num_outputs: int(count) }, count);
  return parts.map((part) => node.emit("Squeeze", [part, node.integers([axis])]));
};

const squeeze: Rule = (node) => {
  const axes = node.list("squeeze_dims");
  return [node.emit("Squeeze", axes.length === 0 ? node.inputs : [node.inputs[0], node.integers(axes)])];
};

const split: Rule = (node) => {
  const [[axis], count] = [node.numbers(0), node.int("num_split", 1)];
  return node.emitAll("Split", [node.inputs[1]], { axis: int(axis), num_outputs: int(count) }, count);
};

const gather: Rule = (node) => {
  if (node.int("batch_dims") !== 0) throw node.refusal("only batch_dims 0 is supported");
  const [axis] = node.inputs.length > 2 ? node.numbers(2) : [0];
  return [node.emit("Gather", node.inputs.slice(0, 2), { axis: int(axis) })];
};

/** Beyond every extent: a slice's bound that cuts nothing. */
const unbounded = 2 ** 31 - 1;

const slice: Rule = (node) => {
  const begins = node.numbers(1);
  const ends = node.numbers(2).map((size, axis) => (size < 0 ? unbounded : begins[axis] + size));
  return [node.emit("Slice", [node.inputs[0], node.integers(begins), node.integers(ends)])];
};

/** A bit of a mask tells of one axis. A shrunk axis is the one element at its begin; the other masks don't touch it. */
const stridedSlice: Rule = (node) => {
  for (const mask of ["ellipsis_mask", "new_axis_mask"]) if (node.int(mask) !== 0) throw node.refusal(`${mask} is not supported`);
  const has = (mask: string, axis: number) => ((node.int(mask) >> axis) & 1) === 1;
  const [begins, ends, strides] = [node.numbers(1), node.numbers(2), node.numbers(3)];
  const shrunk = begins.flatMap((_, axis) => (has("shrink_axis_mask", axis) ? [axis] : []));
  for (const [axis, stride] of strides.entries()) {
    if (shrunk.includes(axis)) ends[axis] = begins[axis] === -1 ? unbounded : begins[axis] + 1;
    else {
      if (has("begin_mask", axis)) begins[axis] = stride > 0 ? 0 : unbounded;
      if (has("end_mask", axis)) ends[axis] = stride > 0 ? unbounded : -unbounded;
    }
  }
  const bounds = [begins, ends, begins.map((_, axis) => axis), strides].map((list) => node.integers(list));
  const sliced = node.emit("Slice", [node.inputs[0], ...bounds]);
  return [shrunk.length === 0 ? sliced : node.emit("Squeeze", [sliced, node.integers(shrunk)])];
};

/** All and Any: the least and the greatest of 0 and 1. */
const logicalReduction =
  (op: string): Rule =>
  (node) => {
    const attributes = { keepdims: int(node.bool("keep_dims") ? 1 : 0), noop_with_empty_axes: int(1) };
    return [node.cast(node.emit(op, [node.cast(node.inputs[0], "int32"), node.int64(1, true)], attributes), "bool")];
  };

const reverse: Rule = (node) => {
  const axes = node.numbers(1);
  const bounds = [axes.map(() => unbounded), axes.map(() => -unbounded), axes, axes.map(() => -1)];
  return [node.emit("Slice", [node.inputs[0], ...bounds.map((list) => node.integers(list))])];
};

const filledLike =
  (value: number): Rule =>
  (node) => [node.emit("Expand", [node.scalar(value), node.emit("Shape", [node.inputs[0]])])];

export const shapeRules: Rules = {
  All: logicalReduction("ReduceMin"),
  Any: logicalReduction("ReduceMax"),
  ArgMax: argument("ArgMax"),
  ArgMin: argument("ArgMin"),
  BroadcastTo: (node) => [node.emit("Expand", [node.inputs[0], node.int64(1)])],
  Concat: (node) => [node.emit("Concat", node.inputs.slice(1), { axis: int(node.numbers(0)[0]) })],
  ConcatV2: (node) => [node.emit("Concat", node.inputs.slice(0, -1), { axis: int(node.numbers(node.inputs.length - 1)[0]) })],
  ExpandDims: (node) => [node.emit("Unsqueeze", [node.inputs[0], node.int64(1, true)])],
  Fill: (node) => [node.emit("Expand", [node.inputs[1], node.int64(0)])],
  Gather: gather,
  GatherV2: gather,
  Max: reduction("ReduceMax"),
  Mean: reduction("ReduceMean"),
  Min: reduction("ReduceMin"),
  MirrorPad: mirrorPad,
  OnesLike: filledLike(1),
  Pack: pack,
  Pad: pad("constant"),
  PadV2: pad("constant"),
  Prod: reduction("ReduceProd"),
  Reshape: (node) => [node.emit("Reshape", [node.inputs[0], node.int64(1)], { allowzero: int(1) })],
  Rank: (node) => [node.cast(node.emit("Size", [node.emit("Shape", [node.inputs[0]])]), "int32")],
  ReverseV2: reverse,
  Shape: (node) => [indices(node, node.emit("Shape", [node.inputs[0]]), "out_type")],
  Size: (node) => [indices(node, node.emit("Size", [node.inputs[0]]), "out_type")],
  Slice: slice,
  Split: split,
  SplitV: (node) => node.emitAll("Split", [node.inputs[0], node.int64(1)], { axis: int(node.numbers(2)[0]) }, node.int("num_split", 1)),
  Squeeze: squeeze,
  StridedSlice: stridedSlice,
  Sum: reduction("ReduceSum"),
  Tile: (node) => [node.emit("Tile", [node.inputs[0], node.int64(1)])],
  Transpose: (node) => [node.emit("Transpose", [node.inputs[0]], { perm: ints(node.numbers(1)) })],
  Unpack: unpack,
  ZerosLike: filledLike(0),
};
