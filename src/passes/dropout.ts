/**
 * Dropout that an exporter left in the graph at rate 0. With random numbers from 0 to below 1, floor(random + 1) is 1 and random >= 0 is
 * true whatever they are.
 */
import { floatAttribute, isStatic, type Node } from "../graph/graph.js";
import { elementCount, fromNumbers } from "../graph/tensor.js";
import type { Match, Patch, Pattern, Rule, View } from "./rewrite.js";
import { uniformValue } from "./values.js";

const random: Pattern = { op: ["RandomUniform", "RandomUniformLike"] };
const sum: Pattern = { op: ["Add"], inputs: [random, "constant"], commutative: true };

const fromZeroToOne = ({ attributes }: Node): boolean =>
  floatAttribute(attributes, "low", 0) === 0 && floatAttribute(attributes, "high", 1) === 1;

/** What a sum adds to its random numbers, if that is one value everywhere. */
function added(node: Node, random: Node, view: View): number | undefined {
  const other = node.inputs.find((input) => !random.outputs.includes(input)) ?? "";
  return fromZeroToOne(random) ? uniformValue(view.constant(other)) : undefined;
}

function isOfShape(value: string, other: string, view: View): boolean {
  const [left, right] = [view.type(value), view.type(other)];
  return isStatic(left) && isStatic(right) && left.shape.join() === right.shape.join();
}

/** A value that is the same everywhere, in place of the match's. */
function everywhere({ root }: Match, value: number, view: View): Patch | undefined {
  const type = view.type(root.outputs[0]);
  if (!isStatic(type)) return undefined;
  const name = view.fresh(`${root.name}/value`);
  const tensor = fromNumbers(type.dtype, type.shape, new Array<number>(elementCount(type.shape)).fill(value));
  return { alias: [root.outputs[0], name], constants: new Map([[name, tensor]]) };
}

export const dropoutRules: readonly Rule[] = [
  {
    name: "random-from-zero",
    pattern: sum,
    replace({ root, nodes: [, source] }, view) {
      return isOfShape(source.outputs[0], root.outputs[0], view) && added(root, source, view) === 0
        ? { alias: [root.outputs[0], source.outputs[0]] }
        : undefined;
    },
  },
  {
    name: "floor-of-random",
    pattern: { op: ["Floor"], inputs: [sum] },
    replace(match, view) {
      const [, inner, source] = match.nodes;
      const offset = added(inner, source, view);
      return offset !== undefined && Number.isInteger(offset) ? everywhere(match, offset, view) : undefined;
    },
  },
  {
    name: "random-against-a-bound",
    pattern: { op: ["GreaterOrEqual", "Less"], inputs: [random, "constant"] },
    replace(match, view) {
      const { root, nodes } = match;
      const bound = uniformValue(view.constant(root.inputs[1]));
      if (bound === undefined || !fromZeroToOne(nodes[1]) || (bound > 0 && bound < 1)) return undefined;
      return everywhere(match, Number((root.op === "Less") === bound >= 1), view);
    },
  },
  {
    name: "chosen-everywhere",
    pattern: { op: ["Where"], inputs: ["constant"] },
    replace({ root }, view) {
      const choice = uniformValue(view.constant(root.inputs[0]));
      const chosen = root.inputs[choice === 0 ? 2 : 1];
      return choice !== undefined && isOfShape(chosen, root.outputs[0], view) ? { alias: [root.outputs[0], chosen] } : undefined;
    },
  },
];
