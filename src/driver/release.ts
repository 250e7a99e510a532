/** Letting go of a model's file: constants are views of it, and one that is left keeps all of it in memory. */
import type { Graph } from "../graph/graph.js";
import type { Tensor } from "../graph/tensor.js";

/** The same graph, with constants copied out of buffers of which they use less than half. */
export function releaseBuffers(graph: Graph): Graph {
  const used = new Map<ArrayBufferLike, number>();
  for (const { data } of graph.constants.values()) {
    if (!Array.isArray(data)) used.set(data.buffer, (used.get(data.buffer) ?? 0) + data.byteLength);
  }
  const release = (tensor: Tensor): Tensor => {
    const { data } = tensor;
    if (Array.isArray(data) || 2 * (used.get(data.buffer) ?? 0) >= data.buffer.byteLength) return tensor;
    return { ...tensor, data: data.slice() };
  };
  return { ...graph, constants: new Map([...graph.constants].map(([name, tensor]) => [name, release(tensor)])) };
}
