/** `neuronc compile`: the compiler's command line. */
import { resolve } from "node:path";
import { Command, CommanderError } from "commander";
import { userError } from "../diagnostics/diagnostic.js";
import type { CompileReport } from "../driver/compile.js";
import type { CompileOptions } from "../driver/options.js";
import { type Framework, frameworks } from "../frontend/model.js";
import { checkWritable, readValues, writeWhole } from "./files.js";
import { collect, inputFile, inputShape, ioConfig, logLevel, once, oneOf, pipelineCores, wholeNumber } from "./flags.js";
import { bytes, flops, groupBy, percent, significant, table } from "./format.js";
import { describePipelines } from "./pipelines.js";
import { stageReport } from "./stage_report.js";
import { type LogLevel, type Streams, Terminal } from "./terminal.js";
import { usageMessage } from "./usage.js";

/** The phases whose result `--print-ir-after` shows. */
export const printablePhases = ["import", "normalise", "check", "partition", "precision", "pipeline", "lower", "schedule"] as const;

const LARGEST = 2 ** 31 - 1;

interface CompileFlags {
  framework?: Framework;
  signature?: string;
  tagSet?: string;
  ioConfig?: unknown;
  batchSize?: number;
  inputShape?: Map<string, readonly number[]>;
  inputValue?: Map<string, string>;
  dynamicBatchSize?: boolean;
  neuroncorePipelineCores?: number | "auto";
  numNeuroncores?: number | "auto";
  fastMath?: string[];
  fp32Cast?: string;
  minimumSegmentSize?: number;
  /** Of --no-fuse-ops: commander drops the `no`, and gives true where the flag is absent. */
  fuseOps: string[] | true;
  forceFuseOps?: string[];
  supportedOpTypes?: string[];
  enableSaturateInfinity?: boolean;
  enableFastLoadingNeuronBinaries?: boolean;
  enableFastContextSwitch?: boolean;
  pipeline?: string[];
  output: string;
  printIrAfter?: string[];
  verifyEach?: boolean;
  report?: boolean;
  layerTypes?: boolean;
  json?: boolean;
  verbose?: LogLevel;
}

/** Adds `compile` to a command. */
export function addCompile(program: Command, streams: Streams): void {
  withFlags(program.command("compile"))
    .description("compile a model to a NEFF file")
    .argument("<model...>", "an ONNX file, a SavedModel's folder or a frozen GraphDef")
    .action(async (models: string[], flags: CompileFlags, command: Command) => {
      const level = flags.verbose ?? command.optsWithGlobals<{ verbose?: LogLevel }>().verbose;
      await compile(models, flags, new Terminal(streams, level, flags.json));
    });
}

/**
 * The options that compiler arguments ask for, word by word as the vendor's integrations list them (`compiler_args`).
 * Errors: those of the command line.
 */
export function compilerArguments(words: readonly string[]): CompileOptions {
  const command = withFlags(new Command("compile")).exitOverride();
  command.configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
  try {
    command.parse([...words], { from: "user" });
  } catch (error) {
    throw error instanceof CommanderError ? userError("NCC0401", { message: usageMessage(error) }) : error;
  }
  return optionsOf(command.opts<CompileFlags>());
}

