/** ONNX Runtime: the host's processor. It runs CPU subgraphs, the FP32 reference, and constant folding. */
import { env, InferenceSession, type Tensor as OrtTensor } from "onnxruntime-node";
import { UserError, userError } from "../diagnostics/diagnostic.js";
import { withOpset } from "../frontend/onnx/write.js";
import type { Graph } from "../graph/graph.js";
import { type DType, fromNumbers, type Tensor, toFloat32 } from "../graph/tensor.js";
import { hostModel } from "./prepare.js";
import { crosses, fromOrtTensor, toOrtTensor } from "./tensors.js";

export interface HostOptions {
  /** Threads within one operator. With 1, the default, the same input gives the same bits on one kind of processor. */
  readonly threads?: number;
  /** False runs the operators exactly as written: quicker to start, for one-time work. Default true. */
  readonly optimise?: boolean;
  /** Element types of outputs, for those that cross the border in a wider one (bfloat16). A graph knows its own. */
  readonly outputTypes?: ReadonlyMap<string, DType>;
}

export interface HostSession {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * One request. `fetch` limits the outputs that are handed back. Throws UserError: NCC0851 for an element
   * type that cannot cross, NCC0852 for a missing input, NCC0853 for what ONNX Runtime reports.
   */
  run(inputs: ReadonlyMap<string, Tensor>, fetch?: readonly string[]): Promise<Map<string, Tensor>>;
  dispose(): Promise<void>;
}

env.logLevel = "error";

function messageOf(fault: unknown): string {
  const text = fault instanceof Error ? fault.message : String(fault);
  return text.replace(/\s+/g, " ").trim();
}

/** Turns ONNX Runtime's report on loading a model into a coded error that names the operator or node where it does. */
function loadFault(name: string, fault: unknown): Error {
  const text = messageOf(fault);
  const unknown = /No Op registered for (\S+)/.exec(text) ?? /Fatal error: (\S+) is not a registered function\/op/.exec(text);
  if (unknown) return userError("NCC0551", { name, op: unknown[1] });
  const missing = /Could not find an implementation for (\S+?)\(\d+\) node with name '([^']*)'/.exec(text);
  if (missing) return userError("NCC0552", { op: missing[1], node: missing[2] });
  return userError("NCC0553", { name, detail: text });
}

function runFault(name: string, fault: unknown): Error {
  if (fault instanceof UserError) return fault;
  const text = messageOf(fault);
  const node = /while running (\S+) node\. Name:'([^']*)'/.exec(text);
  return node ? userError("NCC0854", { op: node[1], node: node[2], detail: text }) : userError("NCC0853", { name, detail: text });
}

function isTensor(value: InferenceSession.OnnxValueMapType[string] | null): value is OrtTensor {
  return value !== null && "dims" in value;
}

/** An opset for which ONNX Runtime has the kernels of operators whose newest form differs in element types alone. */
const OLDER_OPSET = 21;

async function load(name: string, model: Uint8Array, options: HostOptions): Promise<InferenceSession> {
  const create = (bytes: Uint8Array, optimise: boolean): Promise<InferenceSession> =>
    InferenceSession.create(bytes, {
      intraOpNumThreads: options.threads ?? 1,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: optimise ? "all" : "disabled",
      logSeverityLevel: 4,
    });
  const optimise = options.optimise ?? true;
  try {
    return await create(model, optimise);
  } catch (fault) {
    const error = loadFault(name, fault);
    const lacksKernel = error instanceof UserError && error.diagnostics[0].id === "NCC0552";
    // Its optimiser makes faulty graphs of some good ones: of DequantizeLinear before Reshape, for instance.
    const second = lacksKernel ? create(withOpset(model, OLDER_OPSET), optimise) : optimise ? create(model, false) : undefined;
    if (second === undefined) throw error;
    return await second.catch(() => Promise.reject(error));
  }
}

/** In the element type that the graph has. */
function narrowed(tensor: Tensor, dtype: DType | undefined): Tensor {
  return dtype === "bfloat16" && tensor.dtype === "float32" ? fromNumbers(dtype, tensor.shape, toFloat32(tensor)) : tensor;
}

/** Loads an ONNX model, or a graph, on the host. Throws UserError: NCC0551 to NCC0553 for a model that ONNX Runtime refuses. */
export async function createHostSession(model: Uint8Array | Graph, options: HostOptions = {}): Promise<HostSession> {
  const name = model instanceof Uint8Array ? "the model" : model.name;
  const session = await load(name, model instanceof Uint8Array ? model : hostModel(model), options);
  const typeOf = (output: string): DType | undefined =>
    model instanceof Uint8Array ? options.outputTypes?.get(output) : model.types.get(output)?.dtype;
  // To fetch such an output would abort the process.
  const unfit = session.outputMetadata.flatMap((output) =>
    output.isTensor && !crosses(output.type) ? [{ name: output.name, dtype: output.type }] : [],
  );
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(inputs, fetch = session.outputNames) {
      const feeds: Record<string, OrtTensor> = {};
      for (const input of session.inputNames) {
        const tensor = inputs.get(input);
        if (!tensor) throw userError("NCC0852", { name, input });
        feeds[input] = toOrtTensor(input, tensor);
      }
      for (const { name: output, dtype } of unfit) if (fetch.includes(output)) throw userError("NCC0851", { name: output, dtype });
      try {
        const results = await session.run(feeds, [...fetch]);
        return new Map(
          fetch.map((output) => {
            const value = results[output];
            if (!isTensor(value)) throw userError("NCC0851", { name: output, dtype: "a sequence or an absent optional" });
            return [output, narrowed(fromOrtTensor(output, value), typeOf(output))];
          }),
        );
      } catch (fault) {
        throw runFault(name, fault);
      }
    },
    dispose: () => session.release(),
  };
}

/** Runs a graph once on the host. Throws as `createHostSession` and `run` do. */
export async function runGraph(
  graph: Graph,
  inputs: ReadonlyMap<string, Tensor>,
  options: HostOptions = { optimise: false },
): Promise<Map<string, Tensor>> {
  const session = await createHostSession(graph, options);
  try {
    return await session.run(inputs);
  } finally {
    await session.dispose();
  }
}
