/** What a compiled model is: the manifest, which is data for everyone, and the payloads of its subgraphs. */
import type { Tensor } from "../graph/tensor.js";
import { frameworks } from "../options/framework.js";
import { optionsSchema } from "../options/manifest.js";
import type { Of } from "../options/schema.js";
import type { LoadedProgram } from "../program/program.js";

/** Manifests of other formats are refused. */
export const MANIFEST_FORMAT = 1;

const staticValue = { fields: { name: "string", dtype: "dtype", shape: { list: "count" } } } as const;

/** A value whose shape may depend on data, as results of CPU operators may; no shape where even the rank does. */
const value = { fields: { name: "string", dtype: "dtype", shape: { optional: { list: "dim" } } } } as const;

const signature = {
  fields: {
    inputs: { list: staticValue },
    outputs: { list: value },
    /** Other names of inputs and outputs: the keys of a TensorFlow signature. */
    aliases: { optional: { record: "string" } },
  },
} as const;

/** One NeuronCore's part of a Neuron subgraph. Its files are `<subgraph>/core<core>.asm` and `.weights`. */
const stage = {
  fields: {
    /** Counted from the subgraph's first. */
    core: "count",
    /** How many of the source model's operators it runs. */
    operators: "count",
    weightBytes: "count",
    residentWeightBytes: "count",
    sbufPeakBytes: "count",
    /** The least that any placement of the same buffers needs. */
    sbufBoundBytes: "count",
    psumPeakBytes: "count",
    psumBoundBytes: "count",
    /** Modelled time of one request on the core, that request alone on the machine; and for which each engine is busy with it. */
    ms: "number",
    busyMs: { record: "number" },
    flops: "number",
    /** From or to DRAM, a request, as its bandwidth is charged; and the bytes alone, by what they belong to: spills found no room on chip. */
    dramBytes: "number",
    traffic: { fields: { weights: "number", inputs: "number", outputs: "number", spills: "number" } },
    /** Of the values that later stages read: a link carries them where a chip ends behind this core. */
    passedBytes: "count",
    /** Share of the time for which the core works on requests that are sent back to back. */
    utilisation: "number",
    /** Where each constant DRAM buffer lies in the weights file. */
    constants: { list: { fields: { name: "string", offset: "count", bytes: "count" } } },
  },
} as const;

/** How a Neuron subgraph was cut into stages for several cores. */
const pipeline = {
  fields: {
    /** The core that is slowest with a request alone, and its time. */
    slowestCore: "count",
    slowestMs: "number",
    /** By the costs that the cut rests on: the time of its slowest stage, and what no cut over as many cores is below. */
    plannedMs: "number",
    boundMs: "number",
    /** Of plannedMs over boundMs, less 1. */
    gap: "number",
    /** Time of the first request through all stages, links between chips included. */
    fillMs: "number",
  },
} as const;

/** `stages` for a Neuron subgraph; one on the CPU has the file `<subgraph>/model.onnx`. */
const subgraph = {
  fields: {
    id: "string",
    device: { oneOf: ["neuron", "cpu"] },
    inputs: { list: value },
    outputs: { list: value },
    /** Operators after normalisation, an epilogue's steps each by itself. */
    nodes: { list: { fields: { name: "string", type: "string" } } },
    operators: "count",
    flops: "number",
    /** Modelled time of one request here, with the host's part. */
    ms: "number",
    /** Of requests that follow one another, its slowest core or, on the CPU, a vCPU being busy with nothing else; 0 where there is no work. */
    throughputPerSecond: "number",
    /** Where it lies if the model begins at core 0: behind the Neuron subgraph before it. Its stages are on cores from there on. */
    firstCore: { optional: "count" },
    stages: { optional: { list: stage } },
    pipeline: { optional: pipeline },
  },
} as const;

/** One operator of the source model. `subgraph` is absent where nothing of it is left at run time. */
const operator = {
  fields: {
    name: "string",
    type: "string",
    device: { oneOf: ["neuron", "cpu"] },
    subgraph: { optional: "string" },
    reason: { optional: "string" },
  },
} as const;

/** `manifest.json`. Subgraphs are in the order in which they run. */
export const manifestSchema = {
  fields: {
    format: "count",
    compiler: "string",
    name: "string",
    /** The source file by its content: no name and no path. */
    source: { fields: { framework: { oneOf: frameworks }, sha256: "string", bytes: "count" } },
    /** The values of `inputValues` are in `inputs/<index>.pb`. */
    options: optionsSchema,
    signature,
    operators: { list: operator },
    subgraphs: { list: subgraph },
    /** Outputs whose value was known at compile time; `constants/<index>.pb`. */
    constants: { list: "string" },
    /** Of all subgraphs: every stage has a core of its own. */
    neuronCores: "count",
    flopsOnNeuron: "number",
    predicted: { fields: { latencyMs: "number", throughputPerSecond: "number" } },
  },
} as const;

export type Manifest = Of<typeof manifestSchema>;
export type ValueSignature = Of<typeof value>;
export type Signature = Of<typeof signature>;
export type SubgraphManifest = Of<typeof subgraph>;
export type StageManifest = Of<typeof stage>;
export type PipelineManifest = Of<typeof pipeline>;
export type OperatorPlacement = Of<typeof operator>;

export interface Artifact {
  readonly manifest: Manifest;
  /** By id of Neuron subgraph: the program of each stage. */
  readonly programs: ReadonlyMap<string, readonly LoadedProgram[]>;
  /** By id of CPU subgraph: an ONNX file. */
  readonly models: ReadonlyMap<string, Uint8Array>;
  /** By name, the values that `manifest.constants` lists. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** By name, the values of the inputs that were fixed: the original model needs them. */
  readonly inputValues: ReadonlyMap<string, Tensor>;
}

/** What there is to say of a pipeline. */
export interface PipelineSummary extends PipelineManifest {
  /** Of the subgraph. */
  readonly id: string;
  readonly stages: readonly Pick<StageManifest, "core" | "ms" | "utilisation">[];
}

/** Of each Neuron subgraph that was cut. */
export function pipelinesOf({
  subgraphs,
}: {
  readonly subgraphs: readonly Pick<SubgraphManifest, "id" | "stages" | "pipeline">[];
}): PipelineSummary[] {
  return subgraphs.flatMap(({ id, stages = [], pipeline: summary }) =>
    summary ? [{ id, ...summary, stages: stages.map(({ core, ms, utilisation }) => ({ core, ms, utilisation })) }] : [],
  );
}
