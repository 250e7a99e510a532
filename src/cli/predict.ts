/** `neuronc predict`: what a compiled model delivers on an instance. */
import type { Command } from "commander";
import type { Service } from "../driver/predict.js";
import { type InstanceName, instanceNames } from "../hardware/hardware.js";
import { oneOf, wholeNumber } from "../options/values.js";
import { percent, significant, table } from "./format.js";
import { type Streams, Terminal } from "./terminal.js";

interface PredictFlags {
  instance: InstanceName;
  replicas?: number;
  inFlight?: number;
  userBatch?: number;
  json?: boolean;
}

const LARGEST = 1_000_000;

export function addPredict(program: Command, streams: Streams): void {
  program
    .command("predict <file>")
    .description("throughput and latency of a NEFF file on an Inf1 instance")
    .requiredOption("--instance <name>", instanceNames.join(", "), oneOf("--instance", instanceNames))
    .option("--replicas <n>", "copies of the model; as many as fit if absent", wholeNumber("--replicas", 1, LARGEST))
    .option("--in-flight <n>", "user requests that wait or run at any time", wholeNumber("--in-flight", 1, LARGEST))
    .option("--user-batch <n>", "items of a user request; the compiled batch if absent", wholeNumber("--user-batch", 1, LARGEST))
    .option("--json", "print one JSON object")
    .action(async (file: string, flags: PredictFlags) => {
      const { predictFile } = await import("../driver/predict.js");
      const service = predictFile(file, flags);
      const terminal = new Terminal(streams, "WARN", flags.json);
      if (flags.json) terminal.object(service);
      else terminal.print(describe(service));
    });
}

function describe(service: Service): string {
  const { throughputPerSecond, latencyMs, bound, utilisation, instance, replicas, cores, compiledBatch, inFlight, userBatch } = service;
  const copies = `${replicas} cop${replicas === 1 ? "y" : "ies"} on ${cores} NeuronCore${cores === 1 ? "" : "s"}`;
  const more = service.inFlightLimited ? "; more requests in flight would give more" : "";
  return [
    `${instance}: ${copies}, batch ${compiledBatch}, ${inFlight} requests of ${userBatch} in flight`,
    `throughput ${significant(throughputPerSecond)}/s, latency ${significant(latencyMs)} ms, bound by ${bound}${more}`,
    "",
    table(
      ["Resource", "Busy"],
      Object.entries(utilisation).map(([name, share]) => [name, percent(share)]),
      "  ",
    ),
  ].join("\n");
}
