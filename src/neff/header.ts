/** The 1024 bytes at the start of a NEFF file. Fields and offsets are the vendor's. */
import { createHash } from "node:crypto";

export const HEADER_BYTES = 1024;
export const PACKAGE_VERSION = 2;
/** Versions of the NEFF format that this package writes, and the only ones that it reads. */
export const NEFF_VERSION = { major: 1, minor: 0 } as const;

export interface NeffHeader {
  readonly packageVersion: number;
  readonly headerSize: number;
  /** Bytes after the header. */
  readonly dataSize: number;
  readonly versionMajor: number;
  readonly versionMinor: number;
  /** Of the compiler; at most 127 bytes. */
  readonly buildVersion: string;
  /** NeuronCores for efficient execution: each stage of each subgraph on its own. */
  readonly cores: number;
  /** SHA-256, in hexadecimal, of the whole file with this field and `uuid` as zeros. */
  readonly hash: string;
  /** Derived from `hash`. */
  readonly uuid: string;
  /** Of the network; at most 255 bytes. */
  readonly name: string;
  /** What `--neuroncore-pipeline-cores` asked for. */
  readonly requestedCores: number;
  /** Cores of each of the first 64 subgraphs; 0 for one on the CPU. */
  readonly coresPerNode: readonly number[];
  readonly featureBits: number;
  readonly logicalCoreSize: number;
}

const at = {
  packageVersion: 0,
  headerSize: 8,
  dataSize: 16,
  versionMajor: 24,
  versionMinor: 32,
  buildVersion: 40,
  cores: 168,
  hash: 172,
  uuid: 204,
  name: 220,
  requestedCores: 476,
  coresPerNode: 480,
  featureBits: 544,
  logicalCoreSize: 552,
} as const;
const BUILD_BYTES = 128;
const NAME_BYTES = 256;
const NODES = 64;

/** The header's bytes for `data`, given as consecutive pieces. */
export function encodeHeader(fields: Omit<NeffHeader, "hash" | "uuid" | "dataSize">, data: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  const u64 = (value: number, offset: number) => bytes.writeBigUInt64LE(BigInt(value), offset);
  u64(fields.packageVersion, at.packageVersion);
  u64(fields.headerSize, at.headerSize);
  u64(
    data.reduce((sum, piece) => sum + piece.length, 0),
    at.dataSize,
  );
  u64(fields.versionMajor, at.versionMajor);
  u64(fields.versionMinor, at.versionMinor);
  bytes.write(fields.buildVersion, at.buildVersion, BUILD_BYTES - 1, "utf8");
  bytes.writeUInt32LE(fields.cores, at.cores);
  bytes.write(fields.name, at.name, NAME_BYTES - 1, "utf8");
  bytes.writeUInt32LE(fields.requestedCores, at.requestedCores);
  bytes.set(fields.coresPerNode.slice(0, NODES), at.coresPerNode);
  u64(fields.featureBits, at.featureBits);
  bytes.writeUInt32LE(fields.logicalCoreSize, at.logicalCoreSize);
  const hash = hashOf(bytes, data);
  hash.copy(bytes, at.hash);
  uuidOf(hash).copy(bytes, at.uuid);
  return bytes;
}

/** Reads the fields; checks none. `bytes` holds at least a whole header. */
export function decodeHeader(bytes: Uint8Array): NeffHeader {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const text = (offset: number, length: number) => view.toString("utf8", offset, offset + length).split("\0")[0];
  const u64 = (offset: number) => Number(view.readBigUInt64LE(offset));
  return {
    packageVersion: u64(at.packageVersion),
    headerSize: u64(at.headerSize),
    dataSize: u64(at.dataSize),
    versionMajor: u64(at.versionMajor),
    versionMinor: u64(at.versionMinor),
    buildVersion: text(at.buildVersion, BUILD_BYTES),
    cores: view.readUInt32LE(at.cores),
    hash: view.toString("hex", at.hash, at.hash + 32),
    uuid: view.toString("hex", at.uuid, at.uuid + 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    name: text(at.name, NAME_BYTES),
    requestedCores: view.readUInt32LE(at.requestedCores),
    coresPerNode: [...view.subarray(at.coresPerNode, at.coresPerNode + NODES)],
    featureBits: u64(at.featureBits),
    logicalCoreSize: view.readUInt32LE(at.logicalCoreSize),
  };
}

/** Whether the hash and the UUID in a whole file's header are those of its content: any changed byte makes it false. */
export function hashHolds(file: Uint8Array): boolean {
  const header = Buffer.from(file.slice(0, HEADER_BYTES));
  const hash = hashOf(header, [file.subarray(HEADER_BYTES)]);
  return hash.equals(header.subarray(at.hash, at.hash + 32)) && uuidOf(hash).equals(header.subarray(at.uuid, at.uuid + 16));
}

function hashOf(header: Uint8Array, data: readonly Uint8Array[]): Buffer {
  const blank = Uint8Array.from(header);
  blank.fill(0, at.hash, at.uuid + 16);
  const hash = createHash("sha256").update(blank);
  for (const piece of data) hash.update(piece);
  return hash.digest();
}

/** A version-8 (RFC 9562, custom) UUID from the hash's first bytes. */
function uuidOf(hash: Uint8Array): Buffer {
  const uuid = Buffer.from(hash.subarray(0, 16));
  uuid[6] = (uuid[6] & 0x0f) | 0x80;
  uuid[8] = (uuid[8] & 0x3f) | 0x80;
  return uuid;
}
