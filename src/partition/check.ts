/** An independent look at a partition: proves what the partitioner promises, from the graphs alone. Shares no code with it. */
import { capturedValues, type Graph } from "../graph/graph.js";
import type { Reason } from "../operators/record.js";
import type { Partition } from "./index.js";

/**
 * The faults of a partition of `graph`; none if it is right. Checked: every node is in exactly one subgraph, unchanged; no subgraph reads
 * what an earlier one or itself has not made (so that the order is topological, the quotient acyclic and every subgraph convex); values
 * that cross a border are among the outputs there and the inputs here, and constants are inside; Neuron subgraphs hold no node with a
 * verdict against it and none that `noFuse` names.
 */
export function checkPartition(
  graph: Graph,
  verdicts: ReadonlyMap<string, Reason | undefined>,
  noFuse: ReadonlySet<string>,
  { subgraphs, placements }: Partition,
): string[] {
  const faults: string[] = [];
  const source = new Map(graph.nodes.map((node) => [node.name, node]));
  const ids = new Set<string>();
  const placed = new Set<string>();
  const available = new Set<string>(graph.inputs);
  for (const { id, device, graph: part } of subgraphs) {
    if (ids.has(id)) faults.push(`${id}: two subgraphs have this id`);
    ids.add(id);
    if (part.nodes.length === 0) faults.push(`${id}: is empty`);
    for (const input of part.inputs) if (!available.has(input)) faults.push(`${id}: reads ${input}, which nothing before it gives`);
    const local = new Set<string>([...part.inputs, ...part.constants.keys()]);
    for (const [name, constant] of part.constants) {
      if (graph.constants.get(name) !== constant) faults.push(`${id}: constant ${name} is not the graph's`);
    }
    for (const node of part.nodes) {
      if (source.get(node.name) !== node) faults.push(`${id}: node ${node.name} is not the graph's`);
      if (placed.has(node.name)) faults.push(`${id}: node ${node.name} is in another subgraph too`);
      placed.add(node.name);
      const placement = placements.get(node.name);
      if (placement?.subgraph !== id || placement.device !== device) faults.push(`${id}: node ${node.name} is placed elsewhere`);
      if ((placement?.reason === undefined) !== (device === "neuron")) faults.push(`${id}: node ${node.name}: a reason goes with the CPU`);
      if (device === "neuron") {
        if (verdicts.get(node.name)) faults.push(`${id}: node ${node.name} can't run on a NeuronCore`);
        const names = new Set([node.name, ...node.origins, ...(node.epilogue ?? []).flatMap((step) => step.origins)]);
        for (const name of names) if (noFuse.has(name)) faults.push(`${id}: ${name} was to stay on the CPU`);
      }
      for (const input of [...node.inputs, ...capturedValues(node)]) {
        if (input !== "" && !local.has(input)) faults.push(`${id}: node ${node.name} reads ${input}, which is not there yet`);
      }
      for (const output of node.outputs) if (output !== "") local.add(output);
    }
    for (const value of local) {
      if (graph.types.get(value) !== part.types.get(value)) faults.push(`${id}: the type of ${value} is not the graph's`);
    }
    for (const output of part.outputs) {
      if (!local.has(output) || part.inputs.includes(output)) faults.push(`${id}: does not make its output ${output}`);
      available.add(output);
    }
  }
  for (const name of source.keys()) if (!placed.has(name)) faults.push(`node ${name} is in no subgraph`);
  for (const output of graph.outputs) {
    if (!available.has(output) && !graph.constants.has(output)) faults.push(`no subgraph gives the graph's output ${output}`);
  }
  return faults;
}
