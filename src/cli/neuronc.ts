/** `neuronc`: its commands. */
import { Command, Option } from "commander";
import { type Framework, frameworks } from "../options/framework.js";
import { oneOf } from "../options/values.js";
import { version } from "../version.js";
import { addCompile } from "./compile.js";
import { logLevel } from "./flags.js";
import { addMemoryPlan } from "./memory_plan.js";
import { addPipelinePlan } from "./pipeline_plan.js";
import { addPredict } from "./predict.js";
import { addReduce } from "./reduce.js";
import { addSuggest } from "./suggest.js";
import { type Streams, Terminal } from "./terminal.js";

export function neuronc(streams: Streams): Command {
  const program = new Command("neuronc")
    .description("An open graph compiler for AWS Inferentia (Inf1)")
    .version(version)
    .option("--verbose <level>", "DEBUG, INFO, WARN or ERROR", logLevel)
    .addOption(new Option("--log-level <level>", "older name of --verbose").argParser(logLevel).hideHelp());
  addCompile(program, streams);
  addPipelinePlan(program, streams);
  addMemoryPlan(program, streams);
  addPredict(program, streams);
  addReduce(program, streams);
  addSuggest(program, streams);
  program
    .command("list-operators")
    .description("print the operators that run on NeuronCores, one a line")
    .requiredOption("--framework <name>", frameworks.join(" or "), oneOf("--framework", frameworks))
    .option("--json", "print one JSON object")
    .action(async ({ framework, json }: { framework: Framework; json?: boolean }) => {
      const { supportedOperators } = await import("../driver/supported.js");
      const names = await supportedOperators(framework);
      const terminal = new Terminal(streams, "WARN", json);
      if (json) terminal.object({ framework, operators: names });
      else for (const name of names) terminal.print(name);
    });
  return program;
}
