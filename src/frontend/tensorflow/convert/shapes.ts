/** Operators that tell shapes, keep their elements' order, or make values from a shape. */
import { fromNumbers, toNumbers } from "../../../graph/tensor.js";
import { elementTypeCodes } from "../../onnx/tensor.js";
import { type Conversion, int, ints, type Rule, type Rules } from "./rule.js";

/** ONNX tells shapes and indices in int64; TensorFlow in the type that an attribute names, int32 unless given. */
const told =
  (op: string): Rule =>
  (node) =>
    node.inputs.map((input) => node.cast(node.emit(op, [input]), node.dtype("out_type", "int32")));

const concat = (node: Conversion, values: readonly string[], axis: string): string => {
  const [known] = toNumbers(node.known(axis) ?? fromNumbers("int32", [0], []));
  if (known === undefined) throw node.refusal("its axis is not a constant");
  return node.emit("Concat", values, { axis: int(known) });
};

const pack: Rule = (node) => {
  const axis = node.int("axis");
  const parts = node.inputs.map((value) => node.unsqueeze(value, [axis]));
  return [node.emit("Concat", parts, { axis: int(axis) })];
};

const unpack: Rule = (node) => {
  const [axis, count] = [node.int("axis"), node.int("num")];
  const parts = node.emitAll("Split", [node.inputs[0]], { axis: int(axis), num_outputs: int(count) }, count);
  return parts.map((part) => node.squeeze(part, [axis]));
};

const squeeze: Rule = (node) => {
  const axes = node.list("squeeze_dims");
  return [axes.length === 0 ? node.emit("Squeeze", node.inputs) : node.squeeze(node.inputs[0], axes)];
};

const split: Rule = (node) => {
  const [axis, count] = [node.number(0), node.int("num_split", 1)];
  return node.emitAll("Split", [node.inputs[1]], { axis: int(axis), num_outputs: int(count) }, count);
};

/** One size of a SplitV may be -1: the rest. */
const splitSizes: Rule = (node) => {
  const sizes = node.known(node.inputs[1]) && node.numbers(1);
  const free = sizes?.indexOf(-1) ?? -1;
  const axis = node.number(2);
  if (sizes && free >= 0) {
    const length = node.extent(node.inputs[0], axis);
    if (typeof length !== "number") throw node.refusal("the extent that its size -1 stands for is open");
    sizes[free] = length - sizes.reduce((sum, size) => sum + Math.max(0, size), 0);
  }
  const outputs = node.int("num_split", 1);
  return node.emitAll("Split", [node.inputs[0], sizes ? node.integers(sizes) : node.int64(1, true)], { axis: int(axis) }, outputs);
};

/** A value of each element's place, in the type of the input. Shapes alone matter: no element is read. */
const filledLike =
  (value: number): Rule =>
  (node) => [node.emit("Expand", [node.scalar(value, node.dtypeOf(node.inputs[0])), node.emit("Shape", [node.inputs[0]])])];

const transpose: Rule = (node) => {
  const known = node.known(node.inputs[1]);
  if (known) return [node.emit("Transpose", [node.inputs[0]], { perm: ints(toNumbers(known)) })];
  throw node.refusal("its permutation is not a constant");
};

/** `num` numbers from start to stop, both among them. */
const linearSpace: Rule = (node) => {
  const [start, stop] = node.inputs;
  const count = node.number(2);
  const dtype = node.dtype("T");
  const places = node.numbersOf(
    dtype,
    [count],
    Array.from({ length: count }, (_, index) => index / Math.max(1, count - 1)),
  );
  return [node.emit("Add", [start, node.emit("Mul", [node.emit("Sub", [stop, start]), places])])];
};

/** The shape that two shapes broadcast to. */
const broadcastShapes: Rule = (node) => {
  const lengths = node.inputs.map((input) => node.staticDims(input)[0]);
  const rank = Math.max(...lengths);
  const dtype = node.dtype("T", "int32");
  const [left, right] = node.inputs.map((input, index) => {
    const missing = rank - lengths[index];
    const ones = node.numbersOf(dtype, [missing], new Array<number>(missing).fill(1));
    return missing === 0 ? input : node.concat([ones, input], 0);
  });
  return [node.emit("Where", [node.emit("Equal", [left, node.scalar(1, dtype)]), right, left])];
};

/** Where each of several inputs of a Concat starts; of each input the shape is given. */
const concatOffsets: Rule = (node) => {
  const axis = node.number(0);
  const shapes = node.inputs.slice(1).map((_, index) => node.numbers(index + 1));
  let start = 0;
  return shapes.map((shape) => {
    const offsets = shape.map((_, at) => (at === axis ? start : 0));
    start += shape[axis];
    return node.numbersOf("int32", [shape.length], offsets);
  });
};

/** Numbers drawn anew at each run. The vendor lists RandomUniform; what it serves in exported models (dropout at rate 0) does not depend on them. */
const random =
  (op: string): Rule =>
  (node) => {
    const dtype = node.dtype("dtype");
    const shape = node.emit("ConstantOfShape", [node.int64(0)], { value: { type: "tensor", value: fromNumbers(dtype, [1], [0]) } });
    return [node.emit(op, [shape], { dtype: int(elementTypeCodes[dtype]) })];
  };

const reshape = (node: Conversion, value: string, shape: string): string => node.emit("Reshape", [value, shape], { allowzero: int(1) });

export const shapeRules: Rules = {
  BroadcastArgs: broadcastShapes,
  BroadcastTo: (node) => [node.emit("Expand", [node.inputs[0], node.int64(1)])],
  Concat: (node) => [concat(node, node.inputs.slice(1), node.inputs[0])],
  ConcatOffset: concatOffsets,
  ConcatV2: (node) => [concat(node, node.inputs.slice(0, -1), node.inputs[node.inputs.length - 1])],
  Empty: (node) => [node.emit("Expand", [node.scalar(0, node.dtype("dtype")), node.int64(0)])],
  ExpandDims: (node) => [node.emit("Unsqueeze", [node.inputs[0], node.int64(1, true)])],
  Fill: (node) => [node.emit("Expand", [node.inputs[1], node.int64(0)])],
  LinSpace: linearSpace,
  OnesLike: filledLike(1),
  Pack: pack,
  ParallelConcat: (node) => [node.concat(node.inputs, 0)],
  RandomStandardNormal: random("RandomNormalLike"),
  RandomUniform: random("RandomUniformLike"),
  Range: (node) => [node.emit("Range", node.inputs)],
  Rank: (node) => [node.cast(node.emit("Size", [node.emit("Shape", [node.inputs[0]])]), "int32")],
  Reshape: (node) => [reshape(node, node.inputs[0], node.int64(1))],
  Shape: told("Shape"),
  ShapeN: told("Shape"),
  Size: told("Size"),
  Split: split,
  SplitV: splitSizes,
  Squeeze: squeeze,
  Tile: (node) => [node.emit("Tile", [node.inputs[0], node.int64(1)])],
  Transpose: transpose,
  Unpack: unpack,
  Unstack: unpack,
  ZerosLike: filledLike(0),
};
