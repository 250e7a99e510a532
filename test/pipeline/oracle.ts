/** Checks a pipeline's stages against the graph that they came from. Shares nothing with the cutter. */
import type { Graph } from "../../src/graph/graph.js";
import { verifyGraph } from "../../src/graph/verify.js";

/** What is wrong; nothing for a right cut. */
export function stageFaults(graph: Graph, stages: readonly Graph[], cores: number): string[] {
  const faults = stages.flatMap((stage) => verifyGraph(stage).map((fault) => `${stage.name}: ${fault}`));
  if (stages.length > cores) faults.push(`${stages.length} stages for ${cores} cores`);
  const stageOf = new Map<string, number>();
  for (const [index, stage] of stages.entries()) {
    if (stage.nodes.length === 0) faults.push(`stage ${index} is empty`);
    for (const { name } of stage.nodes) {
      if (stageOf.has(name)) faults.push(`${name} is in two stages`);
      stageOf.set(name, index);
    }
  }
  for (const node of graph.nodes) if (!stageOf.has(node.name)) faults.push(`${node.name} is in no stage`);
  const known = new Set(graph.nodes.map((node) => node.name));
  for (const node of stages.flatMap((stage) => stage.nodes)) {
    const isPass = node.op === "Identity" && graph.inputs.includes(node.inputs[0]);
    if (!known.has(node.name) && !isPass) faults.push(`${node.name} was added`);
  }
  const given = new Set<string>();
  for (const [index, stage] of stages.entries()) {
    for (const input of stage.inputs) {
      if (graph.inputs.includes(input) ? index > 0 : !given.has(input)) faults.push(`stage ${index} takes ${input}`);
    }
    for (const output of stage.outputs) {
      given.add(output);
      const type = JSON.stringify(graph.types.get(output));
      if (graph.types.has(output) && JSON.stringify(stage.types.get(output)) !== type) faults.push(`${output} has changed its type`);
    }
  }
  for (const output of graph.outputs) if (!given.has(output)) faults.push(`no stage gives ${output}`);
  return faults;
}
