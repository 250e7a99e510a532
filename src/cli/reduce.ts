/** `neuronc reduce`: the smallest part of a model that fails as the model does. */
import { basename, join } from "node:path";
import type { Command } from "commander";
import { flaggedOptions } from "../driver/options.js";
import type { ReduceOptions } from "../driver/reduce.js";
import { optionNames } from "../options/table.js";
import { wholeNumber } from "../options/values.js";
import { checkFolder, fileNames, makeFolder, writeWhole } from "./files.js";
import { fraction, type InputSource, inputSource } from "./flags.js";
import { type OptionFlags, withOptions } from "./options.js";
import { readInputs } from "./run.js";
import { type Streams, Terminal } from "./terminal.js";

interface ReduceFlags extends OptionFlags, Pick<ReduceOptions, "tolerance" | "limit"> {
  input?: ReadonlyMap<string, InputSource>;
  outputDir: string;
  json?: boolean;
}

export function addReduce(program: Command, streams: Streams): void {
  withOptions(program.command("reduce <model>"), optionNames)
    .description("find the smallest part of a model that fails as the model does: refused, crashed, or other values than ONNX Runtime's")
    .option(
      "--input <name=source>",
      "NAME=FILE (.npy, .npz, .pb), NAME=random:SEED or NAME=zeros; may be repeated; random:0 if absent",
      inputSource,
    )
    .option(
      "--tolerance <share>",
      "values mismatch when their greatest error is over this part of the greatest value; 0.05 if absent",
      fraction("--tolerance"),
    )
    .option("--limit <n>", "most graphs to try; 500 if absent", wholeNumber("--limit", 1, 1_000_000))
    .option("--output-dir <folder>", "where the part and its inputs are written", "reduced")
    .option("--json", "print one JSON object")
    .action((model: string, flags: ReduceFlags) => reduce(model, flags, new Terminal(streams, "WARN", flags.json)));
}

async function reduce(path: string, flags: ReduceFlags, terminal: Terminal): Promise<void> {
  const { input, outputDir, json, tolerance, limit, ...values } = flags;
  checkFolder(outputDir);
  const { reduceModel } = await import("../driver/reduce.js");
  const { writeNpy } = await import("../runtime/files/npy.js");
  const { printGraph } = await import("../graph/text.js");
  const { failure, graph, inputs, model, ...counts } = await reduceModel(path, {
    ...(await flaggedOptions(values)),
    tolerance,
    limit,
    inputs: (signature) => readInputs(signature, input ?? new Map()),
    progress: (step) => terminal.progress(`neuronc reduce: ${step}`),
  });
  makeFolder(outputDir);
  const files = fileNames([...inputs.keys()], ".npy");
  const written = [...inputs].map(([name, tensor], index) => {
    const file = join(outputDir, files[index]);
    writeWhole(file, writeNpy(tensor));
    return { name, file };
  });
  const output = join(outputDir, "model.onnx");
  writeWhole(output, model);
  const nodes = graph.nodes.length;
  if (json) return terminal.object({ output, inputs: written, failure, nodes, ...counts });
  terminal.print(printGraph(graph, { elideConstants: true }));
  terminal.print(`${failure.kind}: ${failure.detail}`);
  const least = counts.minimal ? "nothing more can be taken out" : "the limit was reached";
  terminal.print(
    `${nodes} of ${counts.nodesBefore} operators of ${basename(path)} after ${counts.tried} tries; ${least}. Wrote ${outputDir}:`,
  );
  terminal.print(`  neuronc reduce ${output} ${written.map(({ name, file }) => `--input ${name}=${file}`).join(" ")}`);
}
