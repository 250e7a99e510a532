/** Upgrading of operators from older opsets: one rule for each change of an operator's form or meaning. */
import type { Attribute, Attributes, Node } from "../../graph/graph.js";
import { type DType, dtypes, type Tensor } from "../../graph/tensor.js";
import { elementTypeCodes } from "./tensor.js";
import {
  batchNormalization9,
  batchNormalization14,
  channelSlope,
  groupNormalization21,
  legacyBroadcast,
  resize11,
  scan9,
  softmax13,
} from "./upgrade-rewrites.js";
import { type Upgrade, type UpgradeContext, withInput, withoutAttributes } from "./upgrade-types.js";

export interface UpgradeRule {
  /** The opset that changed the operators. */
  readonly version: number;
  readonly ops: readonly string[];
  readonly upgrade: Upgrade;
}

const rename =
  (op: string): Upgrade =>
  (node) => [{ ...node, op }];

const drop =
  (...names: readonly string[]): Upgrade =>
  (node) => [{ ...node, attributes: withoutAttributes(node.attributes, ...names) }];

const setDefault =
  (name: string, attribute: Attribute): Upgrade =>
  (node) => [name in node.attributes ? node : { ...node, attributes: { ...node.attributes, [name]: attribute } }];

const renameValue =
  (name: string, values: Readonly<Record<string, string>>): Upgrade =>
  (node) => {
    const attribute = node.attributes[name];
    if (attribute?.type !== "string") return [node];
    return [{ ...node, attributes: { ...node.attributes, [name]: { type: "string", value: values[attribute.value] ?? attribute.value } } }];
  };

/** Makes the attribute a constant input of type int64, as a scalar if the attribute is an int. */
const toInput =
  (name: string, index: number): Upgrade =>
  (node, context) => {
    const attribute = node.attributes[name];
    const moved = { ...node, attributes: withoutAttributes(node.attributes, name) };
    if (attribute === undefined) return [moved];
    if (attribute.type !== "int" && attribute.type !== "ints") return context.refuse(node, `attribute ${name} is no list of integers`);
    const values = attribute.type === "int" ? [attribute.value] : attribute.value;
    const data = BigInt64Array.from(values, (value) => BigInt(value));
    const shape = attribute.type === "int" ? [] : [values.length];
    return [withInput(moved, index, context.addConstant(`${node.name}_${name}`, { dtype: "int64", shape, data }))];
  };

/** As `toInput`, for a float attribute that becomes a scalar of the first input's type (or of `dtype`). */
const toScalarInput =
  (name: string, index: number, dtype?: DType): Upgrade =>
  (node, context) => {
    const attribute = node.attributes[name];
    const moved = { ...node, attributes: withoutAttributes(node.attributes, name) };
    if (attribute === undefined) return [moved];
    if (attribute.type !== "float" && attribute.type !== "int") return context.refuse(node, `attribute ${name} is no number`);
    const wanted = dtype ?? context.typeOf(node.inputs[0])?.dtype;
    const scalar: Tensor = { dtype: "float32", shape: [], data: Float32Array.of(attribute.value) };
    const constant = context.addConstant(`${node.name}_${name}`, scalar);
    if (wanted === "float32") return [withInput(moved, index, constant)];
    // The type is known only after inference, or is one that a cast reaches: let the graph say so.
    const cast = context.freshValue(`${node.name}_${name}_cast`);
    const like = { name: `${node.name}_${name}`, op: "CastLike", domain: "", attributes: {}, origins: node.origins };
    return [{ ...like, inputs: [constant, node.inputs[0]], outputs: [cast] }, withInput(moved, index, cast)];
  };

/** Applies each to the node of the same name that the one before returns. */
const inTurn =
  (...upgrades: readonly Upgrade[]): Upgrade =>
  (node, context) =>
    upgrades.reduce<readonly Node[]>(
      (nodes, upgrade) => nodes.flatMap((item) => (item.name === node.name ? upgrade(item, context) : [item])),
      [node],
    );

