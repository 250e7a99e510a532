/**
 * Batches in parts. A segment of the graph runs for some items of the batch after the other, so that its values, which are small then, stay
 * on chip. What enters or leaves a segment is a window of the whole value: the same memory, seen from an item on.
 */
import { type Graph, type Node, staticType } from "../graph/graph.js";
import { recordOf, useOf } from "../operators/index.js";
import type { OperatorRecord } from "../operators/record.js";

/** Nodes [first, end) that run for `items` items of the batch at a time. */
export interface Segment {
  readonly first: number;
  readonly end: number;
  readonly items: number;
}

/** A value that is items [start, start + size) of another. */
export interface Window {
  readonly of: string;
  readonly start: number;
  readonly size: number;
}

export interface WindowedGraph {
  /** With a copy of each segment's nodes for each of its windows, under the same names. */
  readonly graph: Graph;
  readonly windows: ReadonlyMap<string, Window>;
  /** The value of the original graph that each renamed value is a part of. */
  readonly wholes: ReadonlyMap<string, string>;
  /** Positions of the segments' copies in the new graph, and how many windows each has. */
  readonly segments: readonly (Segment & { readonly windows: number })[];
}

/** Movements that keep the items of a batch apart, given that each gives as many items as it takes. */
const SEPARABLE_MOVEMENTS: ReadonlySet<string> = new Set(["Concat", "Transpose", "Resize", "DepthToSpace", "SpaceToDepth", "Pad"]);

/** The batch that a node works on: the first extent of its output. 1 where there is none. */
export function batchOf(graph: Graph, node: Node): number {
  const { shape } = staticType(graph, node.outputs[0]);
  return shape.length < 2 ? 1 : shape[0];
}

/** The inputs that an item of the node's outputs sees only its own item of; undefined where items can't be told apart. */
export function batchedInputs(graph: Graph, node: Node): ReadonlySet<number> | undefined {
  const batch = batchOf(graph, node);
  const record = recordOf(node.op, node.domain);
  const outputs = node.outputs.filter((name) => name !== "").map((name) => staticType(graph, name).shape);
  if (batch < 2 || !record?.lowering || outputs.some((shape) => shape.length < 2 || shape[0] !== batch)) return undefined;
  const rank = outputs[0].length;
  const batched = new Set<number>();
  for (const [index, name] of node.inputs.entries()) {
    if (name === "") continue;
    const sees = seesItems(graph, node, record, index, batch, rank);
    if (sees === undefined) return undefined;
    if (!sees) continue;
    if (graph.constants.has(name)) return undefined;
    batched.add(index);
  }
  return batched.size > 0 ? batched : undefined;
}

/** Whether an input has the batch in front (true), is the same for all items (false), or neither (undefined). */
function seesItems(graph: Graph, node: Node, record: OperatorRecord, index: number, batch: number, rank: number): boolean | undefined {
  const { shape } = staticType(graph, node.inputs[index]);
  const first = shape[0] === batch;
  const broadcast = () => (shape.length === rank && shape[0] !== 1 ? first || undefined : shape.length <= rank ? false : undefined);
  const { lowering } = record;
  if (index >= record.maxInputs) return broadcast();
  switch (lowering?.kind) {
    case "convolution":
    case "pool":
      return index === 0 ? first || undefined : graph.constants.has(node.inputs[index]) ? false : undefined;
    case "pointwise":
      return broadcast();
    case "matmul":
      if (graph.constants.has(node.inputs[index])) return index === 1 && shape.length === 2 ? false : undefined;
      return shape.length === rank && (index === 0 || rank > 2) ? first || undefined : undefined;
    case "reduce": {
      const axes = lowering.axes(useOf(graph, node));
      return index > 0 ? false : first && !axes.some((axis) => axis === 0 || axis === -shape.length) ? true : undefined;
    }
    case "softmax": {
      const axis = lowering.axis(useOf(graph, node));
      return axis === 0 || axis === -shape.length ? undefined : first || undefined;
    }
    case "movement":
      if (record.parameters?.includes(index)) return false;
      return first && movesWithinItems(graph, node, record, batch) ? true : undefined;
    case undefined:
      return undefined;
  }
}

/** Whether a movement of one item alone gives one item: it touches no other. */
function movesWithinItems(graph: Graph, node: Node, record: OperatorRecord, batch: number): boolean {
  if (!SEPARABLE_MOVEMENTS.has(node.op)) return false;
  const use = useOf(graph, node);
  const permutation = use.attributes.perm;
  if (permutation?.type === "ints" && permutation.value[0] !== 0) return false;
  const inputs = use.inputs.map((type, index) =>
    type?.shape?.[0] === batch && !record.parameters?.includes(index) ? { ...type, shape: [1, ...type.shape.slice(1)] } : type,
  );
  return record.infer({ ...use, inputs })[0]?.shape?.[0] === 1;
}

/** The graph with its segments' nodes once for each window. Segments are in order and do not overlap; their nodes are separable. */
export function splitBatch(graph: Graph, segments: readonly Segment[]): WindowedGraph {
  const nodes: Node[] = [];
  const types = new Map(graph.types);
  const windows = new Map<string, Window>();
  const wholes = new Map<string, string>();
  const placed: (Segment & { windows: number })[] = [];
  let done = 0;
  for (const segment of segments) {
    nodes.push(...graph.nodes.slice(done, segment.first));
    done = segment.end;
    const own = graph.nodes.slice(segment.first, segment.end).map((node) => ({ node, batched: batchedInputs(graph, node) }));
    const crossing = crossingValues(graph, segment);
    const batch = batchOf(graph, own[0].node);
    const first = nodes.length;
    for (let start = 0; start < batch; start += segment.items) {
      const size = Math.min(segment.items, batch - start);
      const rename = (name: string) => {
        const renamed = `${name}@${start}+${size}`;
        const { dtype, shape } = staticType(graph, name);
        types.set(renamed, { dtype, shape: [size, ...shape.slice(1)] });
        wholes.set(renamed, name);
        if (crossing.has(name)) windows.set(renamed, { of: name, start, size });
        return renamed;
      };
      for (const { node, batched } of own) {
        if (!batched) throw new Error(`${node.name}: its items can't be told apart`);
        const inputs = node.inputs.map((name, index) => (batched.has(index) ? rename(name) : name));
        nodes.push({ ...node, inputs, outputs: node.outputs.map((name) => (name === "" ? name : rename(name))) });
      }
    }
    placed.push({ first, end: nodes.length, items: segment.items, windows: Math.ceil(batch / segment.items) });
  }
  nodes.push(...graph.nodes.slice(done));
  return { graph: { ...graph, nodes, types }, windows, wholes, segments: placed };
}

/** Values made on one side of a segment's border and used on the other. */
function crossingValues(graph: Graph, { first, end }: Segment): Set<string> {
  const made = new Set<string>();
  const crossing = new Set<string>();
  for (const node of graph.nodes.slice(first, end)) {
    for (const input of node.inputs) if (!made.has(input)) crossing.add(input);
    for (const output of node.outputs) made.add(output);
  }
  for (const node of [...graph.nodes.slice(0, first), ...graph.nodes.slice(end)]) {
    for (const input of node.inputs) if (made.has(input)) crossing.add(input);
  }
  for (const output of graph.outputs) if (made.has(output)) crossing.add(output);
  return crossing;
}
