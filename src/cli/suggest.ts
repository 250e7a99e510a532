/** `neuronc suggest`: batch and cores to start with. */
import type { Command } from "commander";
import { flaggedOptions } from "../driver/options.js";
import type { Suggestion } from "../driver/suggest.js";
import { type InstanceName, instanceNames } from "../hardware/hardware.js";
import { type OptionName, optionNames } from "../options/table.js";
import { oneOf, wholeNumbers } from "../options/values.js";
import { flops, percent, significant, table } from "./format.js";
import { type OptionFlags, withOptions } from "./options.js";
import { type Streams, Terminal } from "./terminal.js";

interface SuggestFlags extends OptionFlags {
  instance: InstanceName;
  batches?: number[];
  json?: boolean;
}

/** What it finds itself. */
const found: readonly OptionName[] = ["batchSize", "neuroncorePipelineCores"];
const LARGEST_BATCH = 1024;

export function addSuggest(program: Command, streams: Streams): void {
  const options = optionNames.filter((name) => !found.includes(name));
  withOptions(program.command("suggest <model>"), options)
    .description("batch and pipeline cores to start with: the vendor's rules of thumb, beside what compiling and predicting finds")
    .option("--instance <name>", "what to predict for, a copy on each core", oneOf("--instance", instanceNames), "inf1.xlarge")
    .option(
      "--batches <list>",
      "batches to compile, as 1,4,8; 1 and those around the suggested one if absent",
      wholeNumbers("--batches", 1, LARGEST_BATCH),
    )
    .option("--json", "print one JSON object")
    .action(async (model: string, flags: SuggestFlags) => {
      const terminal = new Terminal(streams, "WARN", flags.json);
      const { suggest } = await import("../driver/suggest.js");
      const { instance, batches, json, ...values } = flags;
      const suggestion = await suggest(model, {
        ...(await flaggedOptions(values)),
        instance,
        batches,
        progress: (phase) => terminal.progress(`neuronc: ${phase}`),
      });
      if (json) terminal.object(suggestion);
      else terminal.print(describe(suggestion, instance));
    });
}

function describe({ batchSize, neuroncorePipelineCores, flops: work, weights, found }: Suggestion, instance: InstanceName): string {
  const rows = found.tried.map((trial) => [
    String(trial.batchSize),
    `${significant(trial.throughputPerSecond)}/s`,
    `${significant(trial.latencyMs)} ms`,
    trial.bound,
  ]);
  return [
    `The vendor's starting points for ${flops(work)} an item with ${significant(weights / 1e6)} M weights:`,
    `  --batch-size ${batchSize}, or --neuroncore-pipeline-cores ${neuroncorePipelineCores} with a batch of 1`,
    "",
    `Predicted on ${instance}, a copy on each core; batch ${found.batchSize} is the fastest of these`,
    table(["Batch", "Throughput", "Latency", "Bound by"], rows, "  "),
    "",
    ...describePipelines(found),
  ].join("\n");
}

function describePipelines({ neuroncorePipelineCores: fewest, pipelines, refused }: Suggestion["found"]): string[] {
  const rows = pipelines.map((trial) => [
    String(trial.neuroncorePipelineCores),
    String(trial.neuronCores),
    percent(trial.residentWeights),
    `${trial.instance} x ${trial.replicas}`,
    `${significant(trial.throughputPerSecond)}/s`,
    `${significant(trial.latencyMs)} ms`,
    trial.bound,
  ]);
  const holding =
    fewest === undefined ? "no number of cores holds" : `${fewest} core${fewest === 1 ? " holds" : "s are the fewest that hold"}`;
  return [
    `Pipelines with a batch of 1, as many copies as fit the instance; ${holding} every weight on chip`,
    table(["Pipeline cores", "Cores", "Weights on chip", "Copies", "Throughput", "Latency", "Bound by"], rows, "  "),
    ...refused.map(({ neuroncorePipelineCores: cores, reason }) => `  ${cores}: ${reason}`),
  ];
}