const dropUnusedInputs: Upgrade = (node, context) => {
  const isAbsent = (value: string) => value === "" || context.constantOf(value)?.data.length === 0;
  const inputs = node.inputs.map((input, index) => (index > 0 && isAbsent(input) ? "" : input));
  while (inputs.at(-1) === "") inputs.pop();
  return [{ ...node, inputs }];
};

const reductions = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"].map((kind) => `Reduce${kind}`);
const binary = ["Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"];
const recurrent = ["RNN", "GRU", "LSTM"];

/** Opset 11's tf_half_pixel_for_nn is half_pixel + 0.5: each rounding's equal on half_pixel. */
const resize13: Upgrade = (node, context) => {
  const mode = node.attributes.coordinate_transformation_mode;
  if (mode?.type !== "string" || mode.value !== "tf_half_pixel_for_nn") return dropUnusedInputs(node, context);
  const rounding = node.attributes.nearest_mode;
  const shifted = { floor: "round_prefer_ceil", round_prefer_floor: "ceil" }[
    rounding?.type === "string" ? String(rounding.value) : "round_prefer_floor"
  ];
  if (shifted === undefined) return context.refuse(node, "coordinate_transformation_mode tf_half_pixel_for_nn with this nearest_mode");
  const attributes: Attributes = {
    ...node.attributes,
    coordinate_transformation_mode: { type: "string", value: "half_pixel" },
    nearest_mode: { type: "string", value: shifted },
  };
  return dropUnusedInputs({ ...node, attributes }, context);
};

/** Before opset 18, a Split without sizes makes as many equal parts as it has outputs. */
const split18: Upgrade = (node) => {
  if ((node.inputs[1] ?? "") !== "") return [node];
  return [
    {
      ...node,
      inputs: node.inputs.slice(0, 1),
      attributes: { ...node.attributes, num_outputs: { type: "int", value: node.outputs.length } },
    },
  ];
};

/** A Slice without axes slices the first ones, as it still does. */
const slice10 = inTurn(toInput("starts", 1), toInput("ends", 2), toInput("axes", 3));

/** Opset 12 and before: a Dropout outside training passes its input through, whatever its ratio. */
const dropout12 = toScalarInput("ratio", 1, "float32");

/** Operators whose first version listed inputs that share their buffer. */
const sharedBuffers = `Abs Add BatchNormalization Ceil Clip Div Dropout Elu Exp Floor HardSigmoid InstanceNormalization LeakyRelu Log Max
  Mean Min Mul Neg PRelu Reciprocal Relu Selu Sigmoid Sqrt Sub Sum Tanh`.split(/\s+/);

export const upgradeRules: readonly UpgradeRule[] = [
  { version: 2, ops: ["Pad"], upgrade: renameAttribute("paddings", "pads") },
  { version: 2, ops: ["LpPool", "GlobalLpPool"], upgrade: truncated("p") },
  { version: 4, ops: ["Concat"], upgrade: setDefault("axis", { type: "int", value: 1 }) },
  { version: 5, ops: ["Reshape"], upgrade: toInput("shape", 1) },
  { version: 6, ops: sharedBuffers, upgrade: drop("consumed_inputs") },
  { version: 6, ops: ["Cast"], upgrade: castType },
  { version: 6, ops: ["Tile"], upgrade: (node, context) => context.refuse(node, "Tile with its repeats along one axis") },
  { version: 7, ops: [...binary, "Gemm"], upgrade: legacyBroadcast },
  { version: 7, ops: ["PRelu"], upgrade: channelSlope },
  { version: 7, ops: ["Dropout"], upgrade: drop("is_test") },
  { version: 7, ops: ["BatchNormalization"], upgrade: drop("is_test") },
  { version: 7, ops: recurrent, upgrade: drop("output_sequence") },
  { version: 9, ops: ["BatchNormalization"], upgrade: batchNormalization9 },
  { version: 9, ops: ["Upsample"], upgrade: upsample9 },
  { version: 9, ops: ["Scan"], upgrade: scan9 },
  { version: 10, ops: ["Upsample"], upgrade: rename("Resize") },
  { version: 10, ops: ["Slice"], upgrade: slice10 },
  { version: 10, ops: ["TopK"], upgrade: topK10 },
  { version: 11, ops: ["Clip"], upgrade: inTurn(toScalarInput("min", 1), toScalarInput("max", 2)) },
  { version: 11, ops: ["Pad"], upgrade: inTurn(toInput("pads", 1), toScalarInput("value", 2)) },
  { version: 11, ops: ["Resize"], upgrade: resize11 },
  { version: 11, ops: ["Scatter"], upgrade: rename("ScatterElements") },
  { version: 12, ops: ["Dropout"], upgrade: dropout12 },
  { version: 13, ops: ["Squeeze", "Unsqueeze", "ReduceSum"], upgrade: toInput("axes", 1) },
  { version: 13, ops: ["Split"], upgrade: toInput("split", 1) },
  { version: 13, ops: ["Softmax", "LogSoftmax", "Hardmax"], upgrade: softmax13 },
  { version: 13, ops: ["Resize"], upgrade: resize13 },
  { version: 14, ops: ["BatchNormalization"], upgrade: batchNormalization14 },
  { version: 16, ops: ["RoiAlign"], upgrade: setDefault("coordinate_transformation_mode", { type: "string", value: "output_half_pixel" }) },
  { version: 18, ops: reductions, upgrade: toInput("axes", 1) },
  { version: 18, ops: ["Split"], upgrade: split18 },
  { version: 20, ops: ["DFT"], upgrade: inTurn(setDefault("axis", { type: "int", value: 1 }), toInput("axis", 2)) },
  { version: 20, ops: ["GridSample"], upgrade: renameValue("mode", { bilinear: "linear", bicubic: "cubic" }) },
  { version: 21, ops: ["GroupNormalization"], upgrade: groupNormalization21 },
];

