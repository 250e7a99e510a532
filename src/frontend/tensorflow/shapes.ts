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

export const shapeRules: Rules = {
  ArgMax: argument("ArgMax"),
  ArgMin: argument("ArgMin"),
  BroadcastTo: (node) => [node.emit("Expand", [node.inputs[0], node.int64(1)])],
  ConcatV2: (node) => [node.emit("Concat", node.inputs.slice(0, -1), { axis: int(node.numbers(node.inputs.length - 1)[0]) })],
  ExpandDims: (node) => [node.emit("Unsqueeze", [node.inputs[0], node.int64(1, true)])],
  Fill: (node) => [node.emit("Expand", [node.inputs[1], node.int64(0)])],
  Gather: gather,
  GatherV2: gather,
  Max: reduction("ReduceMax"),
  Mean: reduction("ReduceMean"),
  Min: reduction("ReduceMin"),
  MirrorPad: mirrorPad,
  Pack: pack,
  Pad: pad("constant"),
  PadV2: pad("constant"),
  Prod: reduction("ReduceProd"),
  Reshape: (node) => [node.emit("Reshape", [node.inputs[0], node.int64(1)], { allowzero: int(1) })],
  Shape: (node) => [indices(node, node.emit("Shape", [node.inputs[0]]), "out_type")],
  Size: (node) => [indices(node, node.emit("Size", [node.inputs[0]]), "out_type")],
  Split: split,
  SplitV: (node) => node.emitAll("Split", [node.inputs[0], node.int64(1)], { axis: int(node.numbers(2)[0]) }, node.int("num_split", 1)),
  Squeeze: squeeze,
  Sum: reduction("ReduceSum"),
  Tile: (node) => [node.emit("Tile", [node.inputs[0], node.int64(1)])],
  Transpose: (node) => [node.emit("Transpose", [node.inputs[0]], { perm: ints(node.numbers(1)) })],
  Unpack: unpack,
};
