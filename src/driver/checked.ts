/** The first phases of a compile: from a file to a normalised graph with a verdict on each node. */
import { type ImportedModel, type ImportOptions, importModel, type SourceOperator } from "../frontend/index.js";
import type { Graph } from "../graph/graph.js";
import { printGraph } from "../graph/text.js";
import { verifyGraph } from "../graph/verify.js";
import { checkNode, decompose, describeReason, recordOf } from "../operators/index.js";
import { inferTypes } from "../operators/infer.js";
import type { Reason } from "../operators/record.js";
import { type BindOptions, normalise, parseIoConfig } from "../passes/index.js";
import type { CompileOptions } from "./options.js";
import { releaseBuffers } from "./release.js";

/** A model whose nodes are known to run on a NeuronCore, or why not. */
export interface CheckedModel extends Pick<ImportedModel, "framework" | "files" | "aliases"> {
  /** Normalised. */
  readonly graph: Graph;
  readonly source: readonly SourceOperator[];
  /** Names of source operators that the user wants on the CPU. */
  readonly keep: ReadonlySet<string>;
  /** By name of the normalised graph's nodes. */
  readonly verdicts: ReadonlyMap<string, Reason | undefined>;
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
export function keptOnHost(source: readonly SourceOperator[], { noFuseOps = [], supportedOpTypes }: CompileOptions): ReadonlySet<string> {
  const listed = supportedOpTypes && new Set(supportedOpTypes);
  return new Set([...noFuseOps, ...source.flatMap(({ name, type }) => (listed === undefined || listed.has(type) ? [] : [name]))]);
}

/** Import, normalise, check. */
export async function checkedModel(path: string, options: CompileOptions, bind: BindOptions, given?: ImportedModel): Promise<CheckedModel> {
  options.progress?.("import");
  const model = given ?? (await importModel(path, importOptions(options)));
  const { graph: imported, operators: source, framework, files, aliases } = model;
  const keep = keptOnHost(source, options);
  if (options.verifyEach) verify("import", imported);
  options.observe?.("import", undefined, () => graphText(imported));
  options.progress?.("normalise");
  const normalised = await normalise(imported, {
    bind: { ...bind, aliases },
    // Loaded only for a model that has something to fold.
    evaluate: async (piece, inputs) => (await import("../host/index.js")).runGraph(piece, inputs),
    operators: { recordOf, inferTypes, decompose, runsOnNeuron: (piece, node) => checkNode(piece, node) === undefined },
    keep,
    observe: (pass, after) => {
      if (options.verifyEach) verify(pass, after);
      options.observe?.("normalise", pass, () => graphText(after));
    },
  });
  const graph = releaseBuffers(normalised);
  options.observe?.("normalise", undefined, () => graphText(graph));
  options.progress?.("check");
  const verdicts = new Map(graph.nodes.map((node) => [node.name, checkNode(graph, node)]));
  options.observe?.("check", undefined, () =>
    [...verdicts].map(([name, reason]) => `${name}: ${reason ? describeReason(reason) : "runs on a NeuronCore"}\n`).join(""),
  );
  return { framework, files, aliases, graph, source, keep, verdicts };
}

/** As `--print-ir-after` shows it. */
export function graphText(graph: Graph): string {
  return printGraph(graph, { elideConstants: true });
}

/** Throws where a phase or a pass left a graph that contradicts itself. */
export function verify(made: string, graph: Graph): void {
  assertSound(made, verifyGraph(graph));
}

/** Throws where there are faults in what was made: a bug of the compiler. */
export function assertSound(made: string, faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`after ${made}: ${faults.slice(0, 5).join("; ")}`);
}