function renameAttribute(from: string, to: string): Upgrade {
  return (node) => {
    const { [from]: renamed, ...rest } = node.attributes;
    return [renamed === undefined ? node : { ...node, attributes: { ...rest, [to]: renamed } }];
  };
}

/** Makes a float attribute, which held an integer, an int. */
function truncated(name: string): Upgrade {
  return (node) => {
    const attribute = node.attributes[name];
    if (attribute?.type !== "float") return [node];
    return [{ ...node, attributes: { ...node.attributes, [name]: { type: "int", value: Math.trunc(attribute.value) } } }];
  };
}

/** A type's name becomes its number. */
function castType(node: Node, context: UpgradeContext): readonly Node[] {
  const { to } = node.attributes;
  if (to?.type !== "string") return [node];
  const name = to.value.toLowerCase();
  const dtype = dtypes.find((candidate) => candidate === ({ float: "float32", double: "float64" }[name] ?? name));
  if (dtype === undefined) return context.refuse(node, `a cast to ${to.value}`);
  return [{ ...node, attributes: { ...node.attributes, to: { type: "int", value: elementTypeCodes[dtype] } } }];
}

function upsample9(node: Node, context: UpgradeContext): readonly Node[] {
  const scales = node.attributes.scales;
  if (scales?.type !== "floats") return context.refuse(node, "it has no scales");
  const tensor: Tensor = { dtype: "float32", shape: [scales.value.length], data: Float32Array.from(scales.value) };
  const moved = { ...node, attributes: withoutAttributes(node.attributes, "scales") };
  return [withInput(moved, 1, context.addConstant(`${node.name}_scales`, tensor))];
}

function topK10(node: Node, context: UpgradeContext): readonly Node[] {
  const { k } = node.attributes;
  if (k?.type !== "int") return context.refuse(node, "it has no k");
  return toInput("k", 1)({ ...node, attributes: { ...node.attributes, k: { type: "ints", value: [k.value] } } }, context);
}

const rulesByOp = new Map<string, UpgradeRule[]>();
for (const rule of upgradeRules) for (const op of rule.ops) rulesByOp.set(op, [...(rulesByOp.get(op) ?? []), rule]);

/** A node of the default domain in `opset`'s form, in the pinned opset's. */
export function upgradeNode(node: Node, opset: number, context: UpgradeContext): readonly Node[] {
  const rule = rulesByOp.get(node.op)?.find(({ version }) => version > opset);
  if (rule === undefined) return [node];
  return rule.upgrade(node, context).flatMap((result) => upgradeNode(result, rule.version, context));
}
