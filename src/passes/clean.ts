/** Removes what computes nothing: identities, operators that do nothing for these types, duplicates, dead code. */
import { type Attribute, type Graph, intsAttribute, isStatic, type Node, stringAttribute } from "../graph/graph.js";
import { type Tensor, toNumbers } from "../graph/tensor.js";
import { isKept, type NormaliseOptions } from "./options.js";
import { type Match, type Rule, rewrite, type View } from "./rewrite.js";
import { isDeterministic, readsOf, renameReads, uniformValue, withoutDead } from "./values.js";

function sameType(left: string, right: string, view: View): boolean {
  const [a, b] = [view.type(left), view.type(right)];
  if (!isStatic(a) || !isStatic(b) || a.dtype !== b.dtype) return false;
  return a.shape.length === b.shape.length && a.shape.every((extent, axis) => extent === b.shape[axis]);
}

/** All elements of the input equal `value`; also where the optional input is absent, if `absent` says so. */
function isUniform(value: number, name: string | undefined, view: View, absent: boolean): boolean {
  if (name === undefined || name === "") return absent;
  const constant = view.constant(name);
  return constant !== undefined && constant.dtype !== "string" && toNumbers(constant).every((element) => element === value);
}

type Condition = (match: Match, view: View) => boolean;

/** A rule for nodes whose first output equals input `source` under a condition. */
function passThrough(name: string, op: readonly string[], condition: Condition): Rule {
  return {
    name,
    pattern: { op },
    replace(match, view) {
      const { root } = match;
      const alone = root.outputs.slice(1).every((output) => output === "" || (view.useCount(output) === 0 && !view.isOutput(output)));
      return alone && condition(match, view) ? { alias: [root.outputs[0], root.inputs[0]] } : undefined;
    },
  };
}

const unchangedType: Condition = ({ root }, view) => sameType(root.inputs[0], root.outputs[0], view);

const neutral: Readonly<Record<string, number>> = { Mul: 1, Div: 1, Sub: 0, Pow: 1 };

/** x op c where every element of c is the operator's neutral one. The sum is left out: it turns -0 into 0. */
const neutralOperand: Rule = {
  name: "neutral-operand",
  pattern: { op: Object.keys(neutral), inputs: ["any", "constant"], commutative: true },
  replace({ root, inputs }, view) {
    if (root.op !== "Mul" && inputs[0] !== root.inputs[0]) return undefined;
    const constant = view.constant(inputs[1]);
    if (uniformNumber(constant) !== neutral[root.op] || !sameType(inputs[0], root.outputs[0], view)) return undefined;
    return { alias: [root.outputs[0], inputs[0]] };
  },
};

function uniformNumber(tensor: Tensor | undefined): number | undefined {
  return tensor?.dtype === "float32" || tensor?.dtype === "float64" ? uniformValue(tensor) : undefined;
}

