/** `neuronc suggest`: batch and cores to start with. */
import type { Command } from "commander";
import type { Suggestion } from "../driver/suggest.js";
import { type InstanceName, instanceNames } from "../hardware/hardware.js";
import { inputShape, ioConfig, oneOf, wholeNumbers } from "./flags.js";
import { flops, significant, table } from "./format.js";
import { type Streams, Terminal } from "./terminal.js";

interface SuggestFlags {
  instance: InstanceName;
  batches?: number[];
  inputShape?: Map<string, readonly number[]>;
  ioConfig?: unknown;
  fastMath?: string[];
  json?: boolean;
}

const LARGEST_BATCH = 1024;

export function addSuggest(program: Command, streams: Streams): void {
  program
    .command("suggest <model>")
    .description("batch and pipeline cores to start with: the vendor's rules of thumb, beside what compiling and predicting finds")
    .option("--instance <name>", "what to predict for, a copy on each core", oneOf("--instance", instanceNames), "inf1.xlarge")
    .option(
      "--batches <list>",
      "batches to compile, as 1,4,8; 1 and those around the suggested one if absent",
      wholeNumbers("--batches", 1, LARGEST_BATCH),
    )
    .option("--input-shape <name=shape>", "shape of one input, as NAME=1,3,224,224; may be repeated", inputShape)
    .option("--io-config <json>", "shapes and types of inputs, and outputs: JSON or a file that holds it", ioConfig)
    .option("--fast-math <words...>", "as of neuronc compile")
    .option("--json", "print one JSON object")
    .action(async (model: string, flags: SuggestFlags) => {
      const terminal = new Terminal(streams, "WARN", flags.json);
      const { suggest } = await import("../driver/suggest.js");
      const { instance, batches, fastMath } = flags;
      const suggestion = await suggest(model, {
        instance,
        batches,
        fastMath,
        inputShapes: flags.inputShape,
        ioConfig: flags.ioConfig,
        progress: (phase) => terminal.progress(`neuronc: ${phase}`),
      });
      if (flags.json) terminal.object(suggestion);
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
  ].join("\n");
}
