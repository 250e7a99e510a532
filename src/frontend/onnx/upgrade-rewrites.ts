/** The upgrades that rewrite an operator rather than move an attribute. */
import { type Attributes, type Graph, intAttribute, intsAttribute, type Node, stringAttribute } from "../../graph/graph.js";
import { floatTensor, int64Tensor, toNumbers } from "../../graph/tensor.js";
import { type Upgrade, type UpgradeContext, withoutAttributes } from "./upgrade-types.js";

/** Makes helper nodes for `node`: each call adds one and returns its value. */
function builder(node: Node, context: UpgradeContext) {
  const nodes: Node[] = [];
  const add = (op: string, inputs: readonly string[], attributes: Attributes = {}): string => {
    const value = context.freshValue(`${node.name}_${op.toLowerCase()}`);
    nodes.push({ name: value, op, domain: "", inputs, outputs: [value], attributes, origins: node.origins });
    return value;
  };
  const ints = (base: string, values: readonly number[]) =>
    context.addConstant(`${node.name}_${base}`, int64Tensor([values.length], values));
  return { nodes, add, ints };
}

/** The right operand of opset 6 is aligned at `axis` (default: to the right), as far as `broadcast` allows it at all. */
export const legacyBroadcast: Upgrade = (node, context) => {
  const upgraded = { ...node, attributes: withoutAttributes(node.attributes, "axis", "broadcast") };
  const axis = node.attributes.axis;
  if (intAttribute(node.attributes, "broadcast", 0) === 0 || axis?.type !== "int") return [upgraded];
  const left = context.typeOf(node.inputs[0])?.shape?.length;
  const right = context.typeOf(node.inputs[1])?.shape?.length;
  if (left === undefined || right === undefined)
    return context.refuse(node, "the ranks of its operands, broadcast along an axis, are not known");
  const trailing = left - (axis.value < 0 ? axis.value + left : axis.value) - right;
  if (trailing <= 0) return [upgraded];
  const { nodes, add, ints } = builder(node, context);
  const axes = ints(
    "axes",
    Array.from({ length: trailing }, (_, index) => right + index),
  );
  const aligned = add("Unsqueeze", [node.inputs[1], axes]);
  return [...nodes, { ...upgraded, inputs: [node.inputs[0], aligned] }];
};

/** Before opset 7 a slope of more than one element is one for each channel. */
export const channelSlope: Upgrade = (node, context) => {
  const rank = context.typeOf(node.inputs[0])?.shape?.length ?? 0;
  const slope = context.typeOf(node.inputs[1])?.shape;
  if (slope?.length !== 1 || slope[0] === 1 || rank < 3) return [node];
  const { nodes, add, ints } = builder(node, context);
  const axes = ints(
    "axes",
    Array.from({ length: rank - 2 }, (_, index) => index + 1),
  );
  const inputs = [node.inputs[0], add("Unsqueeze", [node.inputs[1], axes])];
  return [...nodes, { ...node, inputs }];
};

/** `spatial = 0` normalises each activation by itself: its statistics have the shape of one sample, so they broadcast. */
export const batchNormalization9: Upgrade = (node, context) => {
  const attributes = withoutAttributes(node.attributes, "spatial");
  if (intAttribute(node.attributes, "spatial", 1) !== 0) return [{ ...node, attributes }];
  const epsilon = node.attributes.epsilon;
  const { nodes, add } = builder(node, context);
  const [x, scale, bias, mean, variance] = node.inputs;
  const small = context.addConstant(`${node.name}_epsilon`, floatTensor([], [epsilon?.type === "float" ? epsilon.value : 1e-5]));
  const deviation = add("Sqrt", [add("Add", [variance, add("CastLike", [small, variance])])]);
  const scaled = add("Mul", [add("Div", [add("Sub", [x, mean]), deviation]), scale]);
  return [...nodes, { ...node, op: "Add", inputs: [scaled, bias], outputs: node.outputs.slice(0, 1), attributes: {} }];
};

/** Outputs beyond the first were for training. */
export const batchNormalization14: Upgrade = (node) => [{ ...node, outputs: node.outputs.slice(0, 1) }];