export const cleanRules: readonly Rule[] = [
  passThrough("identity", ["Identity"], () => true),
  passThrough("dropout", ["Dropout"], ({ root }, view) => isUniform(0, root.inputs[2], view, true)),
  passThrough("same-type-cast", ["Cast", "CastLike"], ({ root }, view) => {
    const [from, to] = [view.type(root.inputs[0]), view.type(root.outputs[0])];
    return from !== undefined && from.dtype === to?.dtype;
  }),
  passThrough("same-shape", ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"], unchangedType),
  passThrough("transpose-in-place", ["Transpose"], ({ root }) => {
    const permutation = intsAttribute(root.attributes, "perm");
    return permutation?.every((axis, index) => axis === index) ?? false;
  }),
  passThrough("empty-pad", ["Pad"], ({ root }, view) => {
    const mode = stringAttribute(root.attributes, "mode", "constant");
    return mode !== "wrap" && isUniform(0, root.inputs[1], view, false);
  }),
  passThrough("whole-slice", ["Slice"], (match, view) => isUniform(1, match.root.inputs[4], view, true) && unchangedType(match, view)),
  passThrough("one-operand", ["Concat", "Sum", "Max", "Min", "Mean"], ({ root }) => root.inputs.length === 1),
  passThrough("one-part-split", ["Split"], ({ root }) => root.outputs.length === 1),
  neutralOperand,
];

function numberKey(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function attributeKey(attribute: Attribute): string | undefined {
  if (attribute.type === "tensor" || attribute.type === "graph") return undefined;
  // JSON alone would take -0 for 0 and NaN for null.
  return `${attribute.type}:${JSON.stringify(attribute.value, (_, value) => (typeof value === "number" ? numberKey(value) : value))}`;
}

/** Nodes with the same key compute the same; undefined where that can't be told cheaply. */
function nodeKey(node: Node): string | undefined {
  if (node.epilogue !== undefined || !isDeterministic(node)) return undefined;
  const parts = [node.domain, node.op, String(node.outputs.length), ...node.inputs];
  for (const name of Object.keys(node.attributes).sort()) {
    const key = attributeKey(node.attributes[name]);
    if (key === undefined) return undefined;
    parts.push(`${name}=${key}`);
  }
  return parts.join("\u0000");
}

/** Common subexpressions: of nodes that compute the same, the first stays. */
function mergeDuplicateNodes(graph: Graph, options: Pick<NormaliseOptions, "keep">): Graph {
  const outputs = new Set(graph.outputs);
  const names = new Map<string, string>();
  const first = new Map<string, Node>();
  const nodes: Node[] = [];
  for (const original of graph.nodes) {
    const node = names.size > 0 ? renameReads(original, names) : original;
    const key = isKept(node, options) ? undefined : nodeKey(node);
    const same = key === undefined ? undefined : first.get(key);
    const mergeable = same?.outputs.every((output, index) => (output === "") === (node.outputs[index] === ""));
    if (same && mergeable && !node.outputs.some((output) => outputs.has(output))) {
      for (const [index, output] of node.outputs.entries()) if (output !== "") names.set(output, same.outputs[index]);
      continue;
    }
    if (key !== undefined && !same) first.set(key, node);
    nodes.push(node);
  }
  return { ...graph, nodes };
}

function bytesOf(tensor: Tensor): Buffer | undefined {
  const { data } = tensor;
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : undefined;
}

/** Names of constants that repeat an earlier one, with that one's name. Graph outputs keep their own. */
function duplicateConstants(graph: Graph): Map<string, string> {
  const outputs = new Set(graph.outputs);
  const groups = new Map<string, { name: string; bytes: Buffer }[]>();
  const names = new Map<string, string>();
  for (const [name, tensor] of graph.constants) {
    const bytes = bytesOf(tensor);
    if (bytes === undefined || outputs.has(name)) continue;
    const sample = Buffer.concat([bytes.subarray(0, 32), bytes.subarray(-32)]).toString("latin1");
    const key = `${tensor.dtype} ${tensor.shape.join()} ${sample}`;
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    const same = group.find((earlier) => earlier.bytes.equals(bytes));
    if (same) names.set(name, same.name);
    else group.push({ name, bytes });
  }
  return names;
}

function mergeDuplicateConstants(graph: Graph): Graph {
  const names = duplicateConstants(graph);
  if (names.size === 0) return graph;
  return { ...graph, nodes: graph.nodes.map((node) => renameReads(node, names)) };
}

/** Trailing optional outputs that nothing reads are no outputs: Dropout's mask, MaxPool's indices. */
function dropUnusedOutputs(graph: Graph): Graph {
  const used = new Set(graph.outputs);
  for (const node of graph.nodes) for (const input of readsOf(node)) used.add(input);
  const droppable: ReadonlySet<string> = new Set(["Dropout", "MaxPool", "BatchNormalization", "LayerNormalization"]);
  const nodes = graph.nodes.map((node) => {
    if (!droppable.has(node.op)) return node;
    const count = node.outputs.findLastIndex((output, index) => index === 0 || used.has(output)) + 1;
    return count < node.outputs.length ? { ...node, outputs: node.outputs.slice(0, count) } : node;
  });
  return { ...graph, nodes };
}

/** The clean pass. Graph outputs keep their names and types. */
export function clean(graph: Graph, options: Pick<NormaliseOptions, "keep">): Graph {
  const rewritten = rewrite(dropUnusedOutputs(graph), cleanRules, options);
  return withoutDead(mergeDuplicateNodes(mergeDuplicateConstants(rewritten), options));
}
