/** Where to start: batch and cores by the vendor's rules of thumb, beside what this compiler finds by compiling and predicting. */

import { UserError } from "../diagnostics/diagnostic.js";
import { bytesPerElement } from "../graph/tensor.js";
import { hardware, type InstanceName, instanceNames, instances, MOST_CORES } from "../hardware/hardware.js";
import type { Artifact } from "../neff/artifact.js";
import type { DenseWork } from "../operators/dense.js";
import { type CompileResult, compileModel } from "./compile.js";
import type { CompileOptions } from "./options.js";
import { compiledBatch, predictService, type Service } from "./predict.js";

/** The files are not kept. */
const uncompressed = { enableFastLoadingNeuronBinaries: true };
const WEIGHT_BYTES = bytesPerElement.bfloat16;

/** ceil(0.5 x (peak / bandwidth) / (FLOP / bytes of weights)): the batch with which compute takes half as long as the weights' way. */
export function batchByRoofline({ flops, weights }: DenseWork): number {
  if (flops === 0 || weights === 0) return 1;
  const { ruleOfThumbFlops, ruleOfThumbBandwidth, ruleOfThumbRoofShare } = hardware;
  return Math.max(1, Math.ceil((ruleOfThumbRoofShare * (ruleOfThumbFlops / ruleOfThumbBandwidth)) / (flops / (weights * WEIGHT_BYTES))));
}

/** 4 x round(weights / 2e7) cores of a pipeline, at least 1. */
export function coresByWeights(weights: number): number {
  const { ruleOfThumbGroup, ruleOfThumbWeightsPerGroup } = hardware;
  return Math.max(1, ruleOfThumbGroup * Math.round(weights / ruleOfThumbWeightsPerGroup));
}

/** One batch that was compiled, and what it gives with a copy on each core of the instance. */
export interface Trial extends Pick<Service, "throughputPerSecond" | "latencyMs" | "bound"> {
  readonly batchSize: number;
}

/** One pipeline that was compiled for a batch of 1, and what as many copies give as the instance's cores hold. */
export interface PipelineTrial extends Pick<Service, "throughputPerSecond" | "latencyMs" | "bound" | "instance" | "replicas"> {
  readonly neuroncorePipelineCores: number | "auto";
  /** NeuronCores that one copy takes. */
  readonly neuronCores: number;
  /** Share of the weights that stay on chip between requests; 1 where there are none. */
  readonly residentWeights: number;
}

export interface Suggestion {
  /** The vendor's starting points. */
  readonly batchSize: number;
  readonly neuroncorePipelineCores: number;
  /** What they rest on: one item's work in operators with weights, on NeuronCores. */
  readonly flops: number;
  readonly weights: number;
  readonly found: {
    /** The batch with the highest predicted throughput of those tried. */
    readonly batchSize: number;
    readonly tried: readonly Trial[];
    /** The fewest cores that hold every weight on chip; absent where no number does. */
    readonly neuroncorePipelineCores?: number;
    /** `auto`, and the vendor's number where that is another one. */
    readonly pipelines: readonly PipelineTrial[];
    /** Why others were not. */
    readonly refused: readonly { readonly neuroncorePipelineCores: number | "auto"; readonly reason: string }[];
  };
}

export interface SuggestOptions extends CompileOptions {
  /** Pipelines that it has too few cores for are predicted on the smallest instance that has enough. */
  readonly instance: InstanceName;
  /** Batches to compile; around the suggested one if absent. */
  readonly batches?: readonly number[];
}

/**
 * Compiles the model for a batch of 1, or the one that it is made for, then for others, then for pipelines. Errors: those of `compileModel` and of
 * `predictService`.
 */
