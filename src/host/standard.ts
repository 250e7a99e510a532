/** Rewrites of what ONNX Runtime computes otherwise than the standard says, or not for all of its types. */

import { type Attributes, floatAttribute, intAttribute, intsAttribute, stringAttribute } from "../graph/graph.js";
import { type DType, elementCount, isFloat } from "../graph/tensor.js";
import { lacksKernel } from "./kernels.js";
import { maker } from "./maker.js";
import { intsValue, type Rewrite } from "./prepare.js";
import { wideClip, wideExtreme, wideReduction } from "./wide.js";

/** Signed integers are shifted as unsigned ones; negative ones to the right by way of their complement. */
const signedShift: Rewrite = (node, preparation) => {
  const dtype = preparation.type(node.inputs[0])?.dtype;
  if (node.op !== "BitShift" || dtype === undefined || !dtype.startsWith("int")) return undefined;
  const { nodes, add, to, constant } = maker(preparation, node);
  const [wide, by] = node.inputs.map((input) => add("Cast", [input], to("int64")));
  const bits = (value: string, type: DType): string => add("BitCast", [value], to(type));
  const shift = (value: string): string => bits(add("BitShift", [bits(value, "uint64"), bits(by, "uint64")], node.attributes), "int64");
  const zero = constant("int64", [], [0]);
  const isRight = stringAttribute(node.attributes, "direction", "") === "RIGHT";
  const sign = isRight ? add("Where", [add("Less", [wide, zero]), constant("int64", [], [-1]), zero]) : zero;
  const result = add("BitwiseXor", [shift(add("BitwiseXor", [wide, sign])), sign]);
  add("Cast", [result], to(dtype), node.outputs[0]);
  return nodes;
};

/** The remainder with the divisor's sign, from C's: ONNX Runtime has that one alone for floats. */
const floatModulo: Rewrite = (node, preparation) => {
  const dtype = preparation.type(node.inputs[0])?.dtype;
  if (node.op !== "Mod" || dtype === undefined || !isFloat(dtype) || intAttribute(node.attributes, "fmod", 0) !== 0) return undefined;
  const { nodes, add, to, constant } = maker(preparation, node);
  const type: DType = dtype === "float64" ? dtype : "float32";
  const [a, b] = node.inputs.map((input) => (dtype === type ? input : add("Cast", [input], to(type))));
  const zero = constant(type, [], [0]);
  const rest = add("Mod", [a, b], { fmod: { type: "int", value: 1 } });
  const negative = add("Less", [b, zero]);
  const isNothing = add("Equal", [rest, zero]);
  const opposite = add("And", [add("Xor", [add("Less", [rest, zero]), negative]), add("Not", [isNothing])]);
  const moved = add("Where", [opposite, add("Add", [rest, b]), rest]);
  const nothing = add("Where", [negative, constant(type, [], [-0]), zero]);
  const result = add("Where", [isNothing, nothing, moved], {}, dtype === type ? node.outputs[0] : undefined);
  if (dtype !== type) add("Cast", [result], to(dtype), node.outputs[0]);
  return nodes;
};

const powerTypes: readonly DType[] = ["int32", "int64", "float32", "float64"];

/** Exponents of other types than ONNX Runtime takes. */
const exponent: Rewrite = (node, preparation) => {
  const [base, own] = node.inputs.map((input) => preparation.type(input)?.dtype);
  if (node.op !== "Pow" || base === undefined || own === undefined || powerTypes.includes(own) || !powerTypes.includes(base))
    return undefined;
  const { nodes, add, to } = maker(preparation, node);
  const type: DType = isFloat(own) ? "float32" : "int64";
  const converted = add("Cast", [node.inputs[1]], to(type));
  return [...nodes, { ...node, inputs: [node.inputs[0], converted] }];
};

/** Channels first by their own place, then by the place in the block. */
const channelsFirst: Rewrite = (node, preparation) => {
  const shape = preparation.shape(node.inputs[0]);
  if (node.op !== "SpaceToDepth" || stringAttribute(node.attributes, "mode", "DCR") !== "CRD" || shape === undefined) return undefined;
  const block = intAttribute(node.attributes, "blocksize", 1);
  const [batch, channels, height, width] = shape;
  const { nodes, add, integers } = maker(preparation, node);
  const apart = add("Reshape", [node.inputs[0], integers([batch, channels, height / block, block, width / block, block])]);
  const turned = add("Transpose", [apart], { perm: { type: "ints", value: [0, 1, 3, 5, 2, 4] } });
  add("Reshape", [turned, integers([batch, channels * block * block, height / block, width / block])], {}, node.outputs[0]);
  return nodes;
};

