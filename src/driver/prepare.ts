/** What every compile begins with: the model checked and partitioned, and its subgraphs in the types of their precision. */
import { userError } from "../diagnostics/diagnostic.js";
import type { Graph } from "../graph/graph.js";
import { flopsOf, recordOf } from "../operators/index.js";
import { type ManifestOptions, manifestOptions } from "../options/manifest.js";
import { checkPartition, type Partition, partition, priceModel, type Subgraph } from "../partition/index.js";
import { applyPrecision, asWords, type Precision, parsePrecision, relayoutOf, saturateInfinity } from "../passes/index.js";
import { assertSound, bindOptions, type CheckedModel, checkedModel, graphText, verify } from "./checked.js";
import type { CompileOptions } from "./options.js";

/** A model as its subgraphs are compiled. */
export interface Prepared {
  readonly model: CheckedModel;
  readonly settings: ManifestOptions;
  readonly precision: Precision;
  readonly placed: Partition;
}

/**
 * Errors: those of `checkedModel` and of the partition, those of the words of `fastMath` and `fp32Cast`, and NCC0455 where weights are to stay on chip and
 * not to stay.
 */
export async function prepare(path: string, options: CompileOptions): Promise<Prepared> {
  const settings = manifestOptions(options);
  if (options.enableFastContextSwitch && options.neuroncorePipelineCores === "auto") throw userError("NCC0455", {});
  const precision = parsePrecision(settings.fastMath, settings.fp32Cast);
  const model = await checkedModel(path, options, bindOptions(options));
  const { graph, source } = model;
  options.progress?.("partition");
  const placed = partition(graph, model.verdicts, {
    minimumSegmentSize: options.minimumSegmentSize,
    noFuse: model.keep,
    forceFuse: new Set(options.forceFuseOps),
    sourceNames: new Set(source.map((operator) => operator.name)),
    price: priceModel(graph, (node) => flopsOf(graph, node)),
  });
  if (options.verifyEach) assertSound("partition", checkPartition(graph, model.verdicts, model.keep, placed));
  return { model, settings, precision, placed };
}

/** A Neuron subgraph's graph as it is lowered. */
export function typedGraph(
  { id, graph }: Subgraph,
  precision: Precision,
  options: Pick<CompileOptions, "verifyEach" | "observe" | "enableSaturateInfinity">,
): Graph {
  const words = asWords(graph);
  const typed = applyPrecision(words, precision, recordOf);
  const relayout = relayoutOf(precision);
  const saturated = options.enableSaturateInfinity ? saturateInfinity(typed, relayout.fast ? relayout.type : "float32") : typed;
  const made = { words, precision: typed, ...(saturated !== typed ? { saturated } : {}) };
  if (options.verifyEach) for (const [pass, after] of Object.entries(made)) verify(pass, after);
  options.observe?.("precision", id, () => graphText(saturated));
  return saturated;
}
