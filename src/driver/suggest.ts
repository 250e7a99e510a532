/** Where to start: batch and cores by the vendor's rules of thumb, beside what this compiler finds by compiling and predicting. */

import { UserError } from "../diagnostics/diagnostic.js";
import { bytesPerElement } from "../graph/tensor.js";
import { hardware, type InstanceName } from "../hardware/hardware.js";
import type { DenseWork } from "../operators/dense.js";
import { type CompileResult, compileModel } from "./compile.js";
import type { CompileOptions } from "./options.js";
import { compiledBatch, predictService, type Service } from "./predict.js";

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

export interface Suggestion {
  /** The vendor's starting points. */
  readonly batchSize: number;
  readonly neuroncorePipelineCores: number;
  /** What they rest on: one item's work in operators with weights, on NeuronCores. */
  readonly flops: number;
  readonly weights: number;
  /** The batch with the highest predicted throughput of those tried. */
  readonly found: { readonly batchSize: number; readonly tried: readonly Trial[] };
}

export interface SuggestOptions extends CompileOptions {
  readonly instance: InstanceName;
  /** Batches to compile; around the suggested one if absent. None: the formulas alone. */
  readonly batches?: readonly number[];
}

/** Compiles the model for a batch of 1, or the one that it is made for, then for others. Errors: those of `compileModel` and of `predictService`. */
export async function suggest(path: string, options: SuggestOptions): Promise<Suggestion> {
  const { instance, batches, ...rest } = options;
  const compile = (batchSize?: number) => compileModel(path, { ...rest, ...(batchSize === undefined ? {} : { batchSize }) });
  const { open, result } = await compileFirst(compile);
  const made = compiledBatch(result.artifact.manifest);
  const { dense } = result.report;
  const one = { flops: dense.flops / made, weights: dense.weights };
  const batchSize = batchByRoofline(one);
  const trial = ({ artifact }: typeof result): Trial => {
    const { throughputPerSecond, latencyMs, bound } = predictService(artifact, { instance });
    return { batchSize: compiledBatch(artifact.manifest), throughputPerSecond, latencyMs, bound };
  };
  const wanted = new Set(batches ?? [1, batchSize - 1, batchSize, batchSize + 1]);
  const tried: Trial[] = [];
  if (wanted.has(made) || !open) tried.push(trial(result));
  wanted.delete(made);
  for (const batch of open ? [...wanted].filter((value) => value > 0).sort((a, b) => a - b) : []) tried.push(trial(await compile(batch)));
  const best = tried.reduce<Trial | undefined>((a, b) => (a && a.throughputPerSecond >= b.throughputPerSecond ? a : b), undefined);
  return {
    batchSize,
    neuroncorePipelineCores: coresByWeights(one.weights),
    ...one,
    found: { batchSize: best?.batchSize ?? made, tried },
  };
}

/** With a batch of 1, or, where the model's batch is fixed, as it is. */
async function compileFirst(compile: (batchSize?: number) => Promise<CompileResult>): Promise<{ open: boolean; result: CompileResult }> {
  try {
    return { open: true, result: await compile(1) };
  } catch (error) {
    if (error instanceof UserError && error.diagnostics.some(({ id }) => id === "NCC0357")) return { open: false, result: await compile() };
    throw error;
  }
}
