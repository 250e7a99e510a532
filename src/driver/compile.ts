/** The driver: it hands each phase what the one before it made. Nothing here knows an operator or an instruction. */
import { createHash } from "node:crypto";
import { userError } from "../diagnostics/diagnostic.js";
import { type Graph, isStatic, staticType } from "../graph/graph.js";
import type { DType, Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { hostModel } from "../host/prepare.js";
import { type Artifact, MANIFEST_FORMAT, type Manifest, type PipelineManifest, type SubgraphManifest } from "../neff/artifact.js";
import { constantIndex, writeNeff } from "../neff/neff.js";
import { type DenseWork, denseWork } from "../operators/dense.js";
import { flopsOf } from "../operators/index.js";
import { priceModel, type Subgraph, sourceOperators } from "../partition/index.js";
import { type Precision, relayoutOf } from "../passes/index.js";
import { shareOf } from "../pipeline/parts.js";
import type { PipelinePlan } from "../pipeline/plan.js";
import { chipDramBytes, dramBytes } from "../program/dram.js";
import { firstCores } from "../program/placement.js";
import type { LoadedProgram } from "../program/program.js";
import { dramTraffic } from "../program/traffic.js";
import { type StageTime, type SubgraphTime, simulateTime } from "../simulator/time.js";
import { version } from "../version.js";
import { graphText } from "./checked.js";
import { fingerprint } from "./fingerprint.js";
import { withAdvice } from "./limits.js";
import type { CompileOptions } from "./options.js";
import { compilePipeline } from "./pipeline.js";
import { prepare, typedGraph } from "./prepare.js";
import { notesOn, placeOperators, shareOnNeuron, staticSignatures, valueSignatures } from "./report.js";
import { modelTimes, subgraphTimes } from "./times.js";

type SubgraphReport = Omit<SubgraphManifest, "nodes">;

/** What `neuronc compile --json` prints, without the times and paths of this run. */
export interface CompileReport extends Pick<Manifest, "name" | "signature" | "operators" | "neuronCores" | "flopsOnNeuron" | "predicted"> {
  /** Of the artifact. */
  readonly sha256: string;
  readonly bytes: number;
  readonly subgraphs: readonly SubgraphReport[];
  readonly flops: number;
  /** Of the Neuron subgraphs. */
  readonly dense: DenseWork;
  /** What runs as one on NeuronCores, and the type that its result is stored in. */
  readonly layers: readonly Layer[];
  /** What the user should know. */
  readonly notes: readonly string[];
}

/** A node with the operators that were fused into it: results between them are FP32. */
export interface Layer {
  readonly name: string;
  readonly type: string;
  readonly dtype: DType;
  readonly subgraph: string;
}

export interface CompileResult {
  readonly report: CompileReport;
  readonly artifact: Artifact;
  /** The NEFF file. */
  readonly bytes: Uint8Array;
}

/**
 * Compiles a model to an artifact. Same file content, options and version: same bytes.
 * Errors: UserError for everything that the model or the options can cause; NCC0694 and NCC0696 say what would work where a batch is too large or cores
 * are too few.
 */
export async function compileModel(path: string, options: CompileOptions = {}): Promise<CompileResult> {
  try {
    return await compileOnce(path, options);
  } catch (error) {
    throw await withAdvice(error, path, options);
  }
}

/** Errors: NCC0695 where a chip's memory does not hold what its cores take. */
function checkChips(name: string, stages: readonly LoadedProgram[]): void {
  const { dramBytesPerChip: capacity } = hardware;
  const chips = chipDramBytes(
    stages.map(({ program }) => dramBytes(program.buffers)),
    hardware,
  );
  const chip = chips.findIndex((bytes) => bytes > capacity);
  if (chip >= 0) throw userError("NCC0695", { name, chip, bytes: chips[chip], capacity });
}

async function compileOnce(path: string, options: CompileOptions): Promise<CompileResult> {
  const { model, settings, precision, placed } = await prepare(path, options);
  const { graph, source } = model;
  const parts = options.everyValue ? { ...placed, subgraphs: placed.subgraphs.map(withEveryValue) } : placed;
  const outputs = [...new Set([...graph.outputs, ...(options.everyValue ? parts.subgraphs.flatMap((part) => part.graph.outputs) : [])])];
  options.observe?.("partition", undefined, () =>
    parts.subgraphs.map((part) => `// ${part.id} on ${part.device}\n${graphText(part.graph)}`).join("\n"),
  );
  const compiled = parts.subgraphs.map((part) => compileSubgraph(part, precision, options));
  const onNeuron = compiled.flatMap((part) => ("stages" in part ? [part] : []));
  checkChips(
    graph.name,
    onNeuron.flatMap(({ stages }) => stages),
  );
  options.progress?.("package");
  const time = simulateTime(onNeuron.map(({ stages }) => stages.map(({ program }) => program)));
  const starts = firstCores(onNeuron.map(({ stages }) => stages.length));
  const manifests = new Map(onNeuron.map((part, index) => [part.id, part.timed(starts[index], time.subgraphs[index])]));
  const subgraphs = compiled.map((part) => ("manifest" in part ? part.manifest : manifests.get(part.id)!));
  const constants = constantOutputs(graph);
  const manifest: Manifest = {
    format: MANIFEST_FORMAT,
    compiler: `neuronc ${version}`,
    name: graph.name,
    source: { framework: model.framework, ...fingerprint(model.files) },
    options: settings,
    signature: {
      inputs: staticSignatures(graph, graph.inputs),
      outputs: valueSignatures(graph, outputs),
      ...(model.aliases ? { aliases: Object.fromEntries(model.aliases) } : {}),
    },
    operators: placeOperators(source, graph, parts),
    subgraphs,
    constants: [...constants.keys()],
    neuronCores: onNeuron.reduce((sum, { stages }) => sum + stages.length, 0),
    flopsOnNeuron: shareOnNeuron(subgraphs),
    predicted: modelTimes(subgraphs, time),
  };
  const artifact: Artifact = {
    manifest,
    programs: new Map(onNeuron.map(({ id, stages }) => [id, stages])),
    models: new Map(compiled.flatMap((part) => ("model" in part ? [[part.id, part.model] as const] : []))),
    constants,
    inputValues: options.inputValues ?? new Map(),
  };
  const bytes = await writeNeff(artifact);
  return {
    artifact,
    bytes,
    report: {
      ...reportOf(manifest, bytes),
      flops: subgraphs.reduce((sum, part) => sum + part.flops, 0),
      dense: denseWorkOf(parts.subgraphs),
      layers: compiled.flatMap(({ layers }) => layers),
      notes: notesOn(parts),
    },
  };
}

/** Outputs of the model that no node computes. */
function constantOutputs(graph: Graph): Map<string, Tensor> {
  return new Map(
    graph.outputs.flatMap((name) => {
      const value = graph.constants.get(name);
      return value ? [[name, value] as const] : [];
    }),
  );
}

/** Of the Neuron subgraphs together. */
function denseWorkOf(subgraphs: readonly Subgraph[]): DenseWork {
  const parts = subgraphs.filter(({ device }) => device === "neuron").map(({ graph }) => denseWork(graph));
  return { flops: parts.reduce((sum, part) => sum + part.flops, 0), weights: parts.reduce((sum, part) => sum + part.weights, 0) };
}

function reportOf(manifest: Manifest, bytes: Uint8Array): Omit<CompileReport, "flops" | "dense" | "layers" | "notes"> {
  const { name, signature, operators, neuronCores, flopsOnNeuron, predicted } = manifest;
  const subgraphs = manifest.subgraphs.map(({ nodes: _, ...subgraph }) => subgraph);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { sha256, bytes: bytes.length, name, signature, operators, subgraphs, neuronCores, flopsOnNeuron, predicted };
}

/** With all of its values as outputs, as far as their types are known. */
function withEveryValue(part: Subgraph): Subgraph {
  const { graph } = part;
  const made = graph.nodes.flatMap((node) => node.outputs).filter((name) => name !== "" && isStatic(graph.types.get(name)));
  return { ...part, graph: { ...graph, outputs: [...new Set([...graph.outputs, ...made])] } };
}

interface OnNeuron {
  readonly id: string;
  readonly layers: readonly Layer[];
  readonly stages: readonly LoadedProgram[];
  /** With where it lies in the model, and its time there. */
  timed(firstCore: number, time: SubgraphTime): SubgraphManifest;
}

interface OnCpu {
  readonly id: string;
  readonly layers: readonly Layer[];
  readonly manifest: SubgraphManifest;
  readonly model: Uint8Array;
}

function compileSubgraph(part: Subgraph, precision: Precision, options: CompileOptions): OnNeuron | OnCpu {
  const { id, device, graph } = part;
  const flopsOfNode = new Map(graph.nodes.map((node) => [node.name, flopsOf(graph, node)]));
  const flops = graph.nodes.reduce((sum, { name }) => sum + (flopsOfNode.get(name) ?? 0), 0);
  const common = {
    id,
    device,
    inputs: valueSignatures(graph, graph.inputs),
    outputs: valueSignatures(graph, graph.outputs),
    nodes: graph.nodes.flatMap((node) => [
      { name: node.name, type: node.op },
      ...(node.epilogue ?? []).map((step, index) => ({ name: step.origins[0] ?? `${node.name}.${index}`, type: step.op })),
    ]),
    operators: part.operators.length,
    flops,
  };
  if (device === "cpu") {
    const price = priceModel(graph, (node) => flopsOf(graph, node));
    const seconds = graph.nodes.reduce((sum, node) => sum + price.hostSeconds(node), 0);
    return {
      id,
      layers: [],
      manifest: { ...common, ms: 1000 * seconds, throughputPerSecond: seconds > 0 ? 1 / seconds : 0 },
      model: hostModel(graph),
    };
  }
  const cores = options.neuroncorePipelineCores ?? 1;
  const typed = typedGraph(part, precision, options);
  const { stages, plan } = compilePipeline(typed, cores, { ...options, relayout: relayoutOf(precision) });
  const sources = new Set(part.operators);
  const timed = (firstCore: number, time: SubgraphTime): SubgraphManifest => ({
    ...common,
    ...subgraphTimes(common, time),
    firstCore,
    ...(plan && { pipeline: pipelineTime(plan, time) }),
    stages: stages.map(({ parts, loaded: { program }, memory }, core) => ({
      core,
      operators: new Set(parts.flatMap(({ node }) => sourceOperators(node)).filter((name) => sources.has(name))).size,
      ...memory,
      flops: parts.reduce((sum, part) => sum + shareOf(part) * (flopsOfNode.get(part.node.name) ?? 0), 0),
      ...stageTime(time.stages[core]),
      traffic: { ...dramTraffic(program) },
      constants: constantIndex(program),
    })),
  });
  return { id, layers: layersOf(typed, id), timed, stages: stages.map(({ loaded }) => loaded) };
}

function layersOf(graph: Graph, subgraph: string): Layer[] {
  return graph.nodes.map(({ name, op, epilogue = [], outputs }) => {
    const type = [op, ...epilogue.map((step) => step.op)].join(" + ");
    return { name, type, dtype: staticType(graph, outputs[0]).dtype, subgraph };
  });
}

function pipelineTime({ slowestSeconds, boundSeconds }: PipelinePlan, { stages, latencySeconds }: SubgraphTime): PipelineManifest {
  const slowestCore = stages.reduce((most, { seconds }, core) => (seconds > stages[most].seconds ? core : most), 0);
  return {
    slowestCore,
    slowestMs: 1000 * stages[slowestCore].seconds,
    plannedMs: 1000 * slowestSeconds,
    boundMs: 1000 * boundSeconds,
    gap: boundSeconds > 0 ? slowestSeconds / boundSeconds - 1 : 0,
    fillMs: 1000 * latencySeconds,
  };
}

function stageTime({ seconds, engines, dramBytes, passedBytes, utilisation }: StageTime) {
  const busyMs = Object.fromEntries(Object.entries(engines).map(([engine, busy]) => [engine, 1000 * busy]));
  return { ms: 1000 * seconds, busyMs, dramBytes, passedBytes, utilisation };
}