function withFlags(command: Command): Command {
  return command

    .option("--framework <name>", `${frameworks.join(" or ")}; found from the file if absent`, oneOf("--framework", frameworks))
    .option(
      "--signature <name>",
      "of a SavedModel: the signature to compile; serving_default, else the first if absent",
      once("--signature"),
    )
    .option(
      "--tag-set <tags>",
      "of a SavedModel: the tags of the meta graph to compile, comma-separated; the one that has serve if absent",
      once("--tag-set"),
    )
    .option("--io-config <json>", "shapes and types of inputs, and outputs: JSON or a file that holds it", ioConfig)
    .option("--batch-size <n>", "extent of every input's open first dimension", wholeNumber("--batch-size", 1, LARGEST))
    .option("--input-shape <name=shape>", "shape of one input, as NAME=1,3,224,224; may be repeated", inputShape)
    .option("--input-value <name=file>", "fix an input's value, from a .npy, .npz or .pb; may be repeated", inputFile)
    .option("--dynamic-batch-size", "let the runtime split larger batches")
    .option(
      "--neuroncore-pipeline-cores <n>",
      "cores of a pipeline at most, or auto: the fewest with which every weight stays on chip",
      pipelineCores("--neuroncore-pipeline-cores"),
    )
    .option("--num-neuroncores <n>", "older name of --neuroncore-pipeline-cores", pipelineCores("--num-neuroncores"))
    .option("--fast-math <words...>", "all (default), none, fp32-cast-*, fast-relayout, no-fast-relayout")
    .option("--fp32-cast <word>", "older form of the casting part of --fast-math: all, matmult, matmult-fp16, matmult-bf16, all-fp16")
    .option("--minimum-segment-size <n>", "fewest operators of a Neuron subgraph", wholeNumber("--minimum-segment-size", 0, LARGEST))
    .option("--no-fuse-ops <names...>", "operators to leave on the CPU")
    .option("--force-fuse-ops <names...>", "operators to put on NeuronCores, whatever it costs")
    .option("--supported-op-types <types...>", "types of operators that may be on NeuronCores; all that list-operators names if absent")
    .option("--enable-saturate-infinity", "turn infinities into the largest numbers before operations that would give NaN")
    .option("--enable-fast-loading-neuron-binaries", "write the artifact uncompressed")
    .option("--enable-fast-context-switch", "load weights at the start of each inference instead of with the model")
    .option("--pipeline <words...>", "accepted for the vendor's integrations: compile SaveTemps")
    .option("--output <file>", "the NEFF file", "out.neff")
    .option("--print-ir-after <phase>", `print what a phase made: ${printablePhases.join(", ")}; may be repeated`, collect)
    .option("--verify-each", "check the graph after every pass and the program after scheduling")
    .option("--report", "print how busy each stage keeps its engines, what it moves, and how near it is to the roofs")
    .option("--layer-types", "print the element type in which each layer's result is stored")
    .option("--json", "print one JSON object")
    .option("--verbose <level>", "DEBUG, INFO, WARN or ERROR", logLevel);
}

async function compile(models: readonly string[], flags: CompileFlags, terminal: Terminal): Promise<void> {
  if (models.length > 1) {
    throw userError("NCC0402", {
      flag: "MODEL",
      value: models.join(" "),
      expected: "one file is wanted; put the model before flags that take several words",
    });
  }
  for (const phase of flags.printIrAfter ?? []) oneOf("--print-ir-after", printablePhases)(phase.split(":")[0]);
  checkWritable(flags.output);
  const { compileModel } = await import("../driver/compile.js");
  const started = performance.now();
  const inputValues = await readValues(flags.inputValue);
  const { report, bytes: file } = await compileModel(models[0], { ...compileOptions(flags, terminal), inputValues });
  writeWhole(flags.output, file);
  const result = {
    output: resolve(flags.output),
    ...report,
    seconds: (performance.now() - started) / 1000,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  };
  for (const note of report.notes) terminal.log("WARN", note);
  if (flags.json) terminal.object(result);
  else terminal.print(describe(result, flags));
}

/** What the flags say of the compile itself. */
function optionsOf(flags: CompileFlags): CompileOptions {
  return {
    framework: flags.framework,
    signature: flags.signature,
    tagSet: flags.tagSet,
    ioConfig: flags.ioConfig,
    batchSize: flags.batchSize,
    inputShapes: flags.inputShape,
    dynamicBatchSize: flags.dynamicBatchSize,
    neuroncorePipelineCores: flags.neuroncorePipelineCores ?? flags.numNeuroncores,
    fastMath: flags.fastMath,
    fp32Cast: flags.fp32Cast,
    minimumSegmentSize: flags.minimumSegmentSize,
    noFuseOps: flags.fuseOps === true ? undefined : flags.fuseOps,
    forceFuseOps: flags.forceFuseOps,
    supportedOpTypes: flags.supportedOpTypes,
    enableSaturateInfinity: flags.enableSaturateInfinity,
    enableFastLoadingNeuronBinaries: flags.enableFastLoadingNeuronBinaries,
    enableFastContextSwitch: flags.enableFastContextSwitch,
    verifyEach: flags.verifyEach,
  };
}

