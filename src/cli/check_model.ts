/** `neuron-check-model`: which operators run on NeuronCores, before and after compiling. The layout is the vendor's; reasons are added. */
import { closeSync, openSync, readSync } from "node:fs";
import { Command } from "commander";
import type { ModelCheck } from "../driver/check_model.js";

import { flaggedOptions } from "../driver/options.js";
import type { Manifest } from "../neff/artifact.js";
import type { Framework } from "../options/framework.js";
import { modelOptions } from "../options/table.js";
import { version } from "../version.js";
import { columns, groupBy } from "./format.js";
import { type OptionFlags, withOptions } from "./options.js";
import { type Streams, Terminal } from "./terminal.js";

/** The name under which a Neuron subgraph counts as one operation of a compiled model. */
const NEURON_OP = "NeuronOp";
/** No-operations of a model at inference, and what belongs to training: the tables leave them out. Of TensorFlow, the vendor's list. */
const excludedTypes: Readonly<Record<Framework, readonly string[]>> = {
  ONNX: ["Constant", "Identity"],
  TENSORFLOW: [
    ...["Placeholder", "PlaceholderWithDefault", "NoOp", "Const", "Identity", "IdentityN"],
    ...["VarHandleOp", "VarIsInitializedOp", "AssignVariableOp", "ReadVariableOp"],
    ...["StringJoin", "ShardedFilename", "SaveV2", "MergeV2Checkpoints", "RestoreV2"],
  ],
};

interface CheckFlags extends OptionFlags {
  show_names?: boolean;
  expand_subgraph?: boolean;
  json?: boolean;
}

export function checkModelCommand(streams: Streams): Command {
  return withOptions(new Command("neuron-check-model"), modelOptions)
    .description("Shows which operators of a model run on NeuronCores")
    .version(version)
    .argument("<path>", "an ONNX file, a SavedModel's folder, a frozen GraphDef or a NEFF file")
    .option("--show_names", "one row for each operator, with its name")
    .option("--expand_subgraph", "the operators inside each Neuron subgraph")
    .option("--json", "print one JSON object")
    .action((path: string, flags: CheckFlags) => check(path, flags, new Terminal(streams, "WARN", flags.json)));
}

async function check(path: string, flags: CheckFlags, terminal: Terminal): Promise<void> {
  if (isNeff(path)) {
    const { readBytes } = await import("../runtime/files/files.js");
    const { readManifest } = await import("../neff/neff.js");
    const { manifest } = readManifest(readBytes(path), path);
    if (flags.json) terminal.object(compiledObject(manifest));
    else terminal.print(compiledLayout(manifest, flags));
    return;
  }
  const { checkModel } = await import("../driver/check_model.js");
  const { show_names, expand_subgraph, json, ...values } = flags;
  const verdict = await checkModel(path, await flaggedOptions(values));
  if (json) terminal.object(uncompiledObject(verdict));
  else terminal.print(uncompiledLayout(verdict, flags));
}

