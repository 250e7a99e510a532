/** The artifact as one file: the NEFF header, then a tar, compressed or not. The same artifact gives the same bytes on every host. */
import { once } from "node:events";
import { createGzip, gunzipSync, constants as zlib } from "node:zlib";
import { UserError, userError } from "../diagnostics/diagnostic.js";
import { readTensorProto, writeTensorProto } from "../frontend/onnx/tensor.js";
import type { Tensor } from "../graph/tensor.js";
import { fits, mismatch } from "../options/schema.js";
import { firstCores } from "../program/placement.js";
import { bufferBytes, type LoadedProgram, type Program } from "../program/program.js";
import { parseProgram, printProgram } from "../program/text.js";
import { version } from "../version.js";
import { type Artifact, MANIFEST_FORMAT, type Manifest, manifestSchema, type StageManifest, type SubgraphManifest } from "./artifact.js";
import { decodeHeader, encodeHeader, HEADER_BYTES, hashHolds, NEFF_VERSION, type NeffHeader, PACKAGE_VERSION } from "./header.js";
import { readTar, type TarEntry, type TarSource, tarPieces } from "./tar.js";

/** Bits of the header's `featureBits`. */
export const features = { uncompressed: 1 } as const;

/** Where the constant DRAM buffers of a program lie in its weights file, in order of declaration. */
export function constantIndex(program: Program): StageManifest["constants"] {
  let offset = 0;
  return program.buffers
    .filter((buffer) => buffer.space === "dram" && buffer.kind === "constant")
    .map((buffer) => {
      const bytes = bufferBytes(buffer);
      offset += bytes;
      return { name: buffer.name, offset: offset - bytes, bytes };
    });
}

/** Bytes of the file. They depend on the artifact alone: no clock, no path, no order of evaluation. */
export async function writeNeff(artifact: Artifact): Promise<Uint8Array> {
  const { manifest } = artifact;
  const uncompressed = manifest.options.enableFastLoadingNeuronBinaries;
  const tar = tarPieces(sources(artifact));
  const data = uncompressed ? tar : await gzip(tar);
  const coresPerNode = manifest.subgraphs.map((subgraph) => subgraph.stages?.length ?? 0);
  const header = encodeHeader(
    {
      packageVersion: PACKAGE_VERSION,
      headerSize: HEADER_BYTES,
      versionMajor: NEFF_VERSION.major,
      versionMinor: NEFF_VERSION.minor,
      buildVersion: `neuronc ${version}`,
      cores: coresPerNode.reduce((sum, count) => sum + count, 0),
      name: manifest.name,
      requestedCores: manifest.options.neuroncorePipelineCores || Math.max(0, ...coresPerNode),
      coresPerNode,
      featureBits: uncompressed ? features.uncompressed : 0,
      logicalCoreSize: 1,
    },
    data,
  );
  return Buffer.concat([header, ...data]);
}

/** The tensors that an artifact holds as they are. */
function tensorsOf(manifest: Manifest, { constants, inputValues }: Pick<Artifact, "constants" | "inputValues">) {
  return [
    { folder: "constants", names: manifest.constants, values: constants },
    { folder: "inputs", names: manifest.options.inputValues ?? [], values: inputValues },
  ];
}

/** Files in the order in which they are wanted: manifest and programs, which tell everything but values, are at the start. */
function sources(artifact: Artifact): TarSource[] {
  const { manifest } = artifact;
  const described: TarSource[] = [{ name: "manifest.json", pieces: [text(`${JSON.stringify(manifest, null, 1)}\n`)] }];
  const payload: TarSource[] = [];
  for (const { folder, names, values } of tensorsOf(manifest, artifact)) {
    for (const [index, name] of names.entries()) {
      const tensor = values.get(name);
      if (!tensor) throw new Error(`no value for ${name}`);
      payload.push({ name: `${folder}/${index}.pb`, pieces: [writeTensorProto(name, tensor)] });
    }
  }
  for (const subgraph of manifest.subgraphs) {
    const model = artifact.models.get(subgraph.id);
    if (model) payload.push({ name: `${subgraph.id}/model.onnx`, pieces: [model] });
    for (const [index, stage] of (subgraph.stages ?? []).entries()) {
      const loaded = artifact.programs.get(subgraph.id)?.[index];
      if (!loaded) throw new Error(`no program for stage ${index} of ${subgraph.id}`);
      const file = `${subgraph.id}/core${stage.core}`;
      described.push({ name: `${file}.asm`, pieces: [text(printProgram(loaded.program))] });
      payload.push({ name: `${file}.weights`, pieces: stage.constants.map((constant) => constantBytes(loaded, constant)) });
    }
  }
  return [...described, ...payload];
}

function text(content: string): Uint8Array {
  return Buffer.from(content, "utf8");
}

