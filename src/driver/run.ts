/** Running artifacts: the runtime on the simulator's cores and the host's ONNX Runtime, and the comparison with the original model. */
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { UserError, userError } from "../diagnostics/diagnostic.js";
import { statsOf } from "../frontend/files.js";
import { detectFramework, type ImportedModel, importModel } from "../frontend/index.js";
import { resolveName } from "../graph/names.js";
import { isWide, type Tensor, type TensorData, toWords } from "../graph/tensor.js";
import { type Artifact, type Manifest, type PipelineSummary, pipelinesOf, type Signature } from "../neff/artifact.js";
import { readNeff, readPrograms } from "../neff/neff.js";
import { type Comparison, compareTensors } from "../runtime/compare.js";
import { readBytes } from "../runtime/files/files.js";
import { sha256 } from "../runtime/files/raw.js";
import { type Devices, type LoadOptions, loadModel as loadOn, type Model } from "../runtime/model.js";
import { createCore } from "../simulator/index.js";
import { simulateTime } from "../simulator/time.js";
import { importOptions } from "./checked.js";
import { fingerprint } from "./fingerprint.js";
import type { TensorComparison } from "./forensics.js";
import { artifactOptions } from "./options.js";
import { modelTimes } from "./times.js";

/** Simulated NeuronCores, and ONNX Runtime for CPU subgraphs: loaded only where there are any. */
const simulated: Devices = {
  core: async (loaded, threads) => {
    const core = await createCore(loaded, { threads });
    const outputs = loaded.program.buffers.flatMap((buffer) => (buffer.space === "dram" && buffer.kind === "output" ? [buffer] : []));
    const inputs = loaded.program.buffers.flatMap((buffer) => (buffer.space === "dram" && buffer.kind === "input" ? [buffer.name] : []));
    return {
      run: async (values) => {
        const given = new Map(inputs.map((name) => [name, asTaken(present(values, name))]));
        const results = await core.run(given);
        return new Map(outputs.map(({ name, dtype, shape }): [string, Tensor] => [name, { dtype, shape, data: present(results, name) }]));
      },
      dispose: async () => core.dispose(),
    };
  },
  host: async (model, subgraph, threads) => {
    const { createHostSession } = await import("../host/index.js");
    const outputTypes = new Map(subgraph.outputs.map(({ name, dtype }) => [name, dtype]));
    const session = await createHostSession(model, { threads, outputTypes });
    return {
      run: (values) => session.run(new Map(subgraph.inputs.map(({ name }) => [name, present(values, name)]))),
      dispose: () => session.dispose(),
    };
  },
};

/** A core takes 64-bit elements as their words. */
function asTaken(value: Tensor): TensorData {
  return isWide(value.dtype) ? toWords(value) : value.data;
}

function present<T>(values: ReadonlyMap<string, T>, name: string): T {
  const value = values.get(name);
  if (value === undefined) throw new Error(`no value for ${name}`);
  return value;
}

/** Loads a NEFF, given by its path, its bytes or itself, onto simulated cores. Errors: NCC0101, NCC0701 to NCC0705, NCC0802. */
export function loadModel(source: string | Uint8Array | Artifact, options: LoadOptions = {}): Promise<Model> {
  return loadOn(source, simulated, options);
}

export interface RunOptions extends LoadOptions {
  /** Makes the inputs when the signature is known, or gives them. */
  readonly inputs: ReadonlyMap<string, Tensor> | ((signature: Signature) => Promise<ReadonlyMap<string, Tensor>>);
  /** Compare with the original model in FP32: its path, or true to look for it by its content beside the artifact and in the working folder. */
  readonly reference?: string | true;
  /** With `reference`: compare every tensor inside that both have. */
  readonly perTensor?: boolean;
  /** Measured runs after one that warms up; `hostMs` is their median. */
  readonly repeat?: number;
  progress?(step: string): void;
}

export interface RunReport {
  readonly outputs: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly sha256: string;
  }[];
  /** Modelled latency of one request. */
  readonly predictedMs: number;
  readonly predicted: Manifest["predicted"];
  /** The Neuron subgraphs that were cut into stages. */
  readonly pipelines: readonly PipelineSummary[];
  /** What the simulation took on this host. */
  readonly hostMs: number;
  readonly errors?: readonly Comparison[];
  /** With `perTensor`: in the order of the original model. */
  readonly tensors?: readonly TensorComparison[];
  readonly values: ReadonlyMap<string, Tensor>;
}

