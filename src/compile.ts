/** The driver: it hands each phase what the one before it made. Nothing here knows an operator or an instruction. */
import { createHash } from "node:crypto";
import { UserError, userError } from "./diagnostics/diagnostic.js";
import { fingerprint } from "./fingerprint.js";
import {
  type Framework,
  type ImportedModel,
  type ImportOptions,
  importModel,
  listOperators,
  type SourceOperator,
} from "./frontend/index.js";
import { type Graph, isStatic, staticType } from "./graph/graph.js";
import { resolveName } from "./graph/names.js";
import type { DType } from "./graph/tensor.js";
import { printGraph } from "./graph/text.js";
import { verifyGraph } from "./graph/verify.js";
import { hostModel } from "./host/prepare.js";
import { largestBatch } from "./largest_batch.js";
import { type Artifact, MANIFEST_FORMAT, type Manifest, type PipelineManifest, type SubgraphManifest } from "./neff/artifact.js";
import { constantIndex, writeNeff } from "./neff/neff.js";
import { type DenseWork, denseWork } from "./operators/dense.js";
import { checkNode, decompose, describeReason, flopsOf, recordOf, supportedOperators } from "./operators/index.js";
import { inferTypes } from "./operators/infer.js";
import type { Reason } from "./operators/record.js";
import type { CompileOptions } from "./options.js";
import { partition, priceModel, type Subgraph, sourceOperators } from "./partition/index.js";
import {
  applyPrecision,
  asWords,
  type BindOptions,
  normalise,
  type Precision,
  parseIoConfig,
  parsePrecision,
  relayoutOf,
} from "./passes/index.js";
import type { PipelinePlan } from "./pipeline/stages.js";
import type { LoadedProgram } from "./program/program.js";
import { dramTraffic } from "./program/traffic.js";
import { releaseBuffers } from "./release.js";
import { launchMs, manifestOptions, notesOn, placeOperators, predict, shareOnNeuron, staticSignatures, valueSignatures } from "./report.js";
import { type StageTime, simulateTime, type TimeReport } from "./simulator/time.js";
import { compilePipeline } from "./stages.js";
import { version } from "./version.js";

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

/** A model whose nodes are known to run on a NeuronCore, or why not. */
interface CheckedModel extends Pick<ImportedModel, "framework" | "files" | "aliases"> {
  /** Normalised. */
  readonly graph: Graph;
  readonly source: readonly SourceOperator[];
  /** Names of source operators that the user wants on the CPU. */
  readonly keep: ReadonlySet<string>;
  /** By name of the normalised graph's nodes. */
  readonly verdicts: ReadonlyMap<string, Reason | undefined>;
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
  const model = await check(path, options, bindOptions(options));
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
  options.observe?.("partition", () => parts.subgraphs.map((part) => `// ${part.id} on ${part.device}\n${text(part.graph)}`).join("\n"));
  const compiled = parts.subgraphs.map((part) => compileSubgraph(part, precision, options));
  options.progress?.("package");
  const subgraphs = compiled.map((part) => part.manifest);
  const constants = new Map(
    graph.outputs.flatMap((name) => {
      const value = graph.constants.get(name);
      return value ? [[name, value] as const] : [];
    }),
  );
  const flops = subgraphs.reduce((sum, part) => sum + part.flops, 0);
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
  };
  const bytes = await writeNeff(artifact);
  const dense = parts.subgraphs.filter(({ device }) => device === "neuron").map((part) => denseWork(part.graph));
  const work = {
    flops,
    dense: { flops: dense.reduce((sum, part) => sum + part.flops, 0), weights: dense.reduce((sum, part) => sum + part.weights, 0) },
  };
  return {
    artifact,
    bytes,
    report: { ...report(manifest, bytes), ...work, layers: compiled.flatMap(({ layers }) => layers), notes: notesOn(settings, parts) },
  };
}

function report(manifest: Manifest, bytes: Uint8Array): Omit<CompileReport, "flops" | "dense" | "layers" | "notes"> {
  const { name, signature, operators, neuronCores, flopsOnNeuron, predicted } = manifest;
  const subgraphs = manifest.subgraphs.map(({ nodes: _, ...subgraph }) => subgraph);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { sha256, bytes: bytes.length, name, signature, operators, subgraphs, neuronCores, flopsOnNeuron, predicted };
}

export interface ModelCheck {
  readonly framework: Framework;
  readonly operators: readonly { readonly name: string; readonly type: string; readonly supported: boolean; readonly reason?: string }[];
  /** What the verdict rests on, where that is not the model alone. */
  readonly note?: string;
}

export type CheckOptions = Pick<
  CompileOptions,
  "batchSize" | "inputShapes" | "inputValues" | "framework" | "signature" | "tagSet" | "ioConfig"
>;

/**
 * Which of a model's operators can run on a NeuronCore. Open first dimensions without a batch size count as 1; where other
 * dimensions stay open, operators are judged by their type.
 */
