/** Recognises activations that exporters write out in small operators, where ONNX has one. */
import { floatAttribute, isStatic, type Node } from "../graph/graph.js";
import { elementCount, isFloat, numberAt } from "../graph/tensor.js";
import type { Match, Pattern, Rule, View } from "./rewrite.js";
import { mergeOrigins } from "./values.js";

/** A commutative operator of two values that may be in either order. */
const either = (op: string, left: Pattern | "any" | "constant", right: Pattern | "any" | "constant" = "any"): Pattern => ({
  op: [op],
  inputs: [left, right],
  commutative: true,
  single: true,
});

function scalarOf(value: string, view: View): number | undefined {
  const constant = view.constant(value);
  return constant && isFloat(constant.dtype) && elementCount(constant.shape) === 1 ? numberAt(constant, 0) : undefined;
}

function near(value: number | undefined, wanted: number): boolean {
  return value !== undefined && Math.abs(value - wanted) <= 1e-3 * Math.abs(wanted);
}

/** The two inputs of a node as its one constant scalar and its other input; undefined if there is no such constant. */
function withScalar(node: Node, view: View): { scalar: number; other: string } | undefined {
  for (const [constant, other] of [node.inputs, [node.inputs[1], node.inputs[0]]]) {
    const scalar = scalarOf(constant ?? "", view);
    if (scalar !== undefined) return { scalar, other };
  }
  return undefined;
}

/** The value that the node scales by `factor`, written as product or as quotient. */
function scaledBy(node: Node, factor: number, view: View): string | undefined {
  if (node.op === "Div") return near(scalarOf(node.inputs[1], view), 1 / factor) ? node.inputs[0] : undefined;
  const parts = node.op === "Mul" ? withScalar(node, view) : undefined;
  return near(parts?.scalar, factor) ? parts?.other : undefined;
}

/** The value to which the node adds `term`. */
function shiftedBy(node: Node, term: number, view: View): string | undefined {
  const parts = node.op === "Add" ? withScalar(node, view) : undefined;
  return near(parts?.scalar, term) ? parts?.other : undefined;
}

/** One activation of `x` in the root's place, if `x` has the result's type. */
function activation(op: string, x: string | undefined, match: Match, view: View) {
  const { root, nodes } = match;
  const [from, to] = [view.type(x ?? ""), view.type(root.outputs[0])];
  if (x === undefined || !isStatic(from) || !isStatic(to) || from.shape.join() !== to.shape.join()) return undefined;
  const origins = mergeOrigins(...nodes.toReversed().map((node) => node.origins));
  return { nodes: [{ ...root, op, inputs: [x], attributes: {}, origins }] };
}

const sixthOf = (inner: Pattern): Pattern[] => [
  { op: ["Div"], inputs: [inner, "constant"], single: true },
  { op: ["Mul"], inputs: [inner, "constant"], commutative: true, single: true },
];

/** clip(x + 3, 0, 6). */
const clipped: Pattern = { op: ["Clip"], inputs: [either("Add", "any", "constant")], single: true };

/** The x of clip(x + 3, 0, 6), given its two nodes. */
function clippedInput(clip: Node, add: Node, view: View): string | undefined {
  const bounded = near(scalarOf(clip.inputs[2] ?? "", view), 6) && scalarOf(clip.inputs[1] ?? "", view) === 0;
  return bounded ? shiftedBy(add, 3, view) : undefined;
}

