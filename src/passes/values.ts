/** Small questions about nodes and values, and renaming, that several passes share. */
import { type Attributes, capturedValues, type Graph, type Node } from "../graph/graph.js";
import { allocateData, elementCount, rowMajorStrides, type Tensor } from "../graph/tensor.js";

/** Operators whose result is not a function of their inputs. */
const randomOperators: ReadonlySet<string> = new Set([
  "Bernoulli",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
]);

/** Whether running the node twice gives the same result; looks into subgraphs. */
export function isDeterministic(node: Node): boolean {
  if (randomOperators.has(node.op)) return false;
  if (node.op === "Dropout" && (node.inputs[2] ?? "") !== "") return false;
  return Object.values(node.attributes).every((attribute) => attribute.type !== "graph" || attribute.value.nodes.every(isDeterministic));
}

/** Everything that a node reads, with what its subgraphs capture. */
export function readsOf(node: Node): string[] {
  const inputs = node.inputs.filter((input) => input !== "");
  for (const attribute of Object.values(node.attributes)) {
    if (attribute.type === "graph") return [...inputs, ...capturedValues(node)];
  }
  return inputs;
}

export function writesOf(node: Node): string[] {
  return node.outputs.filter((output) => output !== "");
}

/** `origins` of several nodes, each once. */
export function mergeOrigins(...lists: readonly (readonly string[])[]): string[] {
  return [...new Set(lists.flat())];
}

/** The one value of a constant all of whose elements are equal bits; undefined for others, strings and empty ones. */
export function uniformValue(tensor: Tensor | undefined): number | undefined {
  if (tensor === undefined || tensor.dtype === "string" || elementCount(tensor.shape) !== tensor.data.length) return undefined;
  const { data } = tensor;
  for (let index = 1; index < data.length; index++) if (!Object.is(data[index], data[0])) return undefined;
  return data.length > 0 && typeof data[0] !== "string" ? Number(data[0]) : undefined;
}

/** Renames what a body takes from outside; names of its own hide outer ones. */
function renameBody(body: Graph, names: ReadonlyMap<string, string>): Graph {
  const visible = new Map(names);
  const hide = (name: string) => visible.delete(name);
  for (const name of [...body.inputs, ...body.constants.keys()]) hide(name);
  for (const node of body.nodes) node.outputs.forEach(hide);
  if (visible.size === 0) return body;
  return {
    ...body,
    nodes: body.nodes.map((node) => renameReads(node, visible)),
    outputs: body.outputs.map((output) => visible.get(output) ?? output),
  };
}

/** The node with the values that it reads renamed, inside its subgraphs too. */
export function renameReads(node: Node, names: ReadonlyMap<string, string>): Node {
  let attributes: Attributes = node.attributes;
  for (const [name, attribute] of Object.entries(node.attributes)) {
    if (attribute.type === "graph") attributes = { ...attributes, [name]: { type: "graph", value: renameBody(attribute.value, names) } };
  }
  return { ...node, attributes, inputs: node.inputs.map((input) => names.get(input) ?? input) };
}

/** Hands out value and node names that the graph doesn't have. */
export class FreshNames {
  private readonly taken: Set<string>;

  constructor(graph: Graph) {
    this.taken = new Set([...graph.inputs, ...graph.outputs, ...graph.constants.keys(), ...graph.types.keys()]);
    for (const node of graph.nodes) {
      this.taken.add(node.name);
      for (const name of [...node.outputs, ...capturedOwnNames(node)]) this.taken.add(name);
    }
  }

  /** `wanted` itself where that is free, else with a number. */
  next(wanted: string): string {
    let name = wanted;
    for (let count = 1; this.taken.has(name); count++) name = `${wanted}_${count}`;
    this.taken.add(name);
    return name;
  }
}

/** Names that a node's subgraphs define: a new outer name must not collide with them. */
function capturedOwnNames(node: Node): string[] {
  const names: string[] = [];
  for (const attribute of Object.values(node.attributes)) {
    if (attribute.type !== "graph") continue;
    const body = attribute.value;
    names.push(...body.inputs, ...body.constants.keys());
    for (const inner of body.nodes) names.push(inner.name, ...inner.outputs, ...capturedOwnNames(inner));
  }
  return names;
}

/** The graph without nodes that nothing needs, and without constants and types of values that are gone. */
export function withoutDead(graph: Graph): Graph {
  const needed = new Set(graph.outputs);
  const nodes: Node[] = [];
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    nodes.push(node);
    for (const value of readsOf(node)) needed.add(value);
  }
  nodes.reverse();
  const constants = new Map([...graph.constants].filter(([name]) => needed.has(name)));
  const present = new Set([...graph.inputs, ...constants.keys(), ...nodes.flatMap(writesOf)]);
  const types = new Map([...graph.types].filter(([name]) => present.has(name)));
  return { ...graph, nodes, constants, types };
}

/** A constant with its axes in another order. */
export function permuted(tensor: Tensor, permutation: readonly number[]): Tensor {
  const shape = permutation.map((axis) => tensor.shape[axis]);
  if (permutation.every((axis, index) => axis === index)) return tensor;
  const strides = rowMajorStrides(tensor.shape);
  const steps = permutation.map((axis) => strides[axis]);
  const count = elementCount(shape);
  const data = allocateData(tensor.dtype, count);
  const source = tensor.data;
  const place = new Array<number>(shape.length).fill(0);
  let from = 0;
  for (let index = 0; index < count; index++) {
    data[index] = source[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += steps[axis];
      if (++place[axis] < shape[axis]) break;
      from -= steps[axis] * shape[axis];
      place[axis] = 0;
    }
  }
  return { dtype: tensor.dtype, shape, data };
}
