/** Compiling a SavedModel with the arguments of the vendor's `tfn.saved_model.compile`, in this language's spelling. */

import { UserError } from "../diagnostics/diagnostic.js";
import type { Tensor } from "../graph/tensor.js";
import { type CompileResult, compileModel } from "./compile.js";
import { argumentOptions, type CompileOptions } from "./options.js";

export interface SavedModelOptions
  extends Pick<
    CompileOptions,
    "batchSize" | "minimumSegmentSize" | "noFuseOps" | "forceFuseOps" | "supportedOpTypes" | "dynamicBatchSize"
  > {
  /** 1 if absent. Shapes go before it, and values before those. */
  readonly batchSize?: number;
  /** Shapes of inputs, by tensor (`x:0`) or by key of the signature. */
  readonly modelShapeFeedDict?: Readonly<Record<string, readonly number[]>>;
  /** Example inputs, of which the shapes count. */
  readonly modelFeedDict?: Readonly<Record<string, Tensor>>;
  readonly tags?: readonly string[];
  readonly signatureDefKey?: string;
  /** Flags of `neuronc compile`, word by word. */
  readonly compilerArgs?: readonly string[];
}

export interface CompiledSavedModel extends CompileResult {
  /** Share of the operators left after optimisation that are on NeuronCores. */
  readonly onNeuronRatio: number;
}

/** Compiles a SavedModel. Errors: those of `compileModel` and of the command line's flags. */
export async function compileSavedModel(modelDir: string, options: SavedModelOptions = {}): Promise<CompiledSavedModel> {
  const { batchSize, modelShapeFeedDict = {}, modelFeedDict = {}, tags, signatureDefKey, compilerArgs = [], ...placement } = options;
  const fed = Object.entries(modelFeedDict).map(([name, { shape }]) => [name, shape] as const);
  const shapes = fed.length > 0 ? fed : Object.entries(modelShapeFeedDict);
  const common: CompileOptions = {
    ...(await argumentOptions(compilerArgs)),
    ...given({ ...placement, tagSet: tags?.join(","), signature: signatureDefKey }),
    ...(shapes.length > 0 ? { inputShapes: new Map(shapes) } : {}),
    framework: "TENSORFLOW",
  };
  const result = await compileBatch(modelDir, common, batchSize);
  const { subgraphs } = result.report;
  const count = (list: typeof subgraphs) => list.reduce((sum, { operators }) => sum + operators, 0);
  const total = count(subgraphs);
  const onNeuronRatio = total === 0 ? 0 : count(subgraphs.filter(({ device }) => device === "neuron")) / total;
  return { ...result, onNeuronRatio };
}

/** Without a batch size, 1 where an input has an open batch that no shape binds. */
async function compileBatch(modelDir: string, common: CompileOptions, batchSize: number | undefined): Promise<CompileResult> {
  const wanted = batchSize ?? common.batchSize;
  if (wanted !== undefined) return compileModel(modelDir, { ...common, batchSize: wanted });
  try {
    return await compileModel(modelDir, common);
  } catch (error) {
    if (!(error instanceof UserError) || error.diagnostics[0]?.id !== "NCC0356") throw error;
    return compileModel(modelDir, { ...common, batchSize: 1 });
  }
}

/** Without the entries that have no value, which would hide those of the compiler's arguments. */
function given<T extends object>(options: T): Partial<T> {
  const entries: Partial<T> = { ...options };
  for (const key of Object.keys(options)) if (isKeyOf(options, key) && options[key] === undefined) delete entries[key];
  return entries;
}

function isKeyOf<T extends object>(object: T, key: string): key is Extract<keyof T, string> {
  return Object.hasOwn(object, key);
}
