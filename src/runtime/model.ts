/** A loaded model and its requests. Each Neuron subgraph has a chain of simulated cores, each CPU subgraph a session of the host. */
import { availableParallelism } from "node:os";
import { userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { type DType, fromWords, isWide, type Tensor } from "../graph/tensor.js";
import type { Artifact, Manifest, Signature, SubgraphManifest } from "../neff/artifact.js";
import { readNeff } from "../neff/neff.js";
import type { LoadedProgram } from "../program/program.js";
import { cutBatches, fitsBatch } from "./batches.js";
import { readBytes } from "./files/files.js";

/** Something that executes a subgraph, or one stage of one: values in by name, values out by name. */
export interface Executor {
  run(inputs: ReadonlyMap<string, Tensor>): Promise<ReadonlyMap<string, Tensor>>;
  dispose(): Promise<void>;
}

/** Makes executors. The phases below this one are handed in, so that a model may run on anything that runs programs. */
export interface Devices {
  /** `outputs` are those that the subgraph's stage gives, with their types. */
  core(loaded: LoadedProgram, threads: number): Promise<Executor>;
  host(model: Uint8Array, subgraph: SubgraphManifest, threads: number): Promise<Executor>;
}

export interface LoadOptions {
  /** Threads of each executor; the machine's processors if absent. Results do not depend on it. */
  readonly threads?: number;
}

export interface Model {
  readonly manifest: Manifest;
  readonly signature: Signature;
  /** Modelled time of one request on the device. */
  readonly predicted: Manifest["predicted"];
  /**
   * One request. A model compiled with `--dynamic-batch-size` takes inputs of any batch: they pass it in parts of the compiled one.
   * Errors: NCC0351, NCC0371 to NCC0375 (names, shapes, dtypes).
   */
  run(inputs: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>>;
  /** Frees threads and memory. */
  dispose(): Promise<void>;
}

/** Loads a NEFF given by its path or its bytes. Errors: NCC0101, NCC0701 to NCC0705, NCC0802. */
export async function loadModel(source: string | Uint8Array | Artifact, devices: Devices, options: LoadOptions = {}): Promise<Model> {
  const artifact =
    typeof source === "string" ? readNeff(readBytes(source), source) : source instanceof Uint8Array ? readNeff(source) : source;
  const { manifest } = artifact;
  const threads = options.threads ?? availableParallelism();
  const chains: { subgraph: SubgraphManifest; executors: Executor[] }[] = [];
  const dispose = async () => {
    for (const chain of chains) for (const executor of chain.executors) await executor.dispose();
  };
  try {
    for (const subgraph of manifest.subgraphs) {
      const executors: Executor[] = [];
      chains.push({ subgraph, executors });
      const model = artifact.models.get(subgraph.id);
      if (model) executors.push(await devices.host(model, subgraph, threads));
      for (const program of artifact.programs.get(subgraph.id) ?? []) executors.push(await devices.core(program, threads));
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  const { signature } = manifest;
  const runOne = async (inputs: ReadonlyMap<string, Tensor>) => {
    const values = new Map<string, Tensor>([...artifact.constants, ...inputs]);
    for (const { subgraph, executors } of chains) {
      for (const executor of executors) for (const [name, value] of await executor.run(values)) values.set(name, value);
      for (const { name, dtype } of subgraph.outputs) values.set(name, joinWords(values.get(name) ?? missing(name), dtype));
    }
    return new Map(signature.outputs.map(({ name }) => [name, values.get(name) ?? missing(name)]));
  };
  return {
    manifest,
    signature,
    predicted: manifest.predicted,
    dispose,
    run: async (inputs) => {
      const dynamic = manifest.options.dynamicBatchSize;
      checkInputs(signature, inputs, dynamic);
      const batches = dynamic ? cutBatches(signature, inputs) : undefined;
      if (!batches) return runOne(inputs);
      const outputs: ReadonlyMap<string, Tensor>[] = [];
      for (const part of batches.parts) outputs.push(await runOne(part));
      return batches.join(outputs);
    },
  };
}

/** A core gives 64-bit elements as their words; any other value is as it is. */
function joinWords(value: Tensor, dtype: DType): Tensor {
  return isWide(dtype) && value.data instanceof Int32Array ? fromWords(dtype, value) : value;
}

function missing(name: string): never {
  throw new Error(`no subgraph gives ${name}`);
}

/** Names, dtypes and shapes against the signature, with `anyBatch` but for the first extent. Errors: NCC0351 unknown name, NCC0371 shape, NCC0372 dtype, NCC0373 missing. */
export function checkInputs(signature: Signature, inputs: ReadonlyMap<string, Tensor>, anyBatch = false): void {
  const names = signature.inputs.map((input) => input.name);
  for (const name of inputs.keys()) {
    if (!names.includes(name)) throw userError("NCC0351", { name, hint: didYouMean(name, names), inputs: names.join(", ") || "none" });
  }
  for (const { name, dtype, shape } of signature.inputs) {
    const value = inputs.get(name);
    if (!value) throw userError("NCC0373", { name, dtype, shape: shape.join(",") });
    if (value.dtype !== dtype) throw userError("NCC0372", { name, seen: value.dtype, expected: dtype });
    if (value.shape.join() !== shape.join() && !(anyBatch && fitsBatch(shape, value.shape)))
      throw userError("NCC0371", { name, seen: value.shape.join(","), expected: shape.join(",") });
  }
}