/** x clip(x + 3, 0, 6) / 6, the division last or on the clipped value. */
const hardSwishRules: readonly Rule[] = [
  ...sixthOf({ op: ["Mul"], inputs: [clipped, "any"], commutative: true, single: true }).map(
    (pattern): Rule => ({
      name: "hard-swish",
      pattern,
      replace(match, view) {
        const [root, product, clip, add] = match.nodes;
        const x = clippedInput(clip, add, view);
        const both = scaledBy(root, 1 / 6, view) === product.outputs[0] && product.inputs.includes(x ?? "");
        return both ? activation("HardSwish", x, match, view) : undefined;
      },
    }),
  ),
  ...sixthOf(clipped).map(
    (sixth): Rule => ({
      name: "hard-swish-of-sigmoid",
      pattern: { op: ["Mul"], inputs: [sixth, "any"], commutative: true },
      replace(match, view) {
        const [root, scale, clip, add] = match.nodes;
        const x = clippedInput(clip, add, view);
        const both = scaledBy(scale, 1 / 6, view) === clip.outputs[0] && root.inputs.includes(x ?? "");
        return both ? activation("HardSwish", x, match, view) : undefined;
      },
    }),
  ),
  {
    name: "hard-swish-of-hard-sigmoid",
    pattern: { op: ["Mul"], inputs: [{ op: ["HardSigmoid"], inputs: ["any"], single: true }, "any"], commutative: true },
    replace(match, view) {
      const [root, gate] = match.nodes;
      const plain = near(floatAttribute(gate.attributes, "alpha", 0.2), 1 / 6) && floatAttribute(gate.attributes, "beta", 0.5) === 0.5;
      return plain && root.inputs.includes(gate.inputs[0]) ? activation("HardSwish", gate.inputs[0], match, view) : undefined;
    },
  },
];

/** erf(x / sqrt 2) + 1. */
const erfPlusOne: Pattern = either("Add", { op: ["Erf"], inputs: [{ op: ["Div", "Mul"], single: true }], single: true }, "constant");

/** The x of erf(x / sqrt 2) + 1, given its three nodes. */
function erfInput(add: Node, erf: Node, scale: Node, view: View): string | undefined {
  return shiftedBy(add, 1, view) === erf.outputs[0] ? scaledBy(scale, Math.SQRT1_2, view) : undefined;
}

/** x / 2 (1 + erf(x / sqrt 2)), the half first, last or in between. */
const geluRules: readonly Rule[] = [
  {
    name: "gelu-half-last",
    pattern: { op: ["Mul", "Div"], inputs: [either("Mul", erfPlusOne)], commutative: true },
    replace(match, view) {
      const [root, product, add, erf, scale] = match.nodes;
      const x = erfInput(add, erf, scale, view);
      const whole = scaledBy(root, 0.5, view) === product.outputs[0] && product.inputs.includes(x ?? "");
      return whole ? activation("Gelu", x, match, view) : undefined;
    },
  },
  {
    name: "gelu-half-first",
    pattern: { op: ["Mul"], inputs: [erfPlusOne, { op: ["Mul", "Div"], single: true }], commutative: true },
    replace(match, view) {
      const [, add, erf, scale, half] = match.nodes;
      const x = erfInput(add, erf, scale, view);
      return x !== undefined && scaledBy(half, 0.5, view) === x ? activation("Gelu", x, match, view) : undefined;
    },
  },
  {
    name: "gelu-half-between",
    pattern: { op: ["Mul"], inputs: [{ op: ["Mul", "Div"], inputs: [erfPlusOne], commutative: true, single: true }], commutative: true },
    replace(match, view) {
      const [root, half, add, erf, scale] = match.nodes;
      const x = erfInput(add, erf, scale, view);
      const whole = scaledBy(half, 0.5, view) === add.outputs[0] && root.inputs.includes(x ?? "");
      return whole ? activation("Gelu", x, match, view) : undefined;
    },
  },
];

/** x sigmoid(x) and x tanh(softplus(x)). */
const gatedRules: readonly Rule[] = [
  {
    name: "swish",
    pattern: { op: ["Mul"], inputs: [{ op: ["Sigmoid"], single: true }, "any"], commutative: true },
    replace(match, view) {
      const [gate, x] = [match.nodes[1], match.inputs[1]];
      return gate.inputs[0] === x ? activation("Swish", x, match, view) : undefined;
    },
  },
  {
    name: "mish",
    pattern: {
      op: ["Mul"],
      inputs: [{ op: ["Tanh"], inputs: [{ op: ["Softplus"], single: true }], single: true }, "any"],
      commutative: true,
    },
    replace(match, view) {
      const [softplus, x] = [match.nodes[2], match.inputs[1]];
      return softplus.inputs[0] === x ? activation("Mish", x, match, view) : undefined;
    },
  },
];

export const activationRules: readonly Rule[] = [...hardSwishRules, ...geluRules, ...gatedRules];
