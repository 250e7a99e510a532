/**
 * Folds scales and shifts by constants per channel into the weights and bias of the convolution or matrix product next to them:
 * batch norm (decomposed to Mul and Add), biases, input scaling. Computed in float64, rounded once to the weights' type.
 */
import { type Graph, intAttribute, isStatic, type Node, type TensorType } from "../graph/graph.js";
import {
  allocateData,
  elementCount,
  fromNumbers,
  largestFinite,
  numberAt,
  type Tensor,
  toFloat16Bits,
  toNumbers,
} from "../graph/tensor.js";
import type { NormaliseOptions } from "./options.js";
import { type Match, type Patch, type Pattern, type Rule, rewrite, type View } from "./rewrite.js";
import { mergeOrigins } from "./values.js";

const convolutions = ["Conv", "ConvTranspose"];

/** Weights as [outer, channels, inner], where each (outer, channel) pair has its own factor. */
interface Scaling {
  readonly outer: number;
  readonly channels: number;
  readonly factor: (outer: number, channel: number) => number;
}

/** Integers that either 16-bit float holds: those of quantized weights. */
function areSmallIntegers({ data }: Tensor): boolean {
  return data instanceof Float32Array && data.every((value) => Math.abs(value) <= 256 && Number.isInteger(value));
}

function areExactInBfloat16({ data }: Tensor): boolean {
  return data instanceof Float32Array && new Uint32Array(data.buffer, data.byteOffset, data.length).every((bits) => (bits & 0xffff) === 0);
}

/** Undefined where rounding to the weights' type overflows, or where quantized weights would no longer be exact in 16 bits. */
function scaleTensor(tensor: Tensor, { outer, channels, factor }: Scaling): Tensor | undefined {
  const count = elementCount(tensor.shape);
  const inner = count / (outer * channels);
  const data = allocateData(tensor.dtype, count);
  const half = tensor.dtype === "float16";
  if (!half && !(data instanceof Float32Array || data instanceof Float64Array)) return undefined;
  const source = half || typeof tensor.data[0] !== "number" ? undefined : tensor.data;
  let finite = true;
  for (let row = 0, index = 0; row < outer * channels; row++) {
    const scale = factor(Math.floor(row / channels), row % channels);
    for (const end = index + inner; index < end; index++) {
      const value = Number(source ? source[index] : numberAt(tensor, index)) * scale;
      data[index] = half ? toFloat16Bits(value) : value;
      finite &&= half ? Math.abs(value) < largestFinite.float16 : Number.isFinite(data[index]);
    }
  }
  const scaled = { ...tensor, data };
  return finite && (!areSmallIntegers(tensor) || areExactInBfloat16(scaled)) ? scaled : undefined;
}

/**
 * A constant that varies along axis `axis` of the value at most, as `count` numbers; undefined for any other. Negative axes count
 * from the end. The constant must not make the value larger.
 */
function channelVector(constant: Tensor | undefined, value: TensorType | undefined, axis: number, count: number): number[] | undefined {
  const rank = value?.shape?.length;
  if (constant === undefined || rank === undefined || constant.dtype !== value?.dtype || constant.shape.length > rank) return undefined;
  const own = (axis < 0 ? axis + rank : axis) - (rank - constant.shape.length);
  if (!constant.shape.every((extent, position) => extent === 1 || (position === own && extent === count))) return undefined;
  const numbers = toNumbers(constant);
  if (!numbers.every(Number.isFinite)) return undefined;
  return numbers.length === 1 ? new Array<number>(count).fill(numbers[0]) : numbers;
}

/** Where a linear operator's output channels lie in its output and in its weights. */
interface Channels {
  readonly axis: number;
  readonly count: number;
  scaling(vector: readonly number[]): Scaling;
}

function outputChannels(node: Node, weight: Tensor): Channels | undefined {
  const { shape } = weight;
  const groups = intAttribute(node.attributes, "group", 1);
  if (node.op === "Conv") return { axis: 1, count: shape[0], scaling: (s) => ({ outer: 1, channels: shape[0], factor: (_, m) => s[m] }) };
  if (node.op === "ConvTranspose") {
    const [inputs, each] = shape;
    const factor = (s: readonly number[]) => (c: number, m: number) => s[Math.floor(c / (inputs / groups)) * each + m];
    return { axis: 1, count: groups * each, scaling: (s) => ({ outer: inputs, channels: each, factor: factor(s) }) };
  }
  if (node.op !== "MatMul" || shape.length < 2) return undefined;
  const columns = shape[shape.length - 1];
  return {
    axis: -1,
    count: columns,
    scaling: (s) => ({ outer: elementCount(shape) / columns, channels: columns, factor: (_, n) => s[n] }),
  };
}

