/** A graph's nodes by number, in the graph's order, and the values between them: what the partitioner's searches run on. */

import { capturedValues, type Graph, isStatic } from "../graph/graph.js";
import { bytesPerElement, elementCount } from "../graph/tensor.js";

/** A run-time value. `producer` is -1 for a graph input. Each consumer stands once. */
export interface Edge {
  readonly value: string;
  /** 0 where the shape is open. */
  readonly bytes: number;
  readonly producer: number;
  readonly consumers: readonly number[];
  readonly isGraphOutput: boolean;
}

export interface Dag {
  readonly count: number;
  readonly edges: readonly Edge[];
  /** By node: the values that it reads, each once, graph inputs included and constants not. */
  readonly reads: readonly (readonly Edge[])[];
  /** By node: the values that it makes. */
  readonly writes: readonly (readonly Edge[])[];
}

/** Bytes of a value as a host holds it; 0 where its shape is open. */
export function valueBytes(graph: Graph, value: string): number {
  const type = graph.types.get(value);
  return isStatic(type) ? bytesPerElement[type.dtype] * elementCount(type.shape) : 0;
}

export function buildDag(graph: Graph): Dag {
  const edges = new Map<string, Edge & { consumers: number[] }>();
  const outputs = new Set(graph.outputs);
  const add = (value: string, producer: number) => {
    const edge = { value, bytes: valueBytes(graph, value), producer, consumers: [], isGraphOutput: outputs.has(value) };
    edges.set(value, edge);
    return edge;
  };
  for (const input of graph.inputs) add(input, -1);
  const writes = graph.nodes.map((node, number) => node.outputs.filter((output) => output !== "").map((output) => add(output, number)));
  const reads = graph.nodes.map((node, number) => {
    const read: Edge[] = [];
    for (const input of new Set([...node.inputs, ...capturedValues(node)])) {
      const edge = edges.get(input);
      if (!edge) continue;
      edge.consumers.push(number);
      read.push(edge);
    }
    return read;
  });
  return { count: graph.nodes.length, edges: [...edges.values()], reads, writes };
}
