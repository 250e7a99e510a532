/**
 * Dropout that an exporter left in the graph at rate 0: floor(random + 1), with random numbers from 0 to below 1, is 1 whatever they are.
 */
import { floatAttribute, isStatic, type Node } from "../graph/graph.js";
import { elementCount, fromNumbers } from "../graph/tensor.js";
import type { Pattern, Rule, View } from "./rewrite.js";
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

export const dropoutRules: readonly Rule[] = [
  {
    name: "random-from-zero",
    pattern: sum,
    replace({ root, nodes: [, source] }, view) {
      const [from, to] = [source.outputs[0], root.outputs[0]].map((value) => view.type(value));
      const isSame = isStatic(from) && isStatic(to) && from.shape.join() === to.shape.join();
      return isSame && added(root, source, view) === 0 ? { alias: [root.outputs[0], source.outputs[0]] } : undefined;
    },
  },
  {
    name: "floor-of-random",
    pattern: { op: ["Floor"], inputs: [sum] },
    replace({ root, nodes: [, inner, source] }, view) {
      const [type, offset] = [view.type(root.outputs[0]), added(inner, source, view)];
      if (!isStatic(type) || offset === undefined || !Number.isInteger(offset)) return undefined;
      const name = view.fresh(`${root.name}/value`);
      const tensor = fromNumbers(type.dtype, type.shape, new Array<number>(elementCount(type.shape)).fill(offset));
      return { alias: [root.outputs[0], name], constants: new Map([[name, tensor]]) };
    },
  },
];
