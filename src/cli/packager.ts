/** `neuron-packager`: what is in an artifact. */
import { dirname } from "node:path";
import { Command } from "commander";
import { version } from "../version.js";
import { inside, makeFolder, writeWhole } from "./files.js";
import { table } from "./format.js";
import { describePipelines } from "./pipelines.js";
import { type Streams, Terminal } from "./terminal.js";

export function packager(streams: Streams): Command {
  const program = new Command("neuron-packager").description("Shows and unpacks NEFF files").version(version);
  program
    .command("info")
    .description("print the header and the nodes of a NEFF file")
    .argument("<file>", "a NEFF file")
    .option("--json", "print one JSON object")
    .option("--json-output", "the vendor's name of --json")
    .action((file: string, flags: { json?: boolean; jsonOutput?: boolean }) =>
      info(file, new Terminal(streams, "WARN", flags.json || flags.jsonOutput), flags.json || flags.jsonOutput === true),
    );
  program
    .command("unpack")
    .description("write the files of a NEFF file into a folder")
    .argument("<file>", "a NEFF file")
    .argument("[folder]", "where to; the file's name without .neff if absent")
    .option("--json", "print one JSON object")
    .action((file: string, folder: string | undefined, { json }: { json?: boolean }) =>
      unpack(file, folder ?? `${file.replace(/\.neff$/, "")}.unpacked`, new Terminal(streams, "WARN", json), json === true),
    );
  return program;
}

async function info(file: string, terminal: Terminal, json: boolean): Promise<void> {
  const { readBytes } = await import("../runtime/files/files.js");
  const { parseManifest, readEntries } = await import("../neff/neff.js");
  const { header, entries } = readEntries(readBytes(file), file);
  const content = entries.find((entry) => entry.name === "manifest.json")?.data ?? new Uint8Array();
  const manifest = parseManifest(content, file);
  const files = entries.map(({ name, data }) => ({ name, bytes: data.length }));
  if (json) {
    terminal.object({ header, manifest, files });
    return;
  }
  const fields: [string, string | number][] = [
    ["Package Version", header.packageVersion],
    ["Header Size (bytes)", header.headerSize],
    ["Data Size (bytes)", header.dataSize],
    ["Major Version", header.versionMajor],
    ["Minor Version", header.versionMinor],
    ["Build Version", header.buildVersion],
    ["Number of Neuron cores", header.cores],
    ["Hash", header.hash],
    ["UUID", header.uuid],
    ["Network Name", header.name],
    ["Enabled Features", header.featureBits & 1 ? "uncompressed" : "none"],
  ];
  const width = Math.max(...fields.map(([name]) => name.length));
  terminal.print(`NEFF Header:\n${fields.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`).join("\n")}`);
  const rows = manifest.subgraphs.flatMap((subgraph) =>
    [...subgraph.inputs.map((value) => ({ value, way: "IN" })), ...subgraph.outputs.map((value) => ({ value, way: "OUT" }))].map(
      ({ value, way }) => [
        subgraph.id,
        subgraph.device === "neuron" ? "Neuron Core" : "CPU",
        value.name,
        way,
        `[${value.shape ?? "..."}]`,
        value.dtype,
      ],
    ),
  );
  terminal.print(`\nNEFF Nodes:\n${table(["NODE", "Executor", "Variable", "Type", "Shape", "DataType"], rows, "  ")}`);
  const pipelines = describePipelines(manifest);
  if (pipelines) terminal.print(`\n${pipelines}`);
  terminal.print(
    `\nFiles:\n${table(
      ["Name", "Bytes"],
      files.map((entry) => [entry.name, String(entry.bytes)]),
      "  ",
    )}`,
  );
}

async function unpack(file: string, folder: string, terminal: Terminal, json: boolean): Promise<void> {
  const { readBytes } = await import("../runtime/files/files.js");
  const { readEntries } = await import("../neff/neff.js");
  const { entries } = readEntries(readBytes(file), file);
  const targets = entries.map(({ name, data }) => ({ name, data, path: inside(folder, name, file) }));
  makeFolder(folder);
  for (const { path, data } of targets) {
    makeFolder(dirname(path));
    writeWhole(path, data);
  }
  if (json) terminal.object({ folder, files: targets.map(({ name, data }) => ({ name, bytes: data.length })) });
  for (const { path } of targets) terminal.print(path);
}
