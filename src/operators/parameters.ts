/** Inputs of a model that say what to do rather than give data: axes, shapes, scales. */
import { capturedValues, type Graph } from "../graph/graph.js";
import { recordOf } from "./registry.js";

/**
 * The inputs that only parameters of operators come from (`parameters` of their records), directly or by way of other nodes. Fixed
 * at compile time, they leave nothing that depends on a run.
 */
export function parameterInputs(graph: Graph): string[] {
  const data = new Set(graph.outputs);
  for (const node of graph.nodes.toReversed()) {
    const isData = node.outputs.some((output) => data.has(output));
    const parameters = new Set(recordOf(node.op, node.domain)?.parameters);
    node.inputs.forEach((input, index) => {
      if (isData && !parameters.has(index)) data.add(input);
    });
    if (isData) for (const value of capturedValues(node)) data.add(value);
  }
  return graph.inputs.filter((input) => !data.has(input));
}