function constantBytes(loaded: LoadedProgram, { name, bytes }: StageManifest["constants"][number]): Uint8Array {
  const data = loaded.constants.get(name);
  if (data?.length !== bytes) throw new Error(`constant ${name} has ${data?.length} bytes, its buffer ${bytes}`);
  return data;
}

/**
 * Run-length matches and Huffman codes only: a search for longer matches may differ between builds of zlib, and gains nothing on
 * 16-bit weights. The header's XFL and OS bytes, which tell of the writer, are made constant.
 */
async function gzip(pieces: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const stream = createGzip({ level: 1, strategy: zlib.Z_RLE, chunkSize: 1 << 20 });
  const compressed: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => compressed.push(chunk));
  const end = once(stream, "end");
  for (const piece of pieces) if (!stream.write(piece)) await once(stream, "drain");
  stream.end();
  await end;
  const XFL = 8;
  const OS = 9;
  const UNKNOWN = 255;
  compressed[0][XFL] = 0;
  compressed[0][OS] = UNKNOWN;
  return compressed;
}

/**
 * Reads a header, and checks what can be checked without the data. `label` names the file in errors.
 * Errors: NCC0701 not a NEFF, NCC0702 another version.
 */
export function readHeader(file: Uint8Array, label: string): NeffHeader {
  if (file.length < HEADER_BYTES)
    throw userError("NCC0701", { file: label, detail: `it has ${file.length} bytes, a header alone has ${HEADER_BYTES}` });
  const header = decodeHeader(file);
  if (header.packageVersion !== PACKAGE_VERSION || header.headerSize !== HEADER_BYTES) {
    throw userError("NCC0701", {
      file: label,
      detail: `it does not start with package version ${PACKAGE_VERSION} and header size ${HEADER_BYTES}`,
    });
  }
  if (header.versionMajor !== NEFF_VERSION.major || header.versionMinor !== NEFF_VERSION.minor) {
    throw userError("NCC0702", {
      file: label,
      supported: `${NEFF_VERSION.major}.${NEFF_VERSION.minor}`,
      received: `${header.versionMajor}.${header.versionMinor}`,
    });
  }
  return header;
}

/** Header and data of a file whose sizes and hash are right. Errors: NCC0701 to NCC0704. */
function open(file: Uint8Array, label: string): { header: NeffHeader; data: Uint8Array } {
  const header = readHeader(file, label);
  const size = file.length - HEADER_BYTES;
  if (size < header.dataSize) throw userError("NCC0703", { file: label, expected: header.dataSize, found: size });
  if (size > header.dataSize || !hashHolds(file)) throw userError("NCC0704", { file: label });
  return { header, data: file.subarray(HEADER_BYTES) };
}

/** The files inside a NEFF, after its header. They are views of one buffer. Errors: NCC0701 to NCC0705. */
export function readEntries(file: Uint8Array, label: string): { header: NeffHeader; entries: TarEntry[] } {
  const { header, data } = open(file, label);
  const entries = readTar(header.featureBits & features.uncompressed ? data : gunzip(data, label));
  if (!entries) throw damaged(label, "its tar archive is not whole");
  return { header, entries };
}

/** The manifest alone, which is the first file: the rest is checked by its hash and not unpacked. Errors: NCC0701 to NCC0705. */
export function readManifest(file: Uint8Array, label: string): { header: NeffHeader; manifest: Manifest } {
  const { header, data } = open(file, label);
  return { header, manifest: manifestOf(firstEntries(header, data, 1, label), label) };
}

/** Manifest and programs, which are the first files, without weights; in the order of the subgraphs. Errors: NCC0701 to NCC0705. */
export function readPrograms(file: Uint8Array, label: string): { manifest: Manifest; programs: Map<string, Program[]> } {
  const { header, data } = open(file, label);
  const manifest = manifestOf(firstEntries(header, data, 1, label), label);
  const stages = manifest.subgraphs.flatMap(({ stages = [] }) => stages);
  const files = new Map(firstEntries(header, data, 1 + stages.length, label).map((entry) => [entry.name, entry.data]));
  const guarded = guard(files, label);
  const neuron = manifest.subgraphs.filter(({ device }) => device === "neuron");
  return {
    manifest,
    programs: new Map(neuron.map((subgraph) => [subgraph.id, stageFiles(subgraph, label).map((name) => readProgram(name, guarded))])),
  };
}

/** The first files of a NEFF; fewer where it has fewer. */
function firstEntries(header: NeffHeader, data: Uint8Array, count: number, label: string): TarEntry[] {
  const uncompressed = (header.featureBits & features.uncompressed) !== 0;
  for (let length = 1 << 16; ; length *= 4) {
    const start = data.subarray(0, length);
    const entries = readTar(uncompressed ? start : gunzip(start, label), count);
    if (entries) return entries;
    if (length >= data.length) throw damaged(label, "its tar archive is not whole");
  }
}