function inputChannels(node: Node, weight: Tensor): Channels | undefined {
  const { shape } = weight;
  const groups = intAttribute(node.attributes, "group", 1);
  if (node.op === "Conv") {
    const [outputs, each] = shape;
    const factor = (s: readonly number[]) => (m: number, c: number) => s[Math.floor(m / (outputs / groups)) * each + c];
    return { axis: 1, count: groups * each, scaling: (s) => ({ outer: outputs, channels: each, factor: factor(s) }) };
  }
  if (node.op === "ConvTranspose")
    return { axis: 1, count: shape[0], scaling: (s) => ({ outer: 1, channels: shape[0], factor: (_, c) => s[c] }) };
  if (node.op !== "MatMul" || shape.length < 2) return undefined;
  const rows = shape[shape.length - 2];
  const batch = elementCount(shape.slice(0, -2));
  return { axis: -1, count: rows, scaling: (s) => ({ outer: batch, channels: rows, factor: (_, k) => s[k] }) };
}

/** The factors of `x * c`, or of `x / c`. */
function factorsOf(node: Node, vector: readonly number[] | undefined): readonly number[] | undefined {
  const factors = node.op === "Div" ? vector?.map((value) => 1 / value) : vector;
  return factors?.every(Number.isFinite) ? factors : undefined;
}

/** Only x / c is a scale, not c / x; likewise x - c. */
function inOrder({ root, inputs }: Match): boolean {
  return root.op === "Mul" || root.op === "Add" || inputs[0] === root.inputs[0];
}

const linear: Pattern = { op: [...convolutions, "MatMul"], inputs: ["any", "constant"], single: true };

/** (x W + b) * s = x (W s) + b s. */
const scaleAfter: Rule = {
  name: "scale-into-weights",
  pattern: { op: ["Mul", "Div"], inputs: [linear, "constant"], commutative: true },
  replace(match, view) {
    const { root, nodes, inputs } = match;
    const node = nodes[1];
    const weight = view.constant(node.inputs[1])!;
    const channels = outputChannels(node, weight);
    const bias = view.constant(node.inputs[2] ?? "");
    if (!inOrder(match) || !channels || ((node.inputs[2] ?? "") !== "" && !bias)) return undefined;
    const factors = factorsOf(root, channelVector(view.constant(inputs[1]), view.type(inputs[0]), channels.axis, channels.count));
    if (!factors) return undefined;
    const scaled = scaleTensor(weight, channels.scaling(factors));
    const shifted = bias && scaleTensor(bias, { outer: 1, channels: channels.count, factor: (_, m) => factors[m] });
    if (!scaled || (bias && !shifted)) return undefined;
    return replaceWeights(root, node, scaled, shifted, mergeOrigins(node.origins, root.origins), view);
  },
};

/** The linear node with other weights and bias, writing the root's output. */
function replaceWeights(root: Node, node: Node, weight: Tensor, bias: Tensor | undefined, origins: readonly string[], view: View): Patch {
  const constants = new Map<string, Tensor>();
  const name = weight === view.constant(node.inputs[1]) ? node.inputs[1] : view.fresh(`${node.name}/weight`);
  constants.set(name, weight);
  const inputs = [node.inputs[0], name];
  if (bias) {
    inputs.push(view.fresh(`${node.name}/bias`));
    constants.set(inputs[2], bias);
  }
  return { nodes: [{ ...node, inputs, outputs: [root.outputs[0]], origins }], constants };
}

/** (x W + b) + c, or - c, for a convolution: into the bias. The weights may come from anywhere. */
const shiftAfter: Rule = {
  name: "shift-into-bias",
  pattern: { op: ["Add", "Sub"], inputs: [{ op: convolutions, single: true }, "constant"], commutative: true },
  replace(match, view) {
    const { root, nodes, inputs } = match;
    const node = nodes[1];
    const output = view.type(inputs[0]);
    const bias = view.constant(node.inputs[2] ?? "");
    const count = output?.shape?.[1];
    if (!inOrder(match) || typeof count !== "number" || ((node.inputs[2] ?? "") !== "" && !bias)) return undefined;
    const shift = channelVector(view.constant(inputs[1]), output, 1, count);
    if (!shift || !output || !["float32", "float64", "float16"].includes(output.dtype)) return undefined;
    const sign = root.op === "Sub" ? -1 : 1;
    const sum = shift.map((value, channel) => sign * value + (bias ? numberAt(bias, channel) : 0));
    const name = view.fresh(`${node.name}/bias`);
    const fused = {
      ...node,
      inputs: [node.inputs[0], node.inputs[1], name],
      outputs: [root.outputs[0]],
      origins: mergeOrigins(node.origins, root.origins),
    };
    return { nodes: [fused], constants: new Map([[name, fromNumbers(output.dtype, [count], sum)]]) };
  },
};

