/**
 * Operators in parts: the output channels of one with many weights may be made by several cores. Each channel's sum stays whole, so that no bit
 * depends on it.
 */
import { type EpilogueStep, type Graph, type Node, type StaticType, staticType, type TensorType } from "../graph/graph.js";
import { elementCount, int64Tensor, type Tensor, viewOf } from "../graph/tensor.js";
import { FreshNames } from "../passes/values.js";

/** Output channels [start, start + count) of a node that has `of` of them. */
export interface Channels {
  readonly start: number;
  readonly count: number;
  readonly of: number;
}

/** A node, or some of its channels. */
export interface Part {
  readonly node: Node;
  readonly channels?: Channels;
}

/** How much of its node a part is. */
export function shareOf({ channels }: Part): number {
  return channels ? channels.count / channels.of : 1;
}

/** Where the output channels of dense operators lie: the axis of their constant weights (input 1), and that of their output, from its end or start. */
const channelAxes: Readonly<Record<string, { readonly weights: number; readonly output: (rank: number) => number }>> = {
  MatMul: { weights: 1, output: (rank) => rank - 1 },
  Conv: { weights: 0, output: () => 1 },
};

/** The inputs of a node's own operator; those beyond are its epilogue's. */
const OWN_INPUTS = 3;

/**
 * A node in parts of whole tiles of channels: at least so many as make each part of `bytes` have at most `limit`, if it has so many tiles. The node
 * itself where it can't be divided.
 */
export function partsOf(graph: Graph, node: Node, bytes: number, limit: number, tile: number): Part[] {
  const axes = channelAxes[node.op];
  const weights = graph.constants.get(node.inputs[1] ?? "");
  if (!axes || !weights || bytes <= limit) return [{ node }];
  const { shape } = staticType(graph, node.outputs[0]);
  const of = weights.shape[axes.weights];
  if (shape[axes.output(shape.length)] !== of || node.outputs.length !== 1) return [{ node }];
  const tiles = Math.ceil(of / tile);
  const count = Math.min(tiles, Math.ceil(bytes / limit));
  const begin = (index: number) => Math.min(of, tile * Math.floor((index * tiles) / count));
  return Array.from({ length: count }, (_, index) => ({
    node,
    channels: { start: begin(index), count: begin(index + 1) - begin(index), of },
  }));
}

/** Parts of the same node that follow one another, as one. */
export function joined(parts: readonly Part[]): Part[] {
  const result: Part[] = [];
  for (const part of parts) {
    const last = result[result.length - 1];
    if (!last?.channels || !part.channels || last.node !== part.node) {
      result.push(part);
      continue;
    }
    const { start, count, of } = last.channels;
    result[result.length - 1] = whole({ node: part.node, channels: { start, count: count + part.channels.count, of } });
  }
  return result;
}

function whole(part: Part): Part {
  return part.channels?.count === part.channels?.of ? { node: part.node } : part;
}

/** A graph in which some nodes are divided, with the nodes that replace each part. */
export interface Divided {
  readonly graph: Graph;
  readonly nodesOf: (part: Part) => readonly Node[];
  /** What makes the value of a divided node from those of its parts, in the order of their channels. */
  readonly joins: ReadonlyMap<Node, Node>;
}

/** Replaces the nodes that `parts` divides by their parts; a node that reads the whole value finds it under its own name, behind its join. */
export function divide(graph: Graph, parts: readonly Part[]): Divided {
  const types = new Map<string, TensorType>(graph.types);
  const constants = new Map<string, Tensor>(graph.constants);
  const builder = new PartBuilder(graph, types, constants);
  const made = new Map<Part, readonly Node[]>();
  const joins = new Map<Node, Node>();
  const owned = dividedNodes(parts);
  for (const [node, own] of owned) {
    const nodes = own.map((part) => builder.partNodes(node, part.channels!));
    for (const [index, part] of own.entries()) made.set(part, nodes[index]);
    joins.set(
      node,
      builder.join(
        node,
        nodes.map((list) => list[list.length - 1].outputs[0]),
      ),
    );
  }
  const nodes = graph.nodes.flatMap((node) => {
    const join = joins.get(node);
    return join ? [...(owned.get(node) ?? []).flatMap((part) => made.get(part) ?? []), join] : [node];
  });
  return { graph: { ...graph, nodes, types, constants }, nodesOf: (part) => made.get(part) ?? [part.node], joins };
}

/** Of each divided node its parts, in the order of their channels. */
function dividedNodes(parts: readonly Part[]): Map<Node, Part[]> {
  const result = new Map<Node, Part[]>();
  for (const part of parts) if (part.channels) result.set(part.node, [...(result.get(part.node) ?? []), part]);
  for (const own of result.values()) own.sort((a, b) => a.channels!.start - b.channels!.start);
  return result;
}

