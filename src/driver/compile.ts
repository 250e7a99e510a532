/** The driver: it hands each phase what the one before it made. Nothing here knows an operator or an instruction. */
import { createHash } from "node:crypto";
import { UserError, userError } from "../diagnostics/diagnostic.js";
import { type Graph, isStatic, staticType } from "../graph/graph.js";
import type { DType, Tensor } from "../graph/tensor.js";
import { hostModel } from "../host/prepare.js";
import { type Artifact, MANIFEST_FORMAT, type Manifest, type PipelineManifest, type SubgraphManifest } from "../neff/artifact.js";
import { constantIndex, writeNeff } from "../neff/neff.js";
import { type DenseWork, denseWork } from "../operators/dense.js";
import { flopsOf, recordOf } from "../operators/index.js";
import { partition, priceModel, type Subgraph, sourceOperators } from "../partition/index.js";
import { applyPrecision, asWords, type Precision, parsePrecision, relayoutOf } from "../passes/index.js";
import { shareOf } from "../pipeline/parts.js";
import type { PipelinePlan } from "../pipeline/stages.js";
import type { LoadedProgram } from "../program/program.js";
import { dramTraffic } from "../program/traffic.js";
import { type StageTime, simulateTime, type TimeReport } from "../simulator/time.js";
import { version } from "../version.js";
import { bindOptions, checkedModel, graphText, verify } from "./checked.js";
import { fingerprint } from "./fingerprint.js";
import { largestBatch } from "./largest_batch.js";
import type { CompileOptions } from "./options.js";
import { launchMs, manifestOptions, notesOn, placeOperators, predict, shareOnNeuron, staticSignatures, valueSignatures } from "./report.js";
import { compilePipeline } from "./stages.js";

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
  /** What the user should know: options without effect, and the like. */
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
 * Errors: UserError for everything that the model or the options can cause; NCC0694 names the largest batch where one is too large.
 */
export async function compileModel(path: string, options: CompileOptions = {}): Promise<CompileResult> {
  try {
    return await compileOnce(path, options);
  } catch (error) {
    const { batchSize: batch = 1 } = options;
    if (!(error instanceof UserError) || batch < 2 || !error.diagnostics.some(({ id }) => id === "NCC0690" || id === "NCC0693"))
      throw error;
    const { verifyEach: _, progress: __, log: ___, observe: ____, ...quiet } = options;
    const largest = await largestBatch(async (batchSize) => (await compileOnce(path, { ...quiet, batchSize })).artifact);
    if (largest === undefined || largest >= batch) throw error;
    throw userError("NCC0694", { batch, largest, reason: error.message });
  }
}

async function compileOnce(path: string, options: CompileOptions): Promise<CompileResult> {
  const settings = manifestOptions(options);
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
  const parts = options.everyValue ? { ...placed, subgraphs: placed.subgraphs.map(withEveryValue) } : placed;
  const outputs = [...new Set([...graph.outputs, ...(options.everyValue ? parts.subgraphs.flatMap((part) => part.graph.outputs) : [])])];
  options.observe?.("partition", () =>
    parts.subgraphs.map((part) => `// ${part.id} on ${part.device}\n${graphText(part.graph)}`).join("\n"),
  );
  const compiled = parts.subgraphs.map((part) => compileSubgraph(part, precision, options));
  options.progress?.("package");
  const subgraphs = compiled.map((part) => part.manifest);
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
    neuronCores: subgraphs.reduce((sum, part) => sum + (part.stages?.length ?? 0), 0),
    flopsOnNeuron: shareOnNeuron(subgraphs),
    predicted: predict(subgraphs),
  };
  const artifact: Artifact = {
    manifest,
    programs: new Map(compiled.flatMap(({ manifest: { id }, stages }) => (stages ? [[id, stages] as const] : []))),
    models: new Map(compiled.flatMap(({ manifest: { id }, model: file }) => (file ? [[id, file] as const] : []))),
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
      notes: notesOn(settings, parts),
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

interface CompiledSubgraph {
  readonly layers: readonly Layer[];
  readonly manifest: SubgraphManifest;
  readonly stages?: readonly LoadedProgram[];
  readonly model?: Uint8Array;
}

function compileSubgraph(part: Subgraph, precision: Precision, options: CompileOptions): CompiledSubgraph {
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
      layers: [],
      manifest: { ...common, ms: 1000 * seconds, throughputPerSecond: seconds > 0 ? 1 / seconds : 0 },
      model: hostModel(graph),
    };
  }
  const cores = options.neuroncorePipelineCores ?? 1;
  const words = asWords(graph);
  const rounded = applyPrecision(words, precision, recordOf);
  if (options.verifyEach) for (const [pass, after] of Object.entries({ words, precision: rounded })) verify(pass, after);
  options.observe?.(`precision ${id}`, () => graphText(rounded));
  const { stages, plan } = compilePipeline(rounded, cores, { ...options, relayout: relayoutOf(precision) });
  const sources = new Set(part.operators);
  const time = simulateTime(stages.map(({ loaded }) => loaded.program));
  const ms = 1000 * time.latencySeconds;
  const manifest = {
    ...common,
    ms: ms + launchMs([...common.inputs, ...common.outputs]),
    throughputPerSecond: time.throughputPerSecond,
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
  };
  return { layers: layersOf(rounded, id), manifest, stages: stages.map(({ loaded }) => loaded) };
}

function layersOf(graph: Graph, subgraph: string): Layer[] {
  return graph.nodes.map(({ name, op, epilogue = [], outputs }) => {
    const type = [op, ...epilogue.map((step) => step.op)].join(" + ");
    return { name, type, dtype: staticType(graph, outputs[0]).dtype, subgraph };
  });
}

function pipelineTime({ slowestSeconds, boundSeconds }: PipelinePlan, { stages, latencySeconds }: TimeReport): PipelineManifest {
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
