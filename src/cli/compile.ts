/** `neuronc compile`: the compiler's command line. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { userError } from "../diagnostics/diagnostic.js";
import type { CompileReport } from "../driver/compile.js";
import { type CompileOptions, flaggedOptions } from "../driver/options.js";
import { optionNames } from "../options/table.js";
import { collect } from "../options/values.js";
import { checkWritable, writeWhole } from "./files.js";
import { logLevel } from "./flags.js";
import { bytes, flops, groupBy, percent, significant, table } from "./format.js";
import { type OptionFlags, withOptions } from "./options.js";
import { describePipelines } from "./pipelines.js";
import { IrPrinter, printIrHelp } from "./print_ir.js";
import { stageReport } from "./stage_report.js";
import { type LogLevel, type Streams, Terminal } from "./terminal.js";

interface CompileFlags extends OptionFlags {
  pipeline?: string[];
  output: string;
  printIrAfter?: string[];
  report?: boolean;
  layerTypes?: boolean;
  json?: boolean;
  verbose?: LogLevel;
}

/** Adds `compile` to a command. */
export function addCompile(program: Command, streams: Streams): void {
  withOptions(program.command("compile"), optionNames)
    .description("compile a model to a NEFF file")
    .argument("<model...>", "an ONNX file, a SavedModel's folder or a frozen GraphDef")
    .option("--pipeline <words...>", "accepted for the vendor's integrations: compile SaveTemps")
    .option("--output <file>", "the NEFF file", "out.neff")
    .option("--print-ir-after <phase>", printIrHelp, collect)
    .option("--report", "print how busy each stage keeps its engines, what it moves, and how near it is to the roofs")
    .option("--layer-types", "print the element type in which each layer's result is stored")
    .option("--json", "print one JSON object")
    .option("--verbose <level>", "DEBUG, INFO, WARN or ERROR", logLevel)
    .action(async (models: string[], flags: CompileFlags, command: Command) => {
      const level = flags.verbose ?? command.optsWithGlobals<{ verbose?: LogLevel }>().verbose;
      await compile(models, flags, new Terminal(streams, level, flags.json));
    });
}

async function compile(models: readonly string[], flags: CompileFlags, terminal: Terminal): Promise<void> {
  if (models.length > 1) {
    throw userError("NCC0402", {
      flag: "MODEL",
      value: models.join(" "),
      expected: "one file is wanted; put the model before flags that take several words",
    });
  }
  const printer = new IrPrinter(flags.printIrAfter ?? [], (text) => terminal.show(text));
  checkWritable(flags.output);
  const { compileModel } = await import("../driver/compile.js");
  const started = performance.now();
  const { report, bytes: file } = await compileModel(models[0], await compileOptions(flags, terminal, printer));
  const silent = printer.finish();
  writeWhole(flags.output, file);
  const result = {
    output: resolve(flags.output),
    ...report,
    seconds: (performance.now() - started) / 1000,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  };
  for (const note of [...report.notes, ...silent]) terminal.log("WARN", note);
  if (flags.json) terminal.object(result);
  else terminal.print(describe(result, flags));
}

/** The compile that the flags ask for, watched on the terminal. */
async function compileOptions(flags: CompileFlags, terminal: Terminal, { observe }: IrPrinter): Promise<CompileOptions> {
  const { pipeline, output, printIrAfter, report, layerTypes, json, verbose, ...values } = flags;
  return {
    ...(await flaggedOptions(values)),
    progress: (phase) => terminal.progress(`neuronc: ${phase}`),
    log: (level, message) => terminal.log(level, message),
    observe,
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
  const list = subgraphs.flatMap((subgraph) => subgraph.stages ?? []);
  const noneStays = list.some(({ weightBytes }) => weightBytes > 0) && list.every(({ residentWeightBytes }) => residentWeightBytes === 0);
  const remark = noneStays ? "\n  No weight stays on chip between requests" : "";
  return `Memory\n${table(["Subgraph", "Core", "Weights", "Resident", "SBUF peak", "SBUF bound", "Alone"], rows, "  ")}${remark}`;
}

function prediction({ predicted, neuronCores }: CompileResult): string {
  const cores = `${neuronCores} NeuronCore${neuronCores === 1 ? "" : "s"}`;
  return `Predicted on ${cores}: latency ${significant(predicted.latencyMs)} ms, throughput ${significant(predicted.throughputPerSecond)} inferences/s (one copy, streamed)`;
}

function written({ output, bytes: size, sha256, seconds, peakMemoryBytes }: CompileResult): string {
  return `Wrote ${output}: ${bytes(size)}, sha256 ${sha256.slice(0, 16)}...; ${seconds.toFixed(1)} s, peak memory ${bytes(peakMemoryBytes)}`;
}