function compileOptions(flags: CompileFlags, terminal: Terminal): CompileOptions {
  const wanted = flags.printIrAfter ?? [];
  return {
    ...optionsOf(flags),
    progress: (phase) => terminal.progress(`neuronc: ${phase}`),
    log: (level, message) => terminal.log(level, message),
    observe: (phase, text) => {
      if (!wanted.some((word) => phase === word || phase.startsWith(`${word} `))) return;
      const shown = `// after ${phase}\n${text()}`;
      if (flags.json) terminal.log("ERROR", shown);
      else terminal.print(shown);
    },
  };
}

interface CompileResult extends CompileReport {
  readonly output: string;
  readonly seconds: number;
  readonly peakMemoryBytes: number;
}

/** What a person wants to know of a compile: support, partition, stages, memory, time. */
function describe(result: CompileResult, { report, layerTypes }: CompileFlags): string {
  const details = [...(report ? [stageReport(result.subgraphs)] : []), ...(layerTypes ? [layers(result)] : [])].join("\n\n");
  return [
    summary(result),
    support(result),
    partition(result),
    stages(result),
    details,
    describePipelines(result),
    prediction(result),
    written(result),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

function layers({ layers: list }: CompileResult): string {
  const rows = list.map(({ subgraph, name, type, dtype }) => [subgraph, name, type, dtype]);
  return `Layers on NeuronCores, and the types of their results\n${table(["Subgraph", "Layer", "Operators", "Type"], rows, "  ")}`;
}

function summary({ name, signature }: CompileResult): string {
  const values = (list: CompileResult["signature"]["outputs"]) =>
    list.map((value) => `${value.name} ${value.dtype}[${value.shape ?? "..."}]`).join(", ");
  return `${name || "model"}\n  inputs   ${values(signature.inputs)}\n  outputs  ${values(signature.outputs)}`;
}

function support({ operators, flops: total, flopsOnNeuron }: CompileResult): string {
  const refused = operators.filter((operator) => operator.device === "cpu");
  const lines = [
    `Support: ${operators.length - refused.length} of ${operators.length} operators on NeuronCores, ${percent(flopsOnNeuron)} of ${flops(total)}`,
  ];
  for (const [key, group] of groupBy(refused, ({ type, reason }) => `${type}: ${reason ?? "no reason given"}`)) {
    const names = group.slice(0, 3).map((operator) => operator.name);
    lines.push(`  on the CPU: ${group.length} x ${key} (${names.join(", ")}${group.length > 3 ? ", ..." : ""})`);
  }
  return lines.join("\n");
}

function partition({ subgraphs }: CompileResult): string {
  const rows = subgraphs.map(({ id, device, operators, flops: count, stages: list, ms }) => [
    id,
    device === "neuron" ? "NeuronCore" : "CPU",
    String(operators),
    flops(count),
    String(list?.length ?? ""),
    `${significant(ms)} ms`,
  ]);
  return `Partition\n${table(["Subgraph", "Device", "Operators", "Work", "Stages", "Predicted"], rows, "  ")}`;
}

function stages({ subgraphs }: CompileResult): string {
  const rows = subgraphs.flatMap(({ id, stages: list }) =>
    (list ?? []).map((stage) => [
      id,
      String(stage.core),
      bytes(stage.weightBytes),
      bytes(stage.residentWeightBytes),
      bytes(stage.sbufPeakBytes),
      bytes(stage.sbufBoundBytes),
      `${significant(stage.ms)} ms`,
    ]),
  );
  if (rows.length === 0) return "";
  return `Memory\n${table(["Subgraph", "Core", "Weights", "Resident", "SBUF peak", "SBUF bound", "Alone"], rows, "  ")}`;
}

function prediction({ predicted, neuronCores }: CompileResult): string {
  const cores = `${neuronCores} NeuronCore${neuronCores === 1 ? "" : "s"}`;
  return `Predicted on ${cores}: latency ${significant(predicted.latencyMs)} ms, throughput ${significant(predicted.throughputPerSecond)} inferences/s (one copy, streamed)`;
}

function written({ output, bytes: size, sha256, seconds, peakMemoryBytes }: CompileResult): string {
  return `Wrote ${output}: ${bytes(size)}, sha256 ${sha256.slice(0, 16)}...; ${seconds.toFixed(1)} s, peak memory ${bytes(peakMemoryBytes)}`;
}