export async function checkModel(path: string, options: CheckOptions = {}): Promise<ModelCheck> {
  let imported: ImportedModel;
  try {
    imported = await importModel(path, importOptions(options));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    // Throws the same again where it is not the conversion of some operators that failed.
    return checkTypes(await listOperators(path, importOptions(options)), `the model can't be compiled as it is: ${error.message}`);
  }
  const types = imported.graph.inputs.map((name) => ({ name, type: imported.graph.types.get(name) }));
  const bind = bindOptions(options);
  const names = [bind.inputShapes, bind.inputValues, bind.ioConfig?.inputs].flatMap((values) => [...(values?.keys() ?? [])]);
  const given = new Set(names.map((name) => resolveName(name, imported.graph.inputs, imported.aliases) ?? name));
  const open = types.filter(({ name, type }) => !given.has(name) && type?.shape?.every((extent) => typeof extent === "number") !== true);
  const onlyBatch = open.every(({ type }) => type?.shape?.every((extent, axis) => typeof extent === "number" || axis === 0));
  if (!onlyBatch) {
    const names = open.map(({ name }) => name).join(", ");
    return checkTypes(imported, `inputs ${names} have open dimensions. Give --input-shape for a full check.`);
  }
  const batchSize = options.batchSize ?? (open.length > 0 ? 1 : undefined);
  const { graph, source, verdicts } = await check(path, {}, { ...bind, batchSize }, imported);
  const reasons = new Map<string, Reason>();
  for (const node of graph.nodes) {
    const reason = verdicts.get(node.name);
    if (reason) for (const name of sourceOperators(node)) reasons.set(name, reason);
  }
  const operators = source.map(({ name, type }) => {
    const reason = reasons.get(name);
    return { name, type, supported: reason === undefined, ...(reason ? { reason: describeReason(reason) } : {}) };
  });
  const note = open.length > 0 && options.batchSize === undefined ? { note: "Open batch dimensions were taken as 1." } : {};
  return { framework: imported.framework, operators, ...note };
}

function checkTypes({ framework, operators: source }: Pick<ImportedModel, "framework" | "operators">, because: string): ModelCheck {
  const supported = new Set(supportedOperators(framework));
  const operators = source.map(({ name, type }) => ({
    name,
    type,
    supported: supported.has(type),
    ...(supported.has(type) ? {} : { reason: "no NeuronCore form of this operator" }),
  }));
  return { framework, operators, note: `Operators were judged by their type alone: ${because}` };
}

/** What of a compile's options import needs. */
export function importOptions({ framework, signature, tagSet, ioConfig }: CompileOptions): ImportOptions {
  const { inputs, outputs } = ioConfig === undefined ? {} : parseIoConfig(ioConfig);
  return { framework, signature, tagSet, inputs, outputs };
}

export function bindOptions({ batchSize, inputShapes, inputValues, ioConfig }: CompileOptions): BindOptions {
  return { batchSize, inputShapes, inputValues, ioConfig: ioConfig === undefined ? undefined : parseIoConfig(ioConfig) };
}

/** The operators that the user names, and those of types that are none of the user's list. */
function keptOnHost(source: readonly SourceOperator[], { noFuseOps = [], supportedOpTypes }: CompileOptions): ReadonlySet<string> {
  const listed = supportedOpTypes && new Set(supportedOpTypes);
  return new Set([...noFuseOps, ...source.flatMap(({ name, type }) => (listed === undefined || listed.has(type) ? [] : [name]))]);
}

/** Import, normalise, check. */
async function check(path: string, options: CompileOptions, bind: BindOptions, given?: ImportedModel): Promise<CheckedModel> {
  options.progress?.("import");
  const model = given ?? (await importModel(path, importOptions(options)));
  const { graph: imported, operators: source, framework, files, aliases } = model;
  const keep = keptOnHost(source, options);
  options.observe?.("import", () => text(imported));
  options.progress?.("normalise");
  const normalised = await normalise(imported, {
    bind: { ...bind, aliases },
    // Loaded only for a model that has something to fold.
    evaluate: async (piece, inputs) => (await import("./host/index.js")).runGraph(piece, inputs),
    operators: { recordOf, inferTypes, decompose, runsOnNeuron: (piece, node) => checkNode(piece, node) === undefined },
    keep,
    observe: (pass, after) => {
      if (options.verifyEach) verify(pass, after);
      options.observe?.(`normalise ${pass}`, () => text(after));
    },
  });
  const graph = releaseBuffers(normalised);
  options.observe?.("normalise", () => text(graph));
  options.progress?.("check");
  const verdicts = new Map(graph.nodes.map((node) => [node.name, checkNode(graph, node)]));
  options.observe?.("check", () =>
    [...verdicts].map(([name, reason]) => `${name}: ${reason ? describeReason(reason) : "runs on a NeuronCore"}\n`).join(""),
  );
  return { framework, files, aliases, graph, source, keep, verdicts };
}

function text(graph: Graph): string {
  return printGraph(graph, { elideConstants: true });
}

function verify(pass: string, graph: Graph): void {
  const faults = verifyGraph(graph);
  if (faults.length > 0) throw new Error(`after ${pass}: ${faults.slice(0, 5).join("; ")}`);
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
  // By name only: what it rounds depends on where layouts meet, and so on the cut.
  const relayout = options.fastMath?.includes("fast-relayout") ? relayoutOf(precision) : undefined;
  const stageOptions = { ...options, relayout };
  const rounded = applyPrecision(asWords(graph), precision, recordOf);
  const { stages, plan } = compilePipeline(rounded, cores, stageOptions);
  const sources = new Set(part.operators);
  const time = simulateTime(stages.map(({ loaded }) => loaded.program));
  const ms = 1000 * time.latencySeconds;
  const manifest = {
    ...common,
    ms: ms + launchMs([...common.inputs, ...common.outputs]),
    throughputPerSecond: time.throughputPerSecond,
    ...(plan && { pipeline: pipelineTime(plan, time) }),
    stages: stages.map(({ graph: own, loaded: { program }, memory }, core) => ({
      core,
      operators: new Set(own.nodes.flatMap(sourceOperators).filter((name) => sources.has(name))).size,
      ...memory,
      flops: own.nodes.reduce((sum, { name }) => sum + (flopsOfNode.get(name) ?? 0), 0),
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
