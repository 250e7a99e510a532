/** Fused nodes taken apart again. */
import type { Graph, Node } from "./graph.js";

/** The graph with the steps of epilogues as nodes of their own. The values between them have new names, and no types yet. */
export function withoutEpilogues(graph: Graph): Graph {
  if (!graph.nodes.some((node) => node.epilogue?.length)) return graph;
  const used = new Set([...graph.types.keys(), ...graph.nodes.flatMap((node) => [...node.inputs, ...node.outputs])]);
  const fresh = (base: string): string => {
    let name = base;
    for (let index = 1; used.has(name); index++) name = `${base}_${index}`;
    used.add(name);
    return name;
  };
  return { ...graph, nodes: graph.nodes.flatMap((node) => expanded(node, fresh)) };
}

/** The node, then its epilogue's steps, each working on the value of the one before. */
function expanded(node: Node, fresh: (base: string) => string): Node[] {
  const { epilogue: steps = [], ...own } = node;
  if (steps.length === 0) return [own];
  const [output] = node.outputs;
  let running = fresh(`${output}_stored`);
  const nodes: Node[] = [{ ...own, inputs: ownInputs(node), outputs: [running, ...node.outputs.slice(1)] }];
  for (const [index, { op, attributes, operands, origins }] of steps.entries()) {
    const before = running;
    running = index === steps.length - 1 ? output : fresh(`${output}_stored`);
    const inputs = operands.map((operand) => (operand === null ? before : node.inputs[operand]));
    nodes.push({ name: `${node.name}_then_${index}`, op, domain: "", inputs, outputs: [running], attributes, origins });
  }
  return nodes;
}

/** The inputs of the node's own operator: fusion adds the epilogue's behind them. */
function ownInputs(node: Node): string[] {
  const operands = (node.epilogue ?? []).flatMap((step) => step.operands.filter((operand) => operand !== null));
  const inputs = node.inputs.slice(0, Math.min(node.inputs.length, ...operands));
  while (inputs.at(-1) === "") inputs.pop();
  return inputs;
}