/** One request through the runtime, from an artifact's file. Errors: those of `loadModel` and of `Model.run`, NCC0806, NCC0807. */
export async function runArtifact(file: string, options: RunOptions): Promise<RunReport> {
  const artifact = readNeff(readBytes(file), file);
  const { manifest } = artifact;
  const referenceModel = options.reference === undefined ? undefined : await findReference(file, artifact, options.reference);
  const inputs = typeof options.inputs === "function" ? await options.inputs(manifest.signature) : options.inputs;
  const model = await loadModel(artifact, options);
  try {
    options.progress?.("running");
    const times: number[] = [];
    const request = async () => {
      const started = performance.now();
      const outputs = await model.run(inputs);
      times.push(performance.now() - started);
      return outputs;
    };
    const values = await request();
    if (options.repeat !== undefined) times.length = 0;
    for (let count = 0; count < (options.repeat ?? 0); count++) await request();
    options.progress?.("comparing");
    const errors = referenceModel === undefined ? undefined : await compare(referenceModel.model, artifact, inputs, values);
    return {
      outputs: [...values].map(([name, value]) => ({ name, dtype: value.dtype, shape: value.shape, sha256: sha256(value) })),
      predictedMs: manifest.predicted.latencyMs,
      predicted: manifest.predicted,
      pipelines: pipelinesOf(manifest),
      hostMs: median(times),
      ...(errors ? { errors } : {}),
      ...(referenceModel && options.perTensor ? { tensors: await inside(referenceModel, artifact, inputs) } : {}),
      values,
    };
  } finally {
    await model.dispose();
  }
}

async function inside({ path, model }: Found, artifact: Artifact, inputs: ReadonlyMap<string, Tensor>) {
  return (await import("./forensics.js")).compareInside(path, model, artifact, inputs);
}

/** The modelled time alone, of the artifact's programs: no value is computed and no weight read. Errors: those of `readPrograms`, NCC0101 and NCC0802. */
export async function predictArtifact(file: string): Promise<{ predictedMs: number; predicted: Manifest["predicted"] }> {
  const { manifest, programs } = readPrograms(readBytes(file), file);
  const predicted = modelTimes(manifest.subgraphs, simulateTime([...programs.values()]));
  return { predictedMs: predicted.latencyMs, predicted };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The original model, and where it is. */
interface Found {
  readonly path: string;
  readonly model: ImportedModel;
}

/**
 * The original model. The artifact knows its size and SHA-256, not its name: a model of that content, beside the artifact or in the working
 * folder, is it. Errors: NCC0806 none found, NCC0807 a given file with another content.
 */
async function findReference(file: string, artifact: Artifact, given: string | true): Promise<Found> {
  const { source } = artifact.manifest;
  if (given !== true) {
    const model = await importModel(given, importOptions(artifactOptions(artifact)));
    const seen = fingerprint(model.files).sha256;
    if (seen !== source.sha256) throw userError("NCC0807", { path: given, seen, expected: source.sha256 });
    return { path: given, model };
  }
  for (const folder of [dirname(file), "."]) {
    for (const name of namesIn(folder)) {
      const path = join(folder, name);
      const model = await importIfSource(path, artifact);
      if (model) return { path, model };
    }
  }
  throw userError("NCC0806", { file, sha256: source.sha256 });
}

const modelFiles: Readonly<Record<string, RegExp>> = { ONNX: /\.onnx$/, TENSORFLOW: /\.(pb|pbtxt)$/ };

/** Sorted; none where the folder can't be read. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Whether the model may be what is at a path; a file of another size is not read. Errors: those of what can't be read. */
function mayBeSource(path: string, { framework, bytes, sha256: wanted }: Manifest["source"]): boolean {
  const status = statsOf(path);
  if (status?.isDirectory()) return framework === "TENSORFLOW" && detectFramework(path) === framework;
  if (!status?.isFile() || status.size > bytes || !modelFiles[framework]?.test(path)) return false;
  return status.size < bytes || fingerprint([path]).sha256 === wanted;
}

/** The model at `path` if its files have the content. */
async function importIfSource(path: string, artifact: Artifact): Promise<ImportedModel | undefined> {
  const { source } = artifact.manifest;
  try {
    if (!mayBeSource(path, source)) return undefined;
    const model = await importModel(path, importOptions(artifactOptions(artifact)));
    return fingerprint(model.files).sha256 === source.sha256 ? model : undefined;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

/** What the original model takes: a request's inputs, and those that were fixed. */
export function referenceInputs(
  { graph, aliases }: ImportedModel,
  { inputValues }: Artifact,
  inputs: ReadonlyMap<string, Tensor>,
): ReadonlyMap<string, Tensor> {
  const fixed = [...inputValues].map(([name, value]) => [resolveName(name, graph.inputs, aliases) ?? name, value] as const);
  return new Map([...inputs, ...fixed]);
}

async function compare(
  model: ImportedModel,
  artifact: Artifact,
  inputs: ReadonlyMap<string, Tensor>,
  values: ReadonlyMap<string, Tensor>,
): Promise<Comparison[]> {
  const { runGraph } = await import("../host/index.js");
  const reference = await runGraph(model.graph, referenceInputs(model, artifact, inputs));
  return [...values].map(([name, value]) => compareTensors(name, value, present(reference, name)));
}
