/** The smallest part of a model that fails as the model does: for reports of faults. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UserError, userError } from "../diagnostics/diagnostic.js";
import { importModel, type SourceOperator, writeOnnx } from "../frontend/index.js";
import { type Graph, isStatic } from "../graph/graph.js";
import type { Tensor } from "../graph/tensor.js";
import type { Signature } from "../neff/artifact.js";
import { compileOptions, pick } from "../options/table.js";
import { sourceOperators } from "../partition/index.js";
import { bind } from "../passes/bind.js";
import { bindInputs, type KnownValues, pruned, type Subject } from "../reduce/edit.js";
import { shrink } from "../reduce/shrink.js";
import { compareTensors } from "../runtime/compare.js";
import { bindOptions, importOptions, keptOnHost } from "./checked.js";
import { compileModel } from "./compile.js";
import type { CompileOptions } from "./options.js";
import { loadModel } from "./run.js";

/** How a model fails. What fails in the same way has the same kind, and the same message ids or the same place of a crash. */
export interface Failure {
  readonly kind: "mismatch" | "refused" | "crash";
  /** Ids of messages, or the first function of this package on the crash's stack. */
  readonly id: string;
  readonly detail: string;
}

export interface ReduceOptions extends CompileOptions {
  readonly inputs: (signature: Pick<Signature, "inputs">) => Promise<ReadonlyMap<string, Tensor>>;
  /** An output mismatches when its greatest error is over this part of its greatest element; 0.05 if absent. Integers: any error. */
  readonly tolerance?: number;
  /** Most graphs to try; 500 if absent. */
  readonly limit?: number;
}

export interface Reduced {
  readonly failure: Failure;
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** The graph as an ONNX file. */
  readonly model: Uint8Array;
  /** Nodes of the model as it was. */
  readonly nodesBefore: number;
  readonly tried: number;
  /** False where the limit was reached first. */
  readonly minimal: boolean;
}

const TOLERANCE = 0.05;
const LIMIT = 500;

/** Errors: those of the import; NCC0860 for a model that does not fail. */
export async function reduceModel(path: string, options: ReduceOptions): Promise<Reduced> {
  const { graph: imported, operators, aliases } = await importModel(path, importOptions(options));
  const graph = bind(imported, { bind: { ...bindOptions(options), aliases } });
  const manner = { ...pick(options, compileOptions), ...placementOf(graph, operators, options) };
  const inputs = await options.inputs({ inputs: graph.inputs.flatMap((name) => signatureOf(graph, name)) });
  const whole = pruned(bindInputs({ graph, inputs }));
  const runs = (await evaluate(whole)).size > 0;
  const failure = await failureOf(whole, manner, options.tolerance);
  if (failure === undefined) throw userError("NCC0860", { path, tolerance: options.tolerance ?? TOLERANCE });
  const { subject, tried, minimal } = await shrink(whole, {
    limit: options.limit ?? LIMIT,
    evaluate,
    fails: async (candidate) => {
      // A part that nothing can run is no part of a model that something runs.
      if (runs && (await reference(candidate)) === undefined) return false;
      const seen = await failureOf(candidate, manner, options.tolerance);
      return seen?.kind === failure.kind && seen.id === failure.id;
    },
    progress: (best, count) => options.progress?.(`${best.graph.nodes.length} operators after ${count} tries`),
  });
  const last = (await failureOf(subject, manner, options.tolerance)) ?? failure;
  return { failure: last, ...subject, model: writeOnnx(subject.graph), nodesBefore: whole.graph.nodes.length, tried, minimal };
}

function signatureOf(graph: Graph, name: string): Signature["inputs"] {
  const type = graph.types.get(name);
  return isStatic(type) ? [{ name, dtype: type.dtype, shape: type.shape }] : [];
}

/** Compiles and runs it, and compares with ONNX Runtime. */
async function failureOf(subject: Subject, options: CompileOptions, tolerance = TOLERANCE): Promise<Failure | undefined> {
  let values: ReadonlyMap<string, Tensor>;
  try {
    values = await compileAndRun(subject, options);
  } catch (error) {
    if (error instanceof UserError) return { kind: "refused", id: error.diagnostics.map(({ id }) => id).join(" "), detail: error.message };
    if (!(error instanceof Error)) throw error;
    return { kind: "crash", id: /^\s+at (\S+)/m.exec(error.stack ?? "")?.[1] ?? "", detail: error.message };
  }
  const expected = await reference(subject);
  for (const [name, value] of values) {
    const right = expected?.get(name);
    if (right === undefined) continue;
    const { maxAbs, peak } = compareTensors(name, value, right);
    const limit = /float/.test(value.dtype) ? tolerance * peak : 0;
    if (maxAbs > limit) return { kind: "mismatch", id: "", detail: `${name}: greatest error ${maxAbs}, greatest element ${peak}` };
  }
  return undefined;
}

/** Where the user wants operators, by the names of the graph's nodes: a part of the graph has no source operators of another framework. */
function placementOf(graph: Graph, source: readonly SourceOperator[], options: CompileOptions) {
  const named = (names: ReadonlySet<string>) =>
    graph.nodes.filter((node) => [node.name, ...sourceOperators(node)].some((name) => names.has(name))).map(({ name }) => name);
  return {
    noFuseOps: named(keptOnHost(source, options)),
    forceFuseOps: named(new Set(options.forceFuseOps)),
    supportedOpTypes: undefined,
  };
}

/** Operators that the options name are those that the subject has. */
async function compileAndRun({ graph, inputs }: Subject, options: CompileOptions): Promise<ReadonlyMap<string, Tensor>> {
  const names = new Set(graph.nodes.map((node) => node.name));
  const known = (list: readonly string[] | undefined) => list?.filter((name) => names.has(name));
  const folder = mkdtempSync(join(tmpdir(), "neuronc-reduce-"));
  try {
    const path = join(folder, "model.onnx");
    writeFileSync(path, writeOnnx(graph));
    const { artifact } = await compileModel(path, {
      ...options,
      noFuseOps: known(options.noFuseOps),
      forceFuseOps: known(options.forceFuseOps),
    });
    const model = await loadModel(artifact);
    try {
      return await model.run(inputs);
    } finally {
      await model.dispose();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** ONNX Runtime's outputs; undefined where it refuses the graph. */
async function reference({ graph, inputs }: Subject): Promise<KnownValues | undefined> {
  const { runGraph } = await import("../host/index.js");
  try {
    return await runGraph(graph, inputs);
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

/** Every value inside; none where ONNX Runtime refuses the graph. */
async function evaluate({ graph, inputs }: Subject): Promise<KnownValues> {
  const outputs = graph.nodes.flatMap((node) => node.outputs).filter((name) => name !== "");
  return (await reference({ graph: { ...graph, outputs }, inputs })) ?? new Map();
}
