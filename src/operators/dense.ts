/** Operators that contract with weights, as the vendor's rules of thumb count them. */
import { type Graph, type Node, staticType } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { recordOf, useOf } from "./index.js";
import type { ConvolutionGeometry } from "./record.js";

export interface DenseWork {
  /** A multiply-add as two; products with padding don't count. */
  readonly flops: number;
  /** Elements of the constants that these operators read, each constant once. */
  readonly weights: number;
}

/** Pairs of an output position and a kernel position along one axis whose input position exists. */
function positionsInside(geometry: ConvolutionGeometry, axis: number, from: number, to: number): number {
  let count = 0;
  for (let tap = 0; tap < geometry.kernel[axis]; tap++) {
    const offset = tap * geometry.dilations[axis] - geometry.padsBegin[axis];
    const first = Math.max(0, Math.ceil(-offset / geometry.strides[axis]));
    const last = Math.min(from - 1, Math.floor((to - 1 - offset) / geometry.strides[axis]));
    count += Math.max(0, last - first + 1);
  }
  return count;
}

function products(graph: Graph, node: Node): number | undefined {
  const lowering = recordOf(node.op, node.domain)?.lowering;
  const weights = graph.constants.get(node.inputs[1]);
  if (!weights) return undefined;
  const out = staticType(graph, node.outputs[0]).shape;
  if (lowering?.kind === "matmul") return elementCount(out) * (weights.shape.at(-2) ?? 1);
  if (lowering?.kind !== "convolution") return undefined;
  const geometry = lowering.geometry(useOf(graph, node));
  const [narrow, wide] = lowering.transposed
    ? [staticType(graph, node.inputs[0]).shape, out]
    : [out, staticType(graph, node.inputs[0]).shape];
  const positions = geometry.kernel.map((_, axis) => positionsInside(geometry, axis, narrow[axis + 2], wide[axis + 2]));
  return positions.reduce((product, count) => product * count, (out[0] * narrow[1] * wide[1]) / geometry.groups);
}

export function denseWork(graph: Graph): DenseWork {
  const constants = new Set<Tensor>();
  let flops = 0;
  for (const node of graph.nodes) {
    const count = products(graph, node);
    if (count === undefined) continue;
    flops += 2 * count;
    for (const input of node.inputs) {
      const constant = graph.constants.get(input);
      if (constant) constants.add(constant);
    }
  }
  return { flops, weights: [...constants].reduce((sum, { shape }) => sum + elementCount(shape), 0) };
}
