/** Puts the branch that is taken in place of an If whose condition is known. */
import type { Graph, Node, TensorType } from "../graph/graph.js";
import { numberAt, type Tensor } from "../graph/tensor.js";
import { isKept, type NormaliseOptions } from "./options.js";
import { FreshNames, renameReads } from "./values.js";

/** The branch that a constant condition chooses. */
function takenBranch(graph: Graph, node: Node): Graph | undefined {
  if (node.op !== "If" || node.domain !== "") return undefined;
  const condition = graph.constants.get(node.inputs[0]);
  if (condition === undefined) return undefined;
  const attribute = node.attributes[numberAt(condition, 0) !== 0 ? "then_branch" : "else_branch"];
  return attribute?.type === "graph" ? attribute.value : undefined;
}

/** The branch's nodes under names that are free outside; its results are written to the If's outputs. */
function inlineBranch(
  node: Node,
  branch: Graph,
  names: FreshNames,
  types: Map<string, TensorType>,
  constants: Map<string, Tensor>,
): Node[] {
  const renamed = new Map<string, string>();
  const rename = (value: string) => renamed.set(value, names.next(`${node.name}/${value}`));
  for (const inner of branch.nodes) for (const output of inner.outputs) if (output !== "") rename(output);
  for (const name of branch.constants.keys()) rename(name);
  for (const [name, tensor] of branch.constants) constants.set(renamed.get(name)!, tensor);
  for (const [name, type] of branch.types) {
    const outer = renamed.get(name);
    if (outer !== undefined) types.set(outer, type);
  }
  const nodes: Node[] = branch.nodes.map((inner) => ({
    ...renameReads(inner, renamed),
    name: names.next(`${node.name}/${inner.name}`),
    outputs: inner.outputs.map((output) => renamed.get(output) ?? output),
    origins: [...node.origins],
  }));
  // Identities join the results to the If's outputs; clean removes them.
  branch.outputs.forEach((result, index) => {
    const output = node.outputs[index] ?? "";
    if (output === "") return;
    nodes.push({
      name: names.next(`${node.name}/result_${index}`),
      op: "Identity",
      domain: "",
      inputs: [renamed.get(result) ?? result],
      outputs: [output],
      attributes: {},
      origins: [...node.origins],
    });
  });
  return nodes;
}

/** The same graph where no condition is known; bodies are searched too. Branches in branches take another round. */
export function inlineConstantIfs(
  graph: Graph,
  options: Pick<NormaliseOptions, "keep">,
  names: () => FreshNames = once(() => new FreshNames(graph)),
): Graph {
  const types = new Map(graph.types);
  const constants = new Map(graph.constants);
  let inlined = false;
  let changed = false;
  const nodes = graph.nodes.flatMap((node) => {
    const branch = isKept(node, options) ? undefined : takenBranch(graph, node);
    if (branch) {
      inlined = true;
      return inlineBranch(node, branch, names(), types, constants);
    }
    const searched = withBodies(node, (body) => inlineConstantIfs(body, options, names));
    changed ||= searched !== node;
    return [searched];
  });
  if (inlined) return inlineConstantIfs({ ...graph, nodes, types, constants }, options, names);
  return changed ? { ...graph, nodes } : graph;
}

/** The node with its bodies changed; itself where none is. */
function withBodies(node: Node, change: (body: Graph) => Graph): Node {
  let result = node;
  for (const [name, attribute] of Object.entries(node.attributes)) {
    const value = attribute.type === "graph" ? change(attribute.value) : undefined;
    if (value === undefined || (attribute.type === "graph" && value === attribute.value)) continue;
    result = { ...result, attributes: { ...result.attributes, [name]: { type: "graph", value } } };
  }
  return result;
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