export async function suggest(path: string, options: SuggestOptions): Promise<Suggestion> {
  const { instance, batches, ...rest } = options;
  const compile: Compile = (batchSize, neuroncorePipelineCores) =>
    compileModel(path, { ...rest, ...uncompressed, neuroncorePipelineCores, ...(batchSize === undefined ? {} : { batchSize }) });
  const { open, result } = await compileFirst(compile);
  const made = compiledBatch(result.artifact.manifest);
  const { dense } = result.report;
  const one = { flops: dense.flops / made, weights: dense.weights };
  const batchSize = batchByRoofline(one);
  const trial = ({ artifact }: CompileResult): Trial => {
    const { throughputPerSecond, latencyMs, bound } = predictService(artifact, { instance });
    return { batchSize: compiledBatch(artifact.manifest), throughputPerSecond, latencyMs, bound };
  };
  const wanted = new Set(batches ?? [1, batchSize - 1, batchSize, batchSize + 1]);
  const tried: Trial[] = [];
  if (wanted.has(made) || !open) tried.push(trial(result));
  wanted.delete(made);
  for (const batch of open ? [...wanted].filter((value) => value > 0).sort((a, b) => a - b) : []) tried.push(trial(await compile(batch)));
  const best = tried.reduce<Trial | undefined>((a, b) => (a && a.throughputPerSecond >= b.throughputPerSecond ? a : b), undefined);
  const neuroncorePipelineCores = coresByWeights(one.weights);
  const pipelines = await tryPipelines((cores) => compile(open ? 1 : undefined, cores), neuroncorePipelineCores, instance);
  return { batchSize, neuroncorePipelineCores, ...one, found: { batchSize: best?.batchSize ?? made, tried, ...pipelines } };
}

type Compile = (batchSize?: number, cores?: number | "auto") => Promise<CompileResult>;

/** `auto`, and the vendor's number where `auto` finds another. */
async function tryPipelines(
  compile: (cores: number | "auto") => Promise<CompileResult>,
  vendorCores: number,
  instance: InstanceName,
): Promise<Pick<Suggestion["found"], "neuroncorePipelineCores" | "pipelines" | "refused">> {
  const pipelines: PipelineTrial[] = [];
  const refused: { neuroncorePipelineCores: number | "auto"; reason: string }[] = [];
  const attempt = async (cores: number | "auto") => {
    try {
      const { artifact } = await compile(cores);
      pipelines.push(pipelineTrial(artifact, cores, instance));
      return stagesOf(artifact);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      refused.push({ neuroncorePipelineCores: cores, reason: error.message });
      return undefined;
    }
  };
  const fewest = await attempt("auto");
  if (vendorCores > MOST_CORES)
    refused.push({ neuroncorePipelineCores: vendorCores, reason: `no instance has more than ${MOST_CORES} NeuronCores` });
  else if (fewest !== vendorCores) await attempt(vendorCores);
  return { ...(fewest === undefined ? {} : { neuroncorePipelineCores: fewest }), pipelines, refused };
}

/** Of the subgraph that has most. */
function stagesOf({ manifest }: Artifact): number {
  return Math.max(0, ...manifest.subgraphs.map(({ stages = [] }) => stages.length));
}

function pipelineTrial(artifact: Artifact, cores: number | "auto", wanted: InstanceName): PipelineTrial {
  const { neuronCores, subgraphs } = artifact.manifest;
  const holds = (name: InstanceName) => instances[name].chips * hardware.coresPerChip >= neuronCores;
  const instance = holds(wanted) ? wanted : (instanceNames.find(holds) ?? wanted);
  const { throughputPerSecond, latencyMs, bound, replicas } = predictService(artifact, { instance });
  const stages = subgraphs.flatMap((subgraph) => subgraph.stages ?? []);
  const bytes = stages.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
  const resident = stages.reduce((sum, { residentWeightBytes }) => sum + residentWeightBytes, 0);
  const residentWeights = bytes === 0 ? 1 : resident / bytes;
  return { neuroncorePipelineCores: cores, neuronCores, residentWeights, instance, replicas, throughputPerSecond, latencyMs, bound };
}

/** With a batch of 1, or, where the model's batch is fixed, as it is. */
async function compileFirst(compile: Compile): Promise<{ open: boolean; result: CompileResult }> {
  try {
    return { open: true, result: await compile(1) };
  } catch (error) {
    if (error instanceof UserError && error.diagnostics.some(({ id }) => id === "NCC0357")) return { open: false, result: await compile() };
    throw error;
  }
}
