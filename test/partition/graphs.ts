/** Small graphs for the tests of the partition. */
import type { Graph, Node, TensorType } from "../../src/graph/graph.js";
import type { Reason } from "../../src/operators/record.js";

export const refused: Reason = { rule: "no-lowering", subject: "op", value: "Test", nearest: "" };

/** A node `name` of operator `op` that reads values and makes one value, `name` in lower case. */
export function node(name: string, inputs: readonly string[], more: Partial<Node> = {}): Node {
  return { name, op: "Relu", domain: "", inputs, outputs: [name.toLowerCase()], attributes: {}, origins: [name], ...more };
}

/** Every value is a float32 of `shape`; the outputs are the values that nothing reads. */
export function graphOf(nodes: readonly Node[], shape: readonly number[] = [4], constants: Graph["constants"] = new Map()): Graph {
  const made = new Set(nodes.flatMap((each) => each.outputs));
  const read = new Set(nodes.flatMap((each) => each.inputs));
  const inputs = [...read].filter((value) => !made.has(value) && !constants.has(value));
  const types = new Map<string, TensorType>([...inputs, ...made].map((value) => [value, { dtype: "float32", shape }]));
  for (const [name, { dtype, shape: own }] of constants) types.set(name, { dtype, shape: own });
  return { name: "test", inputs, outputs: [...made].filter((value) => !read.has(value)), nodes, types, constants };
}

/** Verdicts that refuse the named nodes. */
export function verdictsOf(graph: Graph, cpu: Iterable<string>): Map<string, Reason | undefined> {
  const names = new Set(cpu);
  return new Map(graph.nodes.map((each) => [each.name, names.has(each.name) ? refused : undefined]));
}
