/** Tensors without elements: what they hold is known before they are computed. */
import { type Graph, isStatic, type Node } from "../graph/graph.js";
import { allocateData, elementCount, int64Tensor, type Tensor } from "../graph/tensor.js";
import { isKept, type NormaliseOptions } from "./options.js";
import { FreshNames, renameReads, withoutDead } from "./values.js";

/** The graph with its empty values, inputs too, as constants, and without the parts of Split and Concat that are empty. */
export function withoutEmpty(graph: Graph, options: NormaliseOptions): Graph {
  const kept = new Set(graph.nodes.filter((node) => isKept(node, options)));
  const made = graph.nodes.flatMap((node) => (kept.has(node) ? [] : node.outputs));
  const found = new Map(
    [...graph.inputs, ...made].flatMap((name): [string, Tensor][] => {
      const type = graph.types.get(name);
      if (!isStatic(type) || elementCount(type.shape) > 0) return [];
      return [[name, { ...type, data: allocateData(type.dtype, 0) }]];
    }),
  );
  const read = new Set(graph.nodes.flatMap((node) => node.inputs));
  if (![...found.keys()].some((name) => read.has(name) || !graph.inputs.includes(name))) return graph;
  const names = new FreshNames(graph);
  const constants = new Map(graph.constants);
  const types = new Map(graph.types);
  const define = (name: string, tensor: Tensor): string => {
    constants.set(name, tensor);
    types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  };
  const inputs = new Map(
    [...found].flatMap(([name, tensor]) => (graph.inputs.includes(name) ? [[name, define(names.next(`${name}/empty`), tensor)]] : [])),
  );
  for (const [name, tensor] of found) if (!inputs.has(name)) define(name, tensor);
  const isEmpty = (name: string) => found.has(name) || graph.constants.get(name)?.data.length === 0;
  const change = (node: Node): Node => {
    if (kept.has(node)) return node;
    const whole = node.outputs.filter((output) => !found.has(output));
    if (node.op === "Split" && node.domain === "" && whole.length > 0 && whole.length < node.outputs.length) {
      const { num_outputs: _, ...attributes } = node.attributes;
      const sizes = partSizes(graph, node, whole);
      return { ...node, attributes, inputs: [node.inputs[0], define(names.next(`${node.name}/sizes`), sizes)], outputs: whole };
    }
    const outputs = node.outputs.map((output) => (found.has(output) ? "" : output));
    const parts = node.op === "Concat" && node.domain === "" ? node.inputs.filter((input) => !isEmpty(input)) : [];
    return { ...node, outputs, inputs: parts.length > 0 ? parts : node.inputs };
  };
  const nodes = graph.nodes.map((node) => renameReads(change(node), inputs));
  return withoutDead({ ...graph, nodes, constants, types });
}

/** Of the parts of a Split: static, since one of them is known to be empty. */
function partSizes(graph: Graph, { attributes, outputs }: Node, parts: readonly string[]): Tensor {
  const shapes = parts.map((part) => graph.types.get(part)?.shape ?? []);
  const axis = attributes.axis?.type === "int" ? attributes.axis.value : 0;
  const sizes = shapes.map((shape) => shape.at(axis));
  return int64Tensor(
    [sizes.length],
    sizes.map((size) => {
      if (typeof size !== "number") throw new Error(`${outputs[0]}: a part of a split with an open extent beside an empty one`);
      return size;
    }),
  );
}
