/**
 * Batches in parts. A segment of the graph runs for some items of the batch after the other, so that its values, which are small then, stay
 * on chip. What enters or leaves a segment is a window of the whole value: the same memory, seen from an item on.
 */
import { type Graph, type Node, staticType } from "../graph/graph.js";
import { batchedInputs, batchOf } from "./items.js";

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

/** For each node whose items can be told apart, by its name, the inputs that have items. */
export function batchedOfNodes(graph: Graph): Map<string, ReadonlySet<number>> {
  return new Map(
    graph.nodes.flatMap((node) => {
      const batched = batchedInputs(graph, node);
      return batched ? [[node.name, batched] as const] : [];
    }),
  );
}

/** The graph with its segments' nodes once for each window. Segments are in order and do not overlap; their nodes are separable. */
export function splitBatch(
  graph: Graph,
  segments: readonly Segment[],
  batchedOf: ReadonlyMap<string, ReadonlySet<number>> = batchedOfNodes(graph),
): WindowedGraph {
  const nodes: Node[] = [];
  const types = new Map(graph.types);
  const windows = new Map<string, Window>();
  const wholes = new Map<string, string>();
  const placed: (Segment & { windows: number })[] = [];
  let done = 0;
  for (const segment of segments) {
    nodes.push(...graph.nodes.slice(done, segment.first));
    done = segment.end;
    const own = graph.nodes.slice(segment.first, segment.end).map((node) => ({ node, batched: batchedOf.get(node.name) }));
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
