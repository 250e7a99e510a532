/** Brings reshapes and transposes to one form each, and merges movement with its neighbours. */
import { type Graph, intsAttribute, isStatic, type Node, type StaticType, stringAttribute, type TensorType } from "../graph/graph.js";
import { int64Tensor, toNumbers } from "../graph/tensor.js";
import { activationRules } from "./activations.js";
import { cleanRules } from "./clean.js";
import { dropoutRules } from "./dropout.js";
import type { NormaliseOptions } from "./options.js";
import { type Patch, type Rule, rewrite, type View } from "./rewrite.js";
import { mergeOrigins, permuted } from "./values.js";

const reshapeFamily = ["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/** A Reshape of `input` to the static shape of `node`'s output, in that node's place. */
function reshape(node: Node, input: string, type: StaticType, origins: readonly string[], view: View): Patch {
  const shape = view.fresh(`${node.name}/shape`);
  const keepsZeros = type.shape.includes(0);
  return {
    nodes: [
      {
        name: node.name,
        op: "Reshape",
        domain: "",
        inputs: [input, shape],
        outputs: [node.outputs[0]],
        attributes: keepsZeros ? { allowzero: { type: "int", value: 1 } } : {},
        origins,
      },
    ],
    constants: new Map([[shape, int64Tensor([type.shape.length], type.shape)]]),
  };
}

/** Flatten, Squeeze, Unsqueeze and Reshape with a rule in its shape become a Reshape to a plain shape. */
const plainReshape: Rule = {
  name: "plain-reshape",
  pattern: { op: reshapeFamily },
  replace({ root }, view) {
    const type = view.type(root.outputs[0]);
    if (!isStatic(type) || isPlainReshape(root, type, view)) return undefined;
    return reshape(root, root.inputs[0], type, root.origins, view);
  },
};

function isPlainReshape(node: Node, type: StaticType, view: View): boolean {
  if (node.op !== "Reshape") return false;
  const { data } = view.constant(node.inputs[1]) ?? { data: [] };
  return data.length === type.shape.length && type.shape.every((extent, axis) => BigInt(extent) === data[axis]);
}

const mergeReshapes: Rule = {
  name: "merge-reshapes",
  pattern: { op: ["Reshape"], inputs: [{ op: reshapeFamily }] },
  replace({ root, nodes: [, inner] }, view) {
    const type = view.type(root.outputs[0]);
    return isStatic(type) ? reshape(root, inner.inputs[0], type, mergeOrigins(inner.origins, root.origins), view) : undefined;
  },
};

/** The permutation, which reverses the axes where the attribute is absent; undefined for an unknown rank. */
function permutationOf(node: Node, input: TensorType | undefined): readonly number[] | undefined {
  return intsAttribute(node.attributes, "perm") ?? input?.shape?.map((_, axis, shape) => shape.length - 1 - axis);
}

const mergeTransposes: Rule = {
  name: "merge-transposes",
  pattern: { op: ["Transpose"], inputs: [{ op: ["Transpose"] }] },
  replace({ root, nodes: [, inner] }, view) {
    const first = permutationOf(inner, view.type(inner.inputs[0]));
    const second = permutationOf(root, view.type(root.inputs[0]));
    if (first === undefined || second === undefined) return undefined;
    const value = second.map((axis) => first[axis]);
    const attributes = { perm: { type: "ints" as const, value } };
    return { nodes: [{ ...root, inputs: [inner.inputs[0]], attributes, origins: mergeOrigins(inner.origins, root.origins) }] };
  },
};

/** A transpose that keeps the order of the axes longer than 1 moves nothing. */
const transposeOfOnes: Rule = {
  name: "transpose-of-ones",
  pattern: { op: ["Transpose"] },
  replace({ root }, view) {
    const [from, to] = [view.type(root.inputs[0]), view.type(root.outputs[0])];
    const permutation = permutationOf(root, from);
    if (!isStatic(from) || !isStatic(to) || permutation === undefined) return undefined;
    const moved = permutation.filter((axis) => from.shape[axis] !== 1);
    if (moved.some((axis, index) => index > 0 && axis < moved[index - 1])) return undefined;
    return reshape(root, root.inputs[0], to, root.origins, view);
  },
};

/** Extents that a Pad with zeros adds, begins then ends, if they are constant, and along spatial axes only; undefined for any other Pad. */
function spatialZeroPads(pad: Node, rank: number, view: View): number[] | undefined {
  const amounts = view.constant(pad.inputs[1] ?? "");
  const fill = pad.inputs[2] ? view.constant(pad.inputs[2]) : undefined;
  if (stringAttribute(pad.attributes, "mode", "constant") !== "constant" || (pad.inputs[3] ?? "") !== "" || !amounts) return undefined;
  if (pad.inputs[2] && (!fill || toNumbers(fill).some((value) => value !== 0))) return undefined;
  const pads = toNumbers(amounts);
  const isChannel = (index: number) => index % rank < 2;
  if (pads.length !== 2 * rank || pads.some((amount, index) => (isChannel(index) ? amount !== 0 : amount < 0))) return undefined;
  return pads.filter((_, index) => !isChannel(index));
}

/** A convolution pads with zeros itself. */
const padIntoConvolution: Rule = {
  name: "pad-into-convolution",
  pattern: { op: ["Conv"], inputs: [{ op: ["Pad"], single: true }] },
  replace({ root, nodes: [, pad] }, view) {
    const rank = view.type(root.inputs[0])?.shape?.length;
    const auto = stringAttribute(root.attributes, "auto_pad", "NOTSET");
    const added = rank === undefined ? undefined : spatialZeroPads(pad, rank, view);
    if (!added || (auto !== "NOTSET" && auto !== "VALID")) return undefined;
    const own = auto === "NOTSET" ? intsAttribute(root.attributes, "pads") : undefined;
    const value = added.map((amount, index) => amount + (own?.[index] ?? 0));
    const { auto_pad: _, ...attributes } = root.attributes;
    const inputs = [pad.inputs[0], ...root.inputs.slice(1)];
    const origins = mergeOrigins(pad.origins, root.origins);
    return { nodes: [{ ...root, inputs, attributes: { ...attributes, pads: { type: "ints", value } }, origins }] };
  },
};

/** Rows of a product's weights follow the order in which the axes of the other operand were laid out before they became one. */
const transposeIntoRows: Rule = {
  name: "transpose-into-rows",
  pattern: { op: ["MatMul"], inputs: [{ op: ["Reshape"], single: true, inputs: [{ op: ["Transpose"] }] }, "constant"] },
  replace({ root, nodes: [, flat, transpose] }, view) {
    const [from, to] = [view.type(transpose.inputs[0]), view.type(flat.outputs[0])];
    const weights = view.constant(root.inputs[1]);
    const permutation = permutationOf(transpose, from);
    if (!isStatic(from) || !isStatic(to) || weights?.shape.length !== 2 || permutation?.[0] !== 0) return undefined;
    if (to.shape.length !== 2 || to.shape[0] !== from.shape[0]) return undefined;
    const laidOut = permutation.slice(1).map((axis) => from.shape[axis]);
    const order = from.shape.slice(1).map((_, axis) => permutation.indexOf(axis + 1) - 1);
    const rows = permuted({ ...weights, shape: [...laidOut, weights.shape[1]] }, [...order, order.length]);
    const [shape, name, value] = ["shape", "weights", "rows"].map((kind) => view.fresh(`${root.name}/${kind}`));
    return {
      nodes: [
        { ...flat, name: value, op: "Reshape", inputs: [transpose.inputs[0], shape], outputs: [value], attributes: {} },
        { ...root, inputs: [value, name], origins: mergeOrigins(transpose.origins, root.origins) },
      ],
      constants: new Map([
        [shape, int64Tensor([2], to.shape)],
        [name, { ...rows, shape: weights.shape }],
      ]),
      types: new Map([[value, to]]),
    };
  },
};

export const movementRules: readonly Rule[] = [
  plainReshape,
  mergeReshapes,
  mergeTransposes,
  transposeOfOnes,
  padIntoConvolution,
  transposeIntoRows,
];

/** The simplify pass: the clean rules again, over the small operator set, with these and the activations'. */
export function simplify(graph: Graph, options: Pick<NormaliseOptions, "keep">): Graph {
  return rewrite(graph, [...cleanRules, ...dropoutRules, ...movementRules, ...activationRules], options);
}
