/** `neuronc pipeline-plan`: the pipeline cutter on an instance from a file. */
import type { Command } from "commander";
import { userError } from "../diagnostics/diagnostic.js";
import { wholeNumber } from "../options/values.js";
import { cut } from "../pipeline/cut.js";
import { parsePipelineInstance } from "../pipeline/instance.js";
import { readText } from "./files.js";
import { significant } from "./format.js";
import { type Streams, Terminal } from "./terminal.js";

export function addPipelinePlan(program: Command, streams: Streams): void {
  program
    .command("pipeline-plan <file>")
    .description("cut a graph of timed nodes (JSON) into consecutive stages with the fastest slowest stage")
    .option("--devices <n>", "devices to use, instead of the file's maxFPGAs", wholeNumber("--devices", 1, 1024))
    .option("--json", "print one JSON object")
    .action((file: string, { devices, json }: { devices?: number; json?: boolean }) => {
      const began = performance.now();
      const instance = parsePipelineInstance(file, readText(file), devices);
      const result = cut(instance);
      if (!result) throw userError("NCC0602", { file, devices: instance.devices, capacity: instance.capacity });
      const stages = result.stages.map((nodes, device) => ({ device, nodes: nodes.map((node) => instance.ids[node]) }));
      const { value, bound } = result;
      const terminal = new Terminal(streams, "WARN", json);
      if (json) return terminal.object({ value, bound, stages, seconds: (performance.now() - began) / 1000 });
      terminal.print(`slowest stage ${significant(value)}, at least ${significant(bound)}`);
      for (const { device, nodes } of stages) terminal.print(`device ${device}: ${nodes.length} nodes: ${nodes.join(" ")}`);
    });
}
