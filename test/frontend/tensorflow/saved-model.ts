/** Small SavedModels, written field by field so that they can be broken in any way. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32c, masked } from "../../../src/frontend/tensorflow/read/crc32c.js";
import { type MessageName, schema } from "../../../src/frontend/tensorflow/read/schema.js";
import { parseText } from "../../../src/frontend/tensorflow/read/text.js";
import type { Tensor } from "../../../src/graph/tensor.js";

export const folder = mkdtempSync(join(tmpdir(), "neuronc-tensorflow-"));

const typeNumbers: Readonly<Record<string, number>> = { float32: 1, int32: 3, int64: 9 };

function encode(name: MessageName, content: object): Uint8Array {
  const type = schema.lookupType(name);
  return type.encode(type.create(content)).finish();
}

/** The binary form of a message that is given as text. */
export function binary(name: MessageName, text: string): Uint8Array {
  return schema
    .lookupType(name)
    .encode(parseText(name, Buffer.from(text)))
    .finish();
}

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) + (rest > 127 ? 128 : 0));
    if (rest < 128) return Buffer.from(bytes);
  }
}

/** Snappy's simplest form: one literal. */
function literal(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length - 1);
  return Buffer.concat([varint(bytes.length), Buffer.of(63 << 2), length, bytes]);
}

function block(entries: readonly (readonly [string, Uint8Array])[], snappy: boolean): Buffer {
  let before = "";
  const parts = entries.map(([key, value]) => {
    let shared = 0;
    while (shared < before.length && before[shared] === key[shared]) shared++;
    before = key;
    const rest = Buffer.from(key.slice(shared), "latin1");
    return Buffer.concat([varint(shared), varint(rest.length), varint(value.length), rest, value]);
  });
  const restarts = Buffer.from([0, 0, 0, 0, 1, 0, 0, 0]);
  const plain = Buffer.concat([...parts, restarts]);
  const contents = Buffer.concat([snappy ? literal(plain) : plain, Buffer.of(snappy ? 1 : 0)]);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(masked(crc32c(contents)));
  return Buffer.concat([contents, checksum]);
}

/** A table with one data block. */
export function table(entries: readonly (readonly [string, Uint8Array])[], snappy = false): Buffer {
  const trailer = 5;
  const data = block(entries, snappy);
  const handle = (offset: number, bytes: Buffer) => Buffer.concat([varint(offset), varint(bytes.length - trailer)]);
  const meta = block([], false);
  const index = block([["\xff", handle(0, data)]], false);
  const footer = Buffer.alloc(48);
  Buffer.concat([handle(data.length, meta), handle(data.length + meta.length, index)]).copy(footer);
  Buffer.from("57fb808b247547db", "hex").copy(footer, 40);
  return Buffer.concat([data, meta, index, footer]);
}

export interface BundleOptions {
  readonly shards?: number;
  readonly snappy?: boolean;
  readonly bigEndian?: boolean;
  /** Changes an entry before it is written. */
  readonly change?: (key: string, entry: Record<string, unknown>) => object;
}

/** Writes a bundle with the tensors dealt out to the shards in turn, each after three bytes of padding. */
export function writeBundle(prefix: string, tensors: Readonly<Record<string, Tensor>>, options: BundleOptions = {}): void {
  const { shards = 1, snappy = false, bigEndian = false, change = (_key, entry) => entry } = options;
  const data = Array.from({ length: shards }, (): Buffer[] => []);
  const header = encode("BundleHeaderProto", { num_shards: shards, endianness: bigEndian ? 1 : 0 });
  const keys = Object.keys(tensors).sort();
  const entries = keys.map((key, index): [string, Uint8Array] => {
    const { dtype, shape, data: elements } = tensors[key];
    if (Array.isArray(elements)) throw new Error("strings are not written");
    const bytes = Buffer.from(new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength));
    if (bigEndian) bytes.swap32();
    const shard = data[index % shards];
    shard.push(Buffer.alloc(3));
    const entry = {
      dtype: typeNumbers[dtype],
      shape: { dim: shape.map((size) => ({ size })) },
      shard_id: index % shards,
      offset: shard.reduce((sum, part) => sum + part.length, 0),
      size: bytes.length,
      crc32c: masked(crc32c(bytes)),
    };
    shard.push(bytes);
    return [key, encode("BundleEntryProto", change(key, entry))];
  });
  const digits = (value: number) => String(value).padStart(5, "0");
  writeFileSync(`${prefix}.index`, table([["", header], ...entries], snappy));
  for (const [index, parts] of data.entries()) writeFileSync(`${prefix}.data-${digits(index)}-of-${digits(shards)}`, Buffer.concat(parts));
}

let made = 0;

/** A new folder. */
export function newFolder(): string {
  const path = join(folder, `model_${made++}`);
  mkdirSync(join(path, "variables"), { recursive: true });
  return path;
}

/** Writes a SavedModel's file from the text of its meta graphs; returns its folder. */
export function savedModel(metaGraphs: readonly string[], path = newFolder()): string {
  const text = metaGraphs.map((graph) => `meta_graphs { ${graph} }`).join("\n");
  writeFileSync(join(path, "saved_model.pb"), binary("SavedModel", `saved_model_schema_version: 1 ${text}`));
  return path;
}

/** The text of a meta graph with one signature, of inputs and outputs as `key=tensor`, FP32 of shape [2]. */
export function metaGraph(graph: string, inputs: readonly string[], outputs: readonly string[], tags = ["serve"], more = ""): string {
  const info = (kind: string) => (item: string) => {
    const [key, name] = item.split("=");
    return `${kind} { key: "${key}" value { name: "${name}" dtype: DT_FLOAT tensor_shape { dim { size: 2 } } } }`;
  };
  const signature = `${inputs.map(info("inputs")).join(" ")} ${outputs.map(info("outputs")).join(" ")}`;
  return `meta_info_def { ${tags.map((tag) => `tags: "${tag}"`).join(" ")} } graph_def { ${graph} }
    signature_def { key: "serving_default" value { ${signature} } } ${more}`;
}

/** The text of a node: its attributes in text form, by name. */
export function node(name: string, op: string, inputs: readonly string[] = [], attributes: Readonly<Record<string, string>> = {}): string {
  const attr = Object.entries(attributes).map(([key, value]) => `attr { key: "${key}" value { ${value} } }`);
  return `node { ${nodeFields(name, op, inputs)} ${attr.join(" ")} }`;
}

function nodeFields(name: string, op: string, inputs: readonly string[]): string {
  return `name: "${name}" op: "${op}" ${inputs.map((input) => `input: "${input}"`).join(" ")}`;
}

/** The same inside a function. */
export function functionNode(...given: Parameters<typeof node>): string {
  return node(...given).replace(/^node/, "node_def");
}

export const float = { T: "type: DT_FLOAT" };
export const placeholder = (name: string): string =>
  node(name, "Placeholder", [], { dtype: "type: DT_FLOAT", shape: "shape { dim { size: 2 } }" });
export const variable = (name: string): string =>
  node(name, "VarHandleOp", [], { dtype: "type: DT_FLOAT", shape: "shape { dim { size: 2 } }" });
export const read = (name: string, of: string): string => node(name, "ReadVariableOp", [of], { dtype: "type: DT_FLOAT" });
