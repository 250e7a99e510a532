/** The options of a compile: what a user may ask for, as the API, as flags, and as the artifact keeps it. No other place lists them. */
import type { Tensor } from "../graph/tensor.js";
import { type Framework, frameworks } from "./framework.js";
import { fits, type Schema } from "./schema.js";
import { collect, inputFile, inputShape, ioConfig, once, oneOf, pipelineCores, wholeNumber } from "./values.js";

/** What the options say. */
export interface Options {
  /** The model's framework; found from the file if absent. */
  readonly framework: Framework;
  /** Of a SavedModel: the signature to compile (`serving_default`, else the first), and the tags of its meta graph, comma-separated. */
  readonly signature: string;
  readonly tagSet: string;
  /** Shapes and dtypes of inputs, and outputs, in the vendor's form; parsed JSON. */
  readonly ioConfig: unknown;
  /** Extent of every input's open first dimension. */
  readonly batchSize: number;
  readonly inputShapes: ReadonlyMap<string, readonly number[]>;
  /** Inputs whose value is fixed: they become constants, and requests don't give them. */
  readonly inputValues: ReadonlyMap<string, Tensor>;
  readonly dynamicBatchSize: boolean;
  /** Cores of a pipeline at most; `auto`: the fewest with which every weight stays on chip. */
  readonly neuroncorePipelineCores: number | "auto";
  /** The vendor's words; `["all"]` if absent. */
  readonly fastMath: readonly string[];
  readonly fp32Cast: string;
  readonly minimumSegmentSize: number;
  readonly noFuseOps: readonly string[];
  readonly forceFuseOps: readonly string[];
  /** Types of the model's operators, as its framework calls them, that may be on NeuronCores; all that can if absent. */
  readonly supportedOpTypes: readonly string[];
  readonly enableSaturateInfinity: boolean;
  readonly enableFastLoadingNeuronBinaries: boolean;
  readonly enableFastContextSwitch: boolean;
  /** Check the graph after every pass, the partition, and every program after scheduling. */
  readonly verifyEach: boolean;
}

export type OptionName = keyof Options;

/** What flags say: the same, with files for the values of inputs. */
export interface FlagValues extends Omit<Options, "inputValues"> {
  readonly inputValues: ReadonlyMap<string, string>;
}

/** How the manifest has an option: a value that fits `schema`, made by `keep`, from which `give` makes the option again. */
export interface Kept<Value, S extends Schema = Schema> {
  readonly schema: S;
  readonly keep: (value: Value | undefined) => unknown;
  readonly give: (stored: unknown) => Value | undefined;
}

export interface OptionRow<Value, FlagValue = Value> {
  /** As help shows it: a switch, a flag with one word, or, with `...`, with several. */
  readonly flag: string;
  /** An older name, with its words. */
  readonly older?: string;
  readonly help: string;
  /** Whether it says what is compiled (which part of which model, in which shapes) or how. */
  readonly about: "model" | "compile";
  /** Of a flag of this name: from a word and the value before it to the value. A switch has no words. */
  readonly parse: (flag: string) => (word: string, before?: FlagValue) => FlagValue;
  /** Absent where the artifact has it elsewhere, or does not depend on it. */
  readonly kept?: Kept<Value>;
}

type Guard<Value> = (stored: unknown) => stored is Value;

/** Kept where it was given. */
function given<Value, const S extends Schema>(schema: S, accepts: Guard<Value>): Kept<Value, { readonly optional: S }> {
  return { schema: { optional: schema }, keep: (value) => value, give: (stored) => (accepts(stored) ? stored : undefined) };
}

/** Kept always: with a default where it was not given. */
function filled<Value, const S extends Schema>(schema: S, accepts: Guard<Value>, absent: Value): Kept<Value, S> {
  return { schema, keep: (value) => value ?? absent, give: (stored) => (accepts(stored) ? stored : undefined) };
}

const isText = (value: unknown) => fits("string", value);
const isCount = (value: unknown) => fits("count", value);
const isSwitch = (value: unknown) => fits("boolean", value);
const isNames = (value: unknown) => fits(names, value);
const names = { list: "string" } as const;
const shapes = { record: { list: "count" } } as const;
const words = () => collect;
const on = () => () => true;
const LARGEST = 2 ** 31 - 1;
/** `auto`, as the manifest has it. */
const AUTO = 0;

