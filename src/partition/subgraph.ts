/** Cuts groups of nodes out of a graph as graphs of their own. */
import { capturedValues, type Graph, type Node, type TensorType } from "../graph/graph.js";
import type { Tensor } from "../graph/tensor.js";

/**
 * The graph of some of `graph`'s nodes (in the graph's order). Its inputs are the run-time values from outside in order of first use,
 * its outputs those of its values that `isNeeded` outside, in order of making; the constants that it needs are in it.
 */
export function cut(graph: Graph, name: string, nodes: readonly Node[], isNeeded: (value: string) => boolean): Graph {
  const inputs = new Set<string>();
  const made = new Set<string>();
  const constants = new Map<string, Tensor>();
  const types = new Map<string, TensorType>();
  for (const node of nodes) {
    for (const value of [...node.inputs, ...capturedValues(node)]) {
      if (value === "" || made.has(value)) continue;
      const constant = graph.constants.get(value);
      if (constant) constants.set(value, constant);
      else inputs.add(value);
    }
    for (const value of node.outputs) if (value !== "") made.add(value);
  }
  for (const value of [...inputs, ...constants.keys(), ...made]) {
    const type = graph.types.get(value);
    if (type) types.set(value, type);
  }
  return { name, inputs: [...inputs], outputs: [...made].filter(isNeeded), nodes, types, constants };
}