function manifestOf([first]: readonly TarEntry[], label: string): Manifest {
  if (first?.name !== "manifest.json") throw damaged(label, "manifest.json is missing");
  return parseManifest(first.data, label);
}

/** Unpacks what there is: whether it is whole is seen in the tar. */
function gunzip(data: Uint8Array, label: string): Uint8Array {
  try {
    return gunzipSync(data, { finishFlush: zlib.Z_SYNC_FLUSH });
  } catch {
    throw damaged(label, "its data is not gzip");
  }
}

function damaged(label: string, detail: string): UserError {
  return userError("NCC0705", { file: label, detail });
}

/** Reads a whole artifact. Programs' constants are views of one buffer. Errors: NCC0701 to NCC0705. */
export function readNeff(file: Uint8Array, label = "the artifact"): Artifact {
  const { entries } = readEntries(file, label);
  const files = new Map(entries.map((entry) => [entry.name, entry.data]));
  const need = (name: string) => files.get(name) ?? fail(label, `${name} is missing`);
  const manifest = parseManifest(need("manifest.json"), label);
  const guarded = guard(files, label);
  const neuron = manifest.subgraphs.filter((subgraph) => subgraph.device === "neuron");
  const cpu = manifest.subgraphs.filter((subgraph) => subgraph.device === "cpu");
  const readTensors = (folder: string, names: readonly string[]) =>
    new Map(
      names.map((name, index): [string, Tensor] => [name, guarded(`${folder}/${index}.pb`, (bytes) => readTensorProto(bytes).tensor)]),
    );
  return {
    manifest,
    programs: new Map(neuron.map((subgraph) => [subgraph.id, readStages(subgraph, guarded, label)])),
    models: new Map(cpu.map((subgraph) => [subgraph.id, need(`${subgraph.id}/model.onnx`)])),
    constants: readTensors("constants", manifest.constants),
    inputValues: readTensors("inputs", manifest.options.inputValues ?? []),
  };
}

/** Reads one of the files; what goes wrong with it is the artifact's fault. */
type Guarded = <T>(name: string, read: (bytes: Uint8Array) => T) => T;

function guard(files: ReadonlyMap<string, Uint8Array>, label: string): Guarded {
  return (name, read) => {
    const bytes = files.get(name) ?? fail(label, `${name} is missing`);
    try {
      return read(bytes);
    } catch (error) {
      throw error instanceof UserError && error.diagnostics[0].id === "NCC0705" ? error : damaged(label, `${name} can't be read`);
    }
  };
}

function fail(label: string, detail: string): never {
  throw damaged(label, detail);
}

/** Errors: NCC0705. */
export function parseManifest(bytes: Uint8Array, label: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    fail(label, "manifest.json is not JSON");
  }
  if (!fits(manifestSchema, value)) fail(label, `manifest.json: ${mismatch(manifestSchema, value)}`);
  if (value.format !== MANIFEST_FORMAT) fail(label, `manifest.json: format ${value.format}, not ${MANIFEST_FORMAT}`);
  const neuron = value.subgraphs.filter(({ device }) => device === "neuron");
  const starts = firstCores(neuron.map(({ stages = [] }) => stages.length));
  const misplaced = neuron.find(({ firstCore }, index) => firstCore !== starts[index]);
  if (misplaced) fail(label, `manifest.json: ${misplaced.id} does not lie behind the subgraph before it`);
  return value;
}

/** What the files of each stage are named, without their endings. */
function stageFiles({ id, stages }: SubgraphManifest, label: string): string[] {
  if (!stages?.length) fail(label, `manifest.json: ${id} has no stages`);
  return stages.map(({ core }) => `${id}/core${core}`);
}

function readProgram(file: string, guarded: Guarded): Program {
  return guarded(`${file}.asm`, (bytes) => parseProgram(Buffer.from(bytes).toString("utf8")));
}

function readStages(subgraph: SubgraphManifest, guarded: Guarded, label: string): LoadedProgram[] {
  return stageFiles(subgraph, label).map((file, stage) => {
    const program = readProgram(file, guarded);
    const constants = guarded(`${file}.weights`, (bytes) => {
      const index = constantIndex(program);
      if (JSON.stringify(index) !== JSON.stringify(subgraph.stages?.[stage].constants))
        fail(label, `${file}.asm: its constants are not those of the manifest`);
      if (index.reduce((sum, constant) => sum + constant.bytes, 0) !== bytes.length) fail(label, `${file}.weights has a wrong size`);
      return new Map(index.map(({ name, offset, bytes: size }) => [name, bytes.subarray(offset, offset + size)]));
    });
    return { program, constants };
  });
}