class PartBuilder {
  readonly #graph: Graph;
  readonly #types: Map<string, TensorType>;
  readonly #constants: Map<string, Tensor>;
  readonly #names: FreshNames;

  constructor(graph: Graph, types: Map<string, TensorType>, constants: Map<string, Tensor>) {
    this.#graph = graph;
    this.#types = types;
    this.#constants = constants;
    this.#names = new FreshNames(graph);
  }

  /** The node for some channels, behind what takes those channels out of its epilogue's operands. */
  partNodes(node: Node, channels: Channels): Node[] {
    const { weights, output } = channelAxes[node.op];
    const { dtype, shape } = staticType(this.#graph, node.outputs[0]);
    const axis = output(shape.length);
    const slices: Node[] = [];
    const inputs = node.inputs.map((input, index) => {
      if (index === 0 || input === "") return input;
      if (index === 1) return this.#slicedConstant(input, weights, channels);
      const own = staticType(this.#graph, input).shape;
      const at = isOwn(node.epilogue, index) ? 0 : axis - (shape.length - own.length);
      if (own[at] !== channels.of || at < 0) return input;
      if (this.#graph.constants.has(input)) return this.#slicedConstant(input, at, channels);
      const slice = this.#slice(node, input, at, channels);
      slices.push(slice);
      return slice.outputs[0];
    });
    const result = this.#value(`${node.outputs[0]}/${channels.start}`, { dtype, shape: withExtent(shape, axis, channels.count) });
    return [...slices, { ...node, name: this.#names.next(`${node.name}/${channels.start}`), inputs, outputs: [result] }];
  }

  join(node: Node, values: readonly string[]): Node {
    const rank = staticType(this.#graph, node.outputs[0]).shape.length;
    return {
      name: this.#names.next(`${node.name}/join`),
      op: "Concat",
      domain: "",
      inputs: values,
      outputs: node.outputs,
      attributes: { axis: { type: "int", value: channelAxes[node.op].output(rank) } },
      origins: [],
    };
  }

  /** The name of a new value. */
  #value(wanted: string, type: StaticType): string {
    const name = this.#names.next(wanted);
    this.#types.set(name, type);
    return name;
  }

  #constant(wanted: string, tensor: Tensor): string {
    const name = this.#value(wanted, { dtype: tensor.dtype, shape: tensor.shape });
    this.#constants.set(name, tensor);
    return name;
  }

  #slicedConstant(name: string, axis: number, channels: Channels): string {
    const tensor = this.#graph.constants.get(name);
    if (!tensor) throw new Error(`${name} is no constant`);
    return this.#constant(`${name}/${channels.start}`, sliced(tensor, axis, channels));
  }

  #slice(node: Node, input: string, axis: number, channels: Channels): Node {
    const { dtype, shape } = staticType(this.#graph, input);
    const name = this.#value(`${node.name}/${channels.start}/${input}`, { dtype, shape: withExtent(shape, axis, channels.count) });
    const bounds = [channels.start, channels.start + channels.count, axis].map((value, index) =>
      this.#constant(`${name}/${["start", "end", "axis"][index]}`, int64Tensor([1], [value])),
    );
    return { name, op: "Slice", domain: "", inputs: [input, ...bounds], outputs: [name], attributes: {}, origins: [] };
  }
}

/** Whether an input is the operator's own, not one of its epilogue's operands. */
function isOwn(epilogue: readonly EpilogueStep[] | undefined, index: number): boolean {
  return index < OWN_INPUTS && !epilogue?.some(({ operands }) => operands.includes(index));
}

function withExtent(shape: readonly number[], axis: number, extent: number): number[] {
  return shape.map((old, index) => (index === axis ? extent : old));
}

/** Elements [start, start + count) along an axis. */
function sliced({ dtype, shape, data }: Tensor, axis: number, { start, count }: Channels): Tensor {
  if (Array.isArray(data)) throw new Error("strings have no channels");
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const inner = elementCount(shape.slice(axis + 1)) * data.BYTES_PER_ELEMENT;
  const length = count * inner;
  const outer = elementCount(shape.slice(0, axis));
  const result = new Uint8Array(outer * length);
  for (let index = 0; index < outer; index++) {
    const from = (index * shape[axis] + start) * inner;
    result.set(bytes.subarray(from, from + length), index * length);
  }
  return { dtype, shape: withExtent(shape, axis, count), data: viewOf(dtype, result.buffer, 0, result.length) };
}