/** By the start of the header: package version 2, header size 1024. False where the file can't be read: the importer says why. */
function isNeff(path: string): boolean {
  if (path.endsWith(".neff")) return true;
  try {
    const start = Buffer.alloc(16);
    const file = openSync(path, "r");
    try {
      return readSync(file, start, 0, 16, 0) === 16 && start.readBigUInt64LE(0) === 2n && start.readBigUInt64LE(8) === 1024n;
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}

interface Row {
  readonly name: string;
  readonly type: string;
  readonly supported: boolean;
}

function counted<T extends Row>(rows: readonly T[], framework: Framework): T[] {
  return rows.filter((row) => !excludedTypes[framework].includes(row.type));
}

/** Supported rows first, each half in the order of first appearance. */
function operatorTable(rows: readonly Row[], showNames: boolean): string {
  const ordered = [...rows.filter((row) => row.supported), ...rows.filter((row) => !row.supported)];
  const word = (row: Row) => (row.supported ? "Yes" : "No");
  const longest = (values: readonly string[]) => Math.max(8, ...values.map((value) => value.length));
  const typeWidth = longest(ordered.map((row) => row.type));
  if (showNames) {
    const widths = [longest(ordered.map((row) => row.name)), typeWidth, 4];
    return columns(
      ["Op Name", "Op Type", "Neuron Supported ?"],
      widths,
      ordered.map((row) => [row.name, row.type, word(row)]),
    );
  }
  const groups = [...groupBy(ordered, (row) => `${row.supported} ${row.type}`).values()];
  const cells = groups.map((group) => [group[0].type, String(group.length), word(group[0])]);
  return columns(["Op Type", "Num Instances", "Neuron Supported ?"], [typeWidth, 14, 4], cells);
}

function legend(showNames: boolean, framework: Framework): string[] {
  return [
    ...(showNames
      ? ["* Each line shows an operation's name and type, and whether the operation runs on a NeuronCore."]
      : ["* Each line shows an operation type, the number of its instances in the model,", "* and whether they run on a NeuronCore."]),
    "* Some operation types are left out because they are no-operations or belong to training:",
    ` [${excludedTypes[framework].map((type) => `'${type}'`).join(", ")}]`,
    "",
  ];
}

function totals(rows: readonly Row[]): { total: number; supported: number; percent: string } {
  const supported = rows.filter((row) => row.supported).length;
  return { total: rows.length, supported, percent: rows.length === 0 ? "0" : ((100 * supported) / rows.length).toFixed(1) };
}

function uncompiledLayout({ framework, operators, note }: ModelCheck, flags: CheckFlags): string {
  const rows = counted(operators, framework);
  const { total, supported, percent } = totals(rows);
  const lines = [
    "",
    "* The following table shows the supported and unsupported operations within this uncompiled model.",
    ...legend(flags.show_names === true, framework),
    operatorTable(rows, flags.show_names === true),
    "",
    `* Total inference operations: ${total}`,
    `* Total Neuron supported inference operations: ${supported}`,
    `* Percent of total inference operations supported by Neuron: ${percent}`,
    "",
  ];
  const refused = rows.filter((row) => !row.supported);
  if (refused.length > 0) {
    lines.push("* Why operations do not run on a NeuronCore:");
    for (const [reason, group] of groupBy(refused, (row) => `${row.type}: ${row.reason ?? "no reason given"}`)) {
      const names = group.map((row) => row.name);
      lines.push(`  ${reason} (${names.length > 5 && !flags.show_names ? `${names.slice(0, 5).join(", ")}, ...` : names.join(", ")})`);
    }
    lines.push("");
  }
  if (note) lines.push(`* ${note}`, "");
  return lines.join("\n");
}

function uncompiledObject({ framework, operators, note }: ModelCheck): object {
  const { total, supported, percent } = totals(counted(operators, framework));
  const excluded = excludedTypes[framework];
  const kept = note ? { note } : {};
  return { compiled: false, framework, total, supported, percent: Number(percent), excludedTypes: excluded, operators, ...kept };
}

function compiledRows({ subgraphs }: Manifest): Row[] {
  return subgraphs.flatMap((subgraph): Row[] =>
    subgraph.device === "neuron"
      ? [{ name: subgraph.id, type: NEURON_OP, supported: true }]
      : subgraph.nodes.map((node) => ({ ...node, supported: false })),
  );
}

function compiledLayout(manifest: Manifest, flags: CheckFlags): string {
  const neuron = manifest.subgraphs.filter((subgraph) => subgraph.device === "neuron");
  const showNames = flags.show_names === true;
  const headers = ["Subgraph Name", "Num Pipelined NeuronCores"];
  const widths = [Math.max(14, ...neuron.map((subgraph) => subgraph.id.length)), headers[1].length];
  const cells = neuron.map((subgraph) => [subgraph.id, String(subgraph.stages?.length ?? 0)]);
  const [head, dashes, ...rows] = columns(headers, widths, cells).split("\n");
  const expanded = rows.flatMap((row, index) => (flags.expand_subgraph ? [row, innerTable(neuron[index], showNames), ""] : [row]));
  return [
    "",
    `* Found ${neuron.length} Neuron subgraph(s) (${NEURON_OP}(s)) in this compiled model.`,
    "* Use this tool on the original uncompiled model to see Neuron supported operations.",
    "* The following table shows all operations, including Neuron subgraphs.",
    // The operators inside an artifact are ONNX's.
    ...legend(showNames, "ONNX"),
    operatorTable(counted(compiledRows(manifest), "ONNX"), showNames),
    "",
    `* Please run this model on Inf1 instance with at least ${leastCores(manifest)} NeuronCore(s).`,
    "* The following list shows each Neuron subgraph with the number of pipelined NeuronCores that it uses",
    "* (and subgraph operations if --expand_subgraph is used):",
    "",
    head,
    dashes,
    ...expanded,
    "",
  ].join("\n");
}

function innerTable(subgraph: Manifest["subgraphs"][number], showNames: boolean): string {
  const longest = (values: readonly string[]) => Math.max(8, ...values.map((value) => value.length));
  const { nodes } = subgraph;
  const typeWidth = longest(nodes.map((node) => node.type));
  const indent = "     ";
  if (showNames) {
    const widths = [longest(nodes.map((node) => node.name)), typeWidth];
    return columns(
      ["Op Name", "Op Type"],
      widths,
      nodes.map((node) => [node.name, node.type]),
      indent,
    );
  }
  const cells = [...groupBy(nodes, (node) => node.type)].map(([type, group]) => [type, String(group.length)]);
  return columns(["Op Type", "Num Instances"], [typeWidth, 14], cells, indent);
}

/** What the vendor's tool prints: enough for any one of the subgraphs, which then take turns. */
function leastCores({ subgraphs }: Manifest): number {
  return Math.max(0, ...subgraphs.map((subgraph) => subgraph.stages?.length ?? 0));
}

function compiledObject(manifest: Manifest): object {
  return {
    compiled: true,
    neuronCores: manifest.neuronCores,
    leastNeuronCores: leastCores(manifest),
    operators: manifest.operators,
    subgraphs: manifest.subgraphs.map(({ id, device, nodes, stages, firstCore }) => ({
      id,
      device,
      firstCore,
      cores: stages?.length ?? 0,
      nodes,
    })),
  };
}