/** Places count in the extents that the window gives; a larger output is padded to. */
const unpooledShape: Rewrite = (node, preparation) => {
  const shape = preparation.shape(node.inputs[0]);
  if (node.op !== "MaxUnpool" || !node.inputs[2] || shape === undefined) return undefined;
  const kernel = intsAttribute(node.attributes, "kernel_shape") ?? [];
  const strides = intsAttribute(node.attributes, "strides") ?? kernel.map(() => 1);
  const pads = intsAttribute(node.attributes, "pads") ?? kernel.flatMap(() => [0, 0]);
  const own = [
    ...shape.slice(0, 2),
    ...kernel.map((size, axis) => (shape[axis + 2] - 1) * strides[axis] - pads[axis] - pads[kernel.length + axis] + size),
  ];
  const { nodes, add, integers } = maker(preparation, node);
  const plain = preparation.fresh(`${node.outputs[0]}_plain`);
  nodes.push({ ...node, inputs: node.inputs.slice(0, 2), outputs: [plain] });
  const missing = add("Sub", [node.inputs[2], integers(own)]);
  const amounts = add("Concat", [integers(own.map(() => 0)), missing], { axis: { type: "int", value: 0 } });
  add("Pad", [plain, amounts], {}, node.outputs[0]);
  return nodes;
};

/**
 * With align_corners the last places meet where scale x input ends, be that no whole number; ONNX Runtime rounds it down first. It is the
 * region of the input that a crop to the rounded extent shows.
 */
const alignedCorners: Rewrite = (node, preparation) => {
  const shape = preparation.shape(node.inputs[0]);
  const isAligned = stringAttribute(node.attributes, "coordinate_transformation_mode", "") === "align_corners";
  if (node.op !== "Resize" || !isAligned || !node.inputs[2] || shape === undefined || elementCount(shape) === 0) return undefined;
  if (preparation.shape(node.inputs[2])?.[0] === 0) return undefined;
  const axes =
    intsAttribute(node.attributes, "axes")?.map((axis) => (axis < 0 ? axis + shape.length : axis)) ?? shape.map((_, axis) => axis);
  const { nodes, add, constant } = maker(preparation, node);
  const list = (value: number): string =>
    constant(
      "float32",
      [axes.length],
      axes.map(() => value),
    );
  const one = list(1);
  const extents = constant(
    "float32",
    [axes.length],
    axes.map((axis) => shape[axis]),
  );
  const length = add("Mul", [node.inputs[2], extents]);
  const reach = add("Sub", [length, one]);
  const safe = add("Where", [add("Equal", [reach, list(0)]), one, reach]);
  const end = add("Div", [add("Sub", [add("Floor", [length]), one]), safe]);
  const region = add("Concat", [list(0), end], { axis: { type: "int", value: 0 } });
  const attributes: Attributes = {
    ...node.attributes,
    coordinate_transformation_mode: { type: "string", value: "tf_crop_and_resize" },
    extrapolation_value: { type: "float", value: floatAttribute(node.attributes, "extrapolation_value", 0) },
  };
  return [...nodes, { ...node, inputs: [node.inputs[0], region, node.inputs[2]], attributes }];
};

/** Of truth values, nothing included, whose maximum is false and whose minimum is true: by way of int32, whose limits those then are. */
const boolExtreme: Rewrite = (node, preparation) => {
  if (!["ReduceMax", "ReduceMin"].includes(node.op) || preparation.type(node.inputs[0])?.dtype !== "bool") return undefined;
  const { nodes, add, to, constant } = maker(preparation, node);
  const extreme = add(node.op, [add("Cast", [node.inputs[0]], to("int32")), ...node.inputs.slice(1)], node.attributes);
  add("Greater", [extreme, constant("int32", [], [0])], {}, node.outputs[0]);
  return nodes;
};

/** x sigmoid(alpha x) in FP32: ONNX Runtime knows it without alpha alone, which the writer spells out. */
const scaledSwish: Rewrite = (node, preparation) => {
  const alpha = floatAttribute(node.attributes, "alpha", 1);
  const dtype = preparation.type(node.inputs[0])?.dtype;
  if (node.op !== "Swish" || alpha === 1 || dtype === undefined) return undefined;
  const { nodes, add, to, constant } = maker(preparation, node);
  const x = dtype === "float32" ? node.inputs[0] : add("Cast", [node.inputs[0]], to("float32"));
  const gate = add("Sigmoid", [add("Mul", [x, constant("float32", [], [alpha])])]);
  if (dtype === "float32") add("Mul", [x, gate], {}, node.outputs[0]);
  else add("Cast", [add("Mul", [x, gate])], to(dtype), node.outputs[0]);
  return nodes;
};

