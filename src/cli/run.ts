/** `neuron-run`: one request through the runtime. */
import { join } from "node:path";
import { Command } from "commander";
import { userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import type { TensorComparison } from "../driver/forensics.js";
import type { RunReport } from "../driver/run.js";
import { resolveName } from "../graph/names.js";
import type { Tensor } from "../graph/tensor.js";
import type { Signature } from "../neff/artifact.js";
import { wholeNumber } from "../options/values.js";
import { version } from "../version.js";
import { checkFolder, fileNames, makeFolder, writeWhole } from "./files.js";
import { type InputSource, inputSource } from "./flags.js";
import { significant, table } from "./format.js";
import { pipelineLines } from "./pipelines.js";
import { type Streams, Terminal } from "./terminal.js";

interface RunFlags {
  input?: Map<string, InputSource>;
  outputDir?: string;
  /** True where the flag has no path. */
  reference?: string | true;
  perTensor?: boolean;
  repeat?: number;
  threads?: number;
  timingOnly?: boolean;
  json?: boolean;
}

export function run(streams: Streams): Command {
  return new Command("neuron-run")
    .description("Runs a compiled model on the simulator")
    .version(version)
    .argument("<file>", "a NEFF file")
    .option(
      "--input <name=source>",
      "NAME=FILE (.npy, .npz, .pb), NAME=random:SEED or NAME=zeros; may be repeated; random:0 if absent",
      inputSource,
    )
    .option("--output-dir <folder>", "write each output as .npy")
    .option("--reference [model]", "compare with the original model in FP32; found by its content beside the NEFF file if no path is given")
    .option("--per-tensor", "compare every tensor inside, too; implies --reference")
    .option("--repeat <n>", "run n times after a warm-up and give the median host time", wholeNumber("--repeat", 1, 1_000_000))
    .option("--threads <n>", "threads of the simulator; all processors if absent", wholeNumber("--threads", 1, 1024))
    .option("--timing-only", "predict the time without computing values")
    .option("--json", "print one JSON object")
    .action((file: string, flags: RunFlags) => request(file, flags, new Terminal(streams, "WARN", flags.json)));
}

async function request(file: string, flags: RunFlags, terminal: Terminal): Promise<void> {
  const { predictArtifact, runArtifact } = await import("../driver/run.js");
  if (flags.timingOnly) {
    const prediction = await predictArtifact(file);
    if (flags.json) terminal.object({ outputs: [], ...prediction });
    else terminal.print(`Predicted on the device: ${significant(prediction.predictedMs)} ms`);
    return;
  }
  if (flags.outputDir !== undefined) checkFolder(flags.outputDir);
  terminal.progress("neuron-run: loading");
  const report = await runArtifact(file, {
    inputs: (signature) => readInputs(signature, flags.input ?? new Map()),
    reference: flags.reference ?? (flags.perTensor ? true : undefined),
    perTensor: flags.perTensor,
    repeat: flags.repeat,
    threads: flags.threads,
    progress: (phase) => terminal.progress(`neuron-run: ${phase}`),
  });
  const files = flags.outputDir === undefined ? undefined : await writeOutputs(report, flags.outputDir);
  const { values: _, ...plain } = report;
  const outputs = plain.outputs.map((output, index) => ({ ...output, ...(files ? { file: files[index] } : {}) }));
  if (flags.json) terminal.object({ ...plain, outputs });
  else terminal.print(describe({ ...plain, outputs }, flags));
}

export async function readInputs(
  signature: Pick<Signature, "inputs" | "aliases">,
  sources: ReadonlyMap<string, InputSource>,
): Promise<Map<string, Tensor>> {
  const { readTensorFile } = await import("../runtime/files/files.js");
  const { randomTensor, zeros } = await import("../runtime/random.js");
  const names = signature.inputs.map((input) => input.name);
  const aliases = new Map(Object.entries(signature.aliases ?? {}));
  const given = new Map<string, InputSource>();
  for (const [name, source] of sources) {
    const input = resolveName(name, names, aliases);
    if (input === undefined) throw userError("NCC0351", { name, hint: didYouMean(name, names), inputs: names.join(", ") || "none" });
    given.set(input, source);
  }
  return new Map(
    signature.inputs.map(({ name, dtype, shape }) => {
      const source: InputSource = given.get(name) ?? { kind: "random", seed: 0 };
      if (source.kind === "file") return [name, readTensorFile(source.path, name)];
      return [name, source.kind === "zeros" ? zeros(dtype, shape) : randomTensor(dtype, shape, source.seed, name)];
    }),
  );
}

/** Gives the file names, relative to `folder`, in the order of the outputs. */
async function writeOutputs(report: RunReport, folder: string): Promise<string[]> {
  const { writeNpy } = await import("../runtime/files/npy.js");
  const files = fileNames(
    report.outputs.map((output) => output.name),
    ".npy",
  );
  makeFolder(folder);
  for (const [index, { name }] of report.outputs.entries()) {
    const value = report.values.get(name);
    if (value) writeWhole(join(folder, files[index]), writeNpy(value));
  }
  return files;
}

interface Printed extends Omit<RunReport, "values" | "outputs"> {
  readonly outputs: readonly (RunReport["outputs"][number] & { readonly file?: string })[];
}

function describe(report: Printed, flags: RunFlags): string {
  const outputs = report.outputs.map(({ name, dtype, shape, sha256, file }) => [
    name,
    `${dtype}[${shape}]`,
    sha256.slice(0, 16),
    file ?? "",
  ]);
  const errors = (report.errors ?? []).map(({ name, maxAbs, peak, cosine, top1 }) => [
    name,
    significant(maxAbs),
    peak > 0 ? significant(maxAbs / peak) : "",
    cosine.toFixed(6),
    top1 === undefined ? "" : top1 ? "same" : "differs",
  ]);
  const repeat = flags.repeat ? ` (median of ${flags.repeat})` : "";
  return [
    table(["Output", "Type", "SHA-256", flags.outputDir === undefined ? "" : "File"], outputs),
    "",
    `Predicted on the device: latency ${significant(report.predictedMs)} ms, throughput ${significant(report.predicted.throughputPerSecond)} inferences/s (one copy, streamed)`,
    ...pipelineLines(report.pipelines),
    `Simulated on this host in ${significant(report.hostMs)} ms${repeat}`,
    ...(report.errors
      ? ["", "Error against the original model in FP32", table(["Output", "Max abs", "Of peak", "Cosine", "Top-1"], errors, "  ")]
      : []),
    ...(report.tensors ? ["", "Every tensor that both have, in the order of the model", describeTensors(report.tensors)] : []),
  ].join("\n");
}

function describeTensors(tensors: readonly TensorComparison[]): string {
  const rows = tensors.map(({ name, exactness, maxAbs, maxRel, cosine, within }) => [
    name,
    exactness,
    significant(maxAbs),
    significant(maxRel),
    cosine.toFixed(6),
    within ? "" : "outside",
  ]);
  const first = tensors.find(({ within }) => !within);
  const verdict = first
    ? `The first outside its exactness class: ${first.name} (${first.exactness})`
    : "All are within their exactness class.";
  return `${table(["Tensor", "Class", "Max abs", "Max rel", "Cosine", ""], rows, "  ")}\n${verdict}`;
}
