/** What is said of pipelines: by `neuronc compile`, `neuron-run` and `neuron-packager info`. */
import { type PipelineSummary, pipelinesOf } from "../neff/artifact.js";
import { percent, significant } from "./format.js";

/** A paragraph on each Neuron subgraph that was cut; nothing where there is none. */
export function describePipelines(subgraphs: Parameters<typeof pipelinesOf>[0]): string {
  return pipelineLines(pipelinesOf(subgraphs)).join("\n");
}

export function pipelineLines(pipelines: readonly PipelineSummary[]): string[] {
  return pipelines.flatMap(({ id, stages, slowestCore, slowestMs, plannedMs, boundMs, gap, fillMs }) => [
    `Pipeline ${id}: ${stages.length} stage${stages.length === 1 ? "" : "s"}, filled in ${significant(fillMs)} ms; core ${slowestCore} is slowest with ${significant(slowestMs)} ms`,
    `  cut for ${significant(plannedMs)} ms by the operators' costs; no cut is below ${significant(boundMs)} ms (gap ${percent(gap)})`,
    `  use of the cores, streamed: ${stages.map(({ utilisation }) => `${Math.round(100 * utilisation)} %`).join(", ")}`,
  ]);
}