/** In the order in which help and the manifest have them. */
export const table = {
  framework: {
    flag: "--framework <name>",
    help: `${frameworks.join(" or ")}; found from the file if absent`,
    about: "model",
    parse: (flag) => oneOf(flag, frameworks),
  },
  signature: {
    flag: "--signature <name>",
    help: "of a SavedModel: the signature that is meant; serving_default, else the first if absent",
    about: "model",
    parse: once,
    kept: given("string", isText),
  },
  tagSet: {
    flag: "--tag-set <tags>",
    help: "of a SavedModel: the tags of the meta graph that is meant, comma-separated; the one that has serve if absent",
    about: "model",
    parse: once,
    kept: given("string", isText),
  },
  ioConfig: {
    flag: "--io-config <json>",
    help: "shapes and types of inputs, and outputs: JSON or a file that holds it",
    about: "model",
    parse: () => ioConfig,
    kept: given("json", (value): value is unknown => value !== undefined),
  },
  batchSize: {
    flag: "--batch-size <n>",
    help: "extent of every input's open first dimension",
    about: "model",
    parse: (flag) => wholeNumber(flag, 1, LARGEST),
    kept: given("count", isCount),
  },
  inputShapes: {
    flag: "--input-shape <name=shape>",
    help: "shape of one input, as NAME=1,3,224,224; may be repeated",
    about: "model",
    parse: () => inputShape,
    kept: {
      schema: shapes,
      keep: (value = new Map()) => Object.fromEntries([...value].sort(([a], [b]) => (a < b ? -1 : 1))),
      give: (stored) => (fits(shapes, stored) ? new Map(Object.entries(stored)) : undefined),
    },
  },
  inputValues: {
    flag: "--input-value <name=file>",
    help: "fix an input's value, from a .npy, .npz or .pb; may be repeated",
    about: "model",
    parse: () => inputFile,
    // The names; the values are files of the artifact, `inputs/<index>.pb`.
    kept: { schema: { optional: names }, keep: (value) => (value?.size ? [...value.keys()].sort() : undefined), give: () => undefined },
  },
  dynamicBatchSize: {
    flag: "--dynamic-batch-size",
    help: "let the runtime split larger batches",
    about: "compile",
    parse: on,
    kept: filled("boolean", isSwitch, false),
  },
  neuroncorePipelineCores: {
    flag: "--neuroncore-pipeline-cores <n>",
    older: "--num-neuroncores <n>",
    help: "cores of a pipeline at most, or auto: the fewest with which every weight stays on chip",
    about: "compile",
    parse: pipelineCores,
    kept: {
      schema: "count",
      keep: (value = 1) => (value === "auto" ? AUTO : value),
      give: (stored) => (stored === AUTO ? "auto" : fits("count", stored) ? stored : undefined),
    },
  },
  fastMath: {
    flag: "--fast-math <words...>",
    help: "all (default), none, fp32-cast-*, fast-relayout, no-fast-relayout",
    about: "compile",
    parse: words,
    kept: filled(names, isNames, ["all"]),
  },
  fp32Cast: {
    flag: "--fp32-cast <word>",
    help: "older form of the casting part of --fast-math: all, matmult, matmult-fp16, matmult-bf16, all-fp16",
    about: "compile",
    parse: () => (word) => word,
    kept: given("string", isText),
  },
  minimumSegmentSize: {
    flag: "--minimum-segment-size <n>",
    help: "fewest operators of a Neuron subgraph",
    about: "compile",
    parse: (flag) => wholeNumber(flag, 0, LARGEST),
    kept: given("count", isCount),
  },
  noFuseOps: {
    flag: "--no-fuse-ops <names...>",
    help: "operators to leave on the CPU",
    about: "compile",
    parse: words,
    kept: filled(names, isNames, []),
  },
  forceFuseOps: {
    flag: "--force-fuse-ops <names...>",
    help: "operators to put on NeuronCores, whatever it costs",
    about: "compile",
    parse: words,
    kept: filled(names, isNames, []),
  },
  supportedOpTypes: {
    flag: "--supported-op-types <types...>",
    help: "types of operators that may be on NeuronCores; all that list-operators names if absent",
    about: "compile",
    parse: words,
    kept: given(names, isNames),
  },
  enableSaturateInfinity: {
    flag: "--enable-saturate-infinity",
    help: "turn infinities into the largest finite numbers before operations that could give NaN of them",
    about: "compile",
    parse: on,
    kept: filled("boolean", isSwitch, false),
  },
  enableFastLoadingNeuronBinaries: {
    flag: "--enable-fast-loading-neuron-binaries",
    help: "write the artifact uncompressed",
    about: "compile",
    parse: on,
    kept: filled("boolean", isSwitch, false),
  },
  enableFastContextSwitch: {
    flag: "--enable-fast-context-switch",
    help: "load weights with each inference instead of with the model",
    about: "compile",
    parse: on,
    kept: filled("boolean", isSwitch, false),
  },
  verifyEach: {
    flag: "--verify-each",
    help: "check the graph after every pass, the partition, and every program after scheduling",
    about: "compile",
    parse: on,
  },
} as const satisfies { readonly [Name in OptionName]: OptionRow<Options[Name], FlagValues[Name]> };

/** The same, where it does not matter which options there are. */
export const rows: { readonly [Name in OptionName]: OptionRow<Options[Name], FlagValues[Name]> } = table;

function isOption(name: string): name is OptionName {
  return Object.hasOwn(table, name);
}

/** All of them, in the table's order. */
export const optionNames: readonly OptionName[] = Object.keys(table).filter(isOption);

/** Those that say what is compiled, and those that say how. */
export const modelOptions: readonly OptionName[] = optionNames.filter((name) => rows[name].about === "model");
export const compileOptions: readonly OptionName[] = optionNames.filter((name) => rows[name].about === "compile");

/** Options while they are put together. */
export type Given = { -readonly [Name in OptionName]?: Options[Name] };

/** Some of the options. */
export function pick(options: Partial<Options>, wanted: readonly OptionName[]): Partial<Options> {
  const picked: Given = {};
  const take = <Name extends OptionName>(name: Name) => {
    if (options[name] !== undefined) picked[name] = options[name];
  };
  for (const name of wanted) take(name);
  return picked;
}