/** Only the shape of the input matters, and ones are ones in every type. */
const anyEye: Rewrite = (node, preparation) => {
  const [from, to] = [node.inputs[0], node.outputs[0]].map((value) => preparation.type(value)?.dtype);
  if (node.op !== "EyeLike" || to === undefined || (from === "float32" && to === "float32")) return undefined;
  const { nodes, add, to: as } = maker(preparation, node);
  const { dtype: _, ...attributes } = node.attributes;
  const eye = add("EyeLike", [add("Cast", [node.inputs[0]], as("float32"))], attributes);
  add("Cast", [eye], as(to), node.outputs[0]);
  return nodes;
};

/** The standard leaves the locale to the runtime, whose choice few containers have installed. */
const anyLocale: Rewrite = (node) =>
  node.op === "StringNormalizer" && node.attributes.locale === undefined
    ? [{ ...node, attributes: { ...node.attributes, locale: { type: "string", value: "C.UTF-8" } } }]
    : undefined;

/** Blocks of any element type: a Reshape, a Transpose and a Reshape. */
const blocks: Rewrite = (node, preparation) => {
  const [input, output] = [node.inputs[0], node.outputs[0]];
  const [shape, target] = [input, output].map((value) => preparation.shape(value));
  const dtype = preparation.type(input)?.dtype;
  if (!shape || !target || !dtype || !["DepthToSpace", "SpaceToDepth"].includes(node.op) || !lacksKernel(node.op, dtype)) return undefined;
  const { nodes, add, integers } = maker(preparation, node);
  const size = intAttribute(node.attributes, "blocksize", 1);
  const [batch, channels, height, width] = shape;
  const isColumnRowDepth = stringAttribute(node.attributes, "mode", "DCR") === "CRD";
  const depth = channels / size ** 2;
  const [split, perm] =
    node.op === "SpaceToDepth"
      ? [[batch, channels, height / size, size, width / size, size], isColumnRowDepth ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4]]
      : isColumnRowDepth
        ? [
            [batch, depth, size, size, height, width],
            [0, 1, 4, 2, 5, 3],
          ]
        : [
            [batch, size, size, depth, height, width],
            [0, 3, 4, 1, 5, 2],
          ];
  const turned = add("Transpose", [add("Reshape", [input, integers(split)])], { perm: intsValue(perm) });
  add("Reshape", [turned, integers(target)], {}, output);
  return nodes;
};

/** Borders that repeat the input, which may be longer than it: ONNX Runtime leaves what lies further than one extent empty. */
const wrappedBorders: Rewrite = (node, preparation) => {
  const shape = preparation.shape(node.inputs[0]);
  if (node.op !== "Pad" || stringAttribute(node.attributes, "mode", "") !== "wrap" || shape === undefined || node.inputs[3])
    return undefined;
  const { nodes, add, constant } = maker(preparation, node);
  const [zero, one] = [0, 1].map((value) => constant("int64", [], [value]));
  shape.reduce((value, size, axis) => {
    const [begin, end] = [axis, shape.length + axis].map((at) => add("Gather", [node.inputs[1], constant("int64", [], [at])]));
    const extent = constant("int64", [], [size]);
    const [cut, cutAtEnd] = [begin, end].map((amount) => add("Min", [amount, zero]));
    const kept = add("Add", [extent, add("Add", [cut, cutAtEnd])]);
    const places = add("Range", [zero, add("Add", [extent, add("Add", [begin, end])]), one]);
    const shown = add("Mod", [add("Sub", [places, add("Max", [begin, zero])]), kept]);
    const indices = add("Sub", [shown, cut]);
    return add("Gather", [value, indices], { axis: { type: "int", value: axis } }, axis === shape.length - 1 ? node.outputs[0] : undefined);
  }, node.inputs[0]);
  return shape.length === 0 ? undefined : nodes;
};

export const standardForms: readonly Rewrite[] = [
  blocks,
  wideExtreme,
  wideClip,
  wideReduction,
  anyLocale,
  scaledSwish,
  anyEye,
  boolExtreme,
  signedShift,
  floatModulo,
  exponent,
  channelsFirst,
  unpooledShape,
  alignedCorners,
  wrappedBorders,
];