/** Before opset 13 the input is taken as a matrix, split at `axis` (default 1), and its rows are normalised. */
export const softmax13: Upgrade = (node, context) => {
  const rank = context.typeOf(node.inputs[0])?.shape?.length;
  const axis = intAttribute(node.attributes, "axis", 1);
  const lastAxis = { ...node, attributes: { ...node.attributes, axis: { type: "int" as const, value: -1 } } };
  if (axis === -1 || (rank !== undefined && axis === rank - 1)) return [lastAxis];
  const { nodes, add } = builder(node, context);
  const shape = add("Shape", [node.inputs[0]]);
  const flat = add("Flatten", [node.inputs[0]], { axis: { type: "int", value: axis } });
  const rows = context.freshValue(`${node.name}_rows`);
  const restore: Node = {
    name: `${node.name}_reshape`,
    op: "Reshape",
    domain: "",
    inputs: [rows, shape],
    outputs: node.outputs,
    attributes: {},
    origins: node.origins,
  };
  return [...nodes, { ...lastAxis, inputs: [flat], outputs: [rows] }, restore];
};

/**
 * Opset 10's Resize maps coordinates by scale alone, and nearest rounds down, or up where it makes the tensor smaller (as the
 * operator's tests have it). Opset 11 has the scales as third input.
 */
export const resize11: Upgrade = (node, context) => {
  const scales = context.constantOf(node.inputs[1] ?? "");
  const isNearest = stringAttribute(node.attributes, "mode", "nearest") === "nearest";
  const shrinks = scales !== undefined && toNumbers(scales).some((scale) => scale < 1);
  const rounding: Attributes = isNearest ? { nearest_mode: { type: "string", value: shrinks ? "ceil" : "floor" } } : {};
  const attributes: Attributes = {
    ...node.attributes,
    coordinate_transformation_mode: { type: "string", value: "asymmetric" },
    ...rounding,
  };
  return [{ ...node, inputs: [node.inputs[0], "", node.inputs[1] ?? ""], attributes }];
};

/**
 * Opset 8's Scan runs over axis 1 for each item of a batch on axis 0. That is a scan over the batch, whose body is the scan over
 * the sequence.
 */
export const scan9: Upgrade = (node, context) => {
  const body = node.attributes.body;
  const [lengths, ...inputs] = node.inputs;
  if (body?.type !== "graph") return context.refuse(node, "it has no body");
  if (lengths !== "") return context.refuse(node, "a Scan with sequence_lens");
  const scanInputs = intAttribute(node.attributes, "num_scan_inputs", 1);
  const directions = intsAttribute(node.attributes, "directions");
  const itemInputs = inputs.map((input) => context.freshValue(`${input}_item`));
  const itemOutputs = node.outputs.map((output) => context.freshValue(`${output === "" ? node.name : output}_item`));
  const perSequence: Node = {
    ...node,
    name: `${node.name}_sequence`,
    inputs: itemInputs,
    outputs: itemOutputs,
    attributes: {
      body,
      num_scan_inputs: { type: "int", value: scanInputs },
      ...(directions === undefined ? {} : { scan_input_directions: { type: "ints", value: directions } }),
    },
  };
  const types = new Map(
    itemInputs.flatMap((input, index) => {
      const type = body.value.types.get(body.value.inputs[index]);
      return type === undefined ? [] : [[input, { dtype: type.dtype }] as const];
    }),
  );
  const perItem: Graph = {
    name: `${node.name}_batch`,
    inputs: itemInputs,
    outputs: itemOutputs,
    nodes: [perSequence],
    types,
    constants: new Map(),
  };
  const attributes: Attributes = { body: { type: "graph", value: perItem }, num_scan_inputs: { type: "int", value: inputs.length } };
  return [{ ...node, inputs, attributes }];
};

/** Opset 18 has a scale and a bias for each group, opset 21 for each channel. */
export const groupNormalization21: Upgrade = (node, context) => {
  const groups = intAttribute(node.attributes, "num_groups", 1);
  const { nodes, add, ints } = builder(node, context);
  const attribute = (value: number) => ({ type: "int" as const, value });
  const channels = add("Shape", [node.inputs[0]], { start: attribute(1), end: attribute(2) });
  const groupCount = ints("groups", [groups]);
  const shape = add("Concat", [groupCount, add("Div", [channels, groupCount])], { axis: attribute(0) });
  const column = ints("column", [-1, 1]);
  const flat = ints("flat", [-1]);
  const perChannel = (value: string) => add("Reshape", [add("Expand", [add("Reshape", [value, column]), shape]), flat]);
  const inputs = [node.inputs[0], perChannel(node.inputs[1]), perChannel(node.inputs[2])];
  return [...nodes, { ...node, inputs }];
};