/** (x * s) W = x (s W). Zero padding stays zero under a scale, so it may move past a convolution's. */
const scaleBefore: Rule = {
  name: "input-scale-into-weights",
  pattern: {
    op: [...convolutions, "MatMul"],
    inputs: [{ op: ["Mul", "Div"], inputs: ["any", "constant"], commutative: true, single: true }, "constant"],
  },
  replace({ root, nodes: [, scale], inputs }, view) {
    const weight = view.constant(inputs[1])!;
    const channels = inputChannels(root, weight);
    const constantFirst = view.constant(scale.inputs[1]) === undefined;
    if (!channels || (constantFirst && scale.op === "Div")) return undefined;
    const [value, factor] = constantFirst ? [scale.inputs[1], scale.inputs[0]] : scale.inputs;
    const [before, after] = [view.type(value), view.type(inputs[0])];
    if (!isStatic(before) || !isStatic(after) || elementCount(before.shape) !== elementCount(after.shape)) return undefined;
    if (before.shape.length !== after.shape.length) return undefined;
    const factors = factorsOf(scale, channelVector(view.constant(factor), after, channels.axis, channels.count));
    const scaled = factors && scaleTensor(weight, channels.scaling(factors));
    if (!scaled) return undefined;
    const name = view.fresh(`${root.name}/weight`);
    const fused = { ...root, inputs: [value, name, ...root.inputs.slice(2)], origins: mergeOrigins(scale.origins, root.origins) };
    return { nodes: [fused], constants: new Map([[name, scaled]]) };
  },
};

const shiftedProduct: Pattern = {
  op: ["Add"],
  inputs: [{ op: ["MatMul"], inputs: ["any", "constant"], single: true }, "constant"],
  commutative: true,
  single: true,
};

/** Splits a matched `shiftedProduct` into product and shift; the shift per column. */
function productShift(add: Node, view: View): { product: string; type: TensorType; shift: number[] } | undefined {
  const [product, constant] = view.constant(add.inputs[1]) ? add.inputs : [add.inputs[1], add.inputs[0]];
  const type = view.type(product);
  const columns = type?.shape?.at(-1);
  if (!type || typeof columns !== "number") return undefined;
  const shift = channelVector(view.constant(constant), type, -1, columns);
  return shift && { product, type, shift };
}

/** (x W + c) * s = x W * s + c s, so that the scale meets the weights; and (x W + c) + d = x W + (c + d). */
const afterShift: Rule = {
  name: "through-shift",
  pattern: { op: ["Mul", "Div", "Add", "Sub"], inputs: [shiftedProduct, "constant"], commutative: true },
  replace(match, view) {
    const { root, nodes, inputs } = match;
    const parts = inOrder(match) ? productShift(nodes[1], view) : undefined;
    if (!parts) return undefined;
    const { product, type, shift } = parts;
    const vector = channelVector(view.constant(inputs[1]), type, -1, shift.length);
    const scales = root.op === "Mul" || root.op === "Div";
    const operand = scales ? factorsOf(root, vector) : vector?.map((value) => (root.op === "Sub" ? -value : value));
    if (!operand) return undefined;
    const sum = shift.map((value, column) => (scales ? value * operand[column] : value + operand[column]));
    const shiftName = view.fresh(`${nodes[1].name}/shift`);
    const constants = new Map([[shiftName, fromNumbers(type.dtype, [sum.length], sum)]]);
    const add = { ...nodes[1], outputs: [root.outputs[0]], origins: mergeOrigins(nodes[1].origins, root.origins) };
    if (!scales) return { nodes: [{ ...add, inputs: [product, shiftName] }], constants };
    const scaleName = view.fresh(`${root.name}/scale`);
    constants.set(scaleName, fromNumbers(type.dtype, [operand.length], operand));
    const scaled = view.fresh(`${root.outputs[0]}/scaled`);
    const multiply = { ...root, op: "Mul", inputs: [product, scaleName], outputs: [scaled] };
    return { nodes: [multiply, { ...add, inputs: [scaled, shiftName] }], constants, types: new Map([[scaled, type]]) };
  },
};

export const absorbRules: readonly Rule[] = [scaleAfter, shiftAfter, scaleBefore, afterShift];

/** The absorb pass. Only intermediate values with one use are folded away. */
export function absorb(graph: Graph, options: Pick<NormaliseOptions, "keep">): Graph {
  return rewrite(graph, absorbRules, options);
}
