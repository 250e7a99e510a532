/** The graph verifier: what every pass must leave true. */
import type { EpilogueStep, Graph, Node, TensorType } from "./graph.js";
import { allocateData, elementCount, type Tensor } from "./tensor.js";

/** Faults of a graph, empty if it is well formed. Each line names the graph, the node or value, and what is wrong. */
export function verifyGraph(graph: Graph): string[] {
  return verifyBody(graph, new Set());
}

/** `outer` are the names that a subgraph may capture. */
function verifyBody(graph: Graph, outer: ReadonlySet<string>): string[] {
  const faults: string[] = [];
  const fault = (message: string) => faults.push(`graph ${JSON.stringify(graph.name)}: ${message}`);
  const isSubgraph = outer.size > 0;
  const defined = new Set<string>();
  const define = (value: string, by: string) => {
    if (defined.has(value)) fault(`value ${value} is defined twice, the second time by ${by}`);
    else if (outer.has(value)) fault(`value ${value}, defined by ${by}, hides one of an outer graph`);
    defined.add(value);
  };
  for (const input of graph.inputs) {
    define(input, "the inputs");
    if (!graph.types.has(input) && !isSubgraph) fault(`input ${input} has no type`);
  }
  for (const [name, tensor] of graph.constants) {
    define(name, "the constants");
    for (const message of constantFaults(name, tensor, graph.types.get(name))) fault(message);
  }
  const produced = new Set(graph.nodes.flatMap((node) => node.outputs));
  const names = new Set<string>();
  for (const node of graph.nodes) {
    if (names.has(node.name)) fault(`node name ${node.name} is used twice`);
    names.add(node.name);
    for (const message of nodeFaults(node)) fault(message);
    const visible = (value: string) => defined.has(value) || outer.has(value);
    for (const input of node.inputs) {
      if (input === "" || visible(input)) continue;
      const why = produced.has(input) ? "comes later: the nodes are not in a topological order" : "is not defined";
      fault(`node ${node.name} uses ${input}, which ${why}`);
    }
    for (const [key, attribute] of Object.entries(node.attributes)) {
      if (attribute.type === "graph") faults.push(...verifyBody(attribute.value, new Set([...outer, ...defined])));
      if (attribute.type === "tensor") for (const message of constantFaults(`${node.name}.${key}`, attribute.value)) fault(message);
    }
    for (const output of node.outputs) if (output !== "") define(output, `node ${node.name}`);
  }
  for (const output of graph.outputs) if (!defined.has(output) && !outer.has(output)) fault(`output ${output} is not defined`);
  for (const [value, type] of graph.types) {
    if (!defined.has(value) && !outer.has(value)) fault(`type of ${value}, which is not defined`);
    const bad = type.shape?.find((extent) => typeof extent === "number" && !isExtent(extent));
    if (bad !== undefined) fault(`value ${value} has extent ${bad}`);
  }
  return faults;
}

function isExtent(extent: number): boolean {
  return Number.isSafeInteger(extent) && extent >= 0;
}

function constantFaults(name: string, tensor: Tensor, type?: TensorType): string[] {
  const faults: string[] = [];
  const shown = `${tensor.dtype}[${tensor.shape.join(",")}]`;
  if (!tensor.shape.every(isExtent)) return [`constant ${name} has shape [${tensor.shape.join(",")}]`];
  const empty = allocateData(tensor.dtype, 0);
  if (empty.constructor !== tensor.data.constructor)
    faults.push(`constant ${name}, ${shown}, is held in ${tensor.data.constructor.name}, not ${empty.constructor.name}`);
  const expected = elementCount(tensor.shape) * (tensor.dtype.startsWith("complex") ? 2 : 1);
  if (tensor.data.length !== expected) faults.push(`constant ${name}, ${shown}, holds ${tensor.data.length} elements, not ${expected}`);
  if (type !== undefined && type.dtype !== tensor.dtype) faults.push(`constant ${name}, ${shown}, has type ${type.dtype}`);
  else if (type?.shape !== undefined && type.shape.join() !== tensor.shape.join())
    faults.push(`constant ${name}, ${shown}, has type ${type.dtype}[${type.shape.join(",")}]`);
  return faults;
}

function nodeFaults(node: Node): string[] {
  const faults: string[] = [];
  if (node.name === "") faults.push(`a ${node.op} node has no name`);
  if (node.op === "") faults.push(`node ${node.name} has no operator`);
  const isFault = (step: EpilogueStep) =>
    step.operands.some((operand) => operand !== null && (!Number.isInteger(operand) || operand < 0 || operand >= node.inputs.length));
  for (const step of node.epilogue ?? []) {
    if (isFault(step)) faults.push(`node ${node.name}: epilogue ${step.op} has an operand that is no input of the node`);
    if (!step.operands.includes(null)) faults.push(`node ${node.name}: epilogue ${step.op} does not use the running value`);
  }
  if (node.epilogue !== undefined && node.epilogue.length > 0 && (node.outputs[0] ?? "") === "")
    faults.push(`node ${node.name} has an epilogue but no first output`);
  return faults;
}
