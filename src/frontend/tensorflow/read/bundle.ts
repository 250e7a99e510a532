/** TensorBundles: the values of variables, in shards with an index. */
import { UserError, userError } from "../../../diagnostics/diagnostic.js";
import { bytesPerElement, type DType, elementCount, type Tensor, viewOf } from "../../../graph/tensor.js";
import { readRange, readWhole, reasonOf, statsOf, unreadable, withFile } from "../../files.js";
import { crc32c, masked } from "./crc32c.js";
import { type BundleEntry, decode } from "./schema.js";
import { varint } from "./snappy.js";
import { readTable } from "./table.js";
import { staticShape, typeOf } from "./tensor.js";

export interface Bundle {
  readonly keys: ReadonlySet<string>;
  /** The tensor of a key; `variable` is named in errors. Each call reads it into a buffer of its own. */
  tensor(key: string, variable: string): Tensor;
  /** The first string of a key's tensor, as bytes. */
  bytes(key: string): Uint8Array;
}

/**
 * Opens the bundle of which the files begin with `prefix`; `seen` gets the files that are read.
 * Errors: NCC0140; undefined where it has no index.
 */
export function openBundle(prefix: string, seen: Set<string>): Bundle | undefined {
  const index = `${prefix}.index`;
  const stats = statsOf(index);
  if (!stats?.isFile()) return undefined;
  const damaged = (error: unknown) => userError("NCC0140", { path: index, reason: reasonOf(error) });
  const bytes = readWhole(index, stats.size);
  seen.add(index);
  try {
    const table = new Map([...readTable(bytes)].map(([key, value]) => [Buffer.from(key, "latin1").toString("utf8"), value]));
    const head = table.get("");
    if (head === undefined) throw new RangeError("it has no header");
    const header = decode("BundleHeaderProto", head);
    const entries = new Map([...table].filter(([key]) => key !== "").map(([key, value]) => [key, decode("BundleEntryProto", value)]));
    const shards = { prefix, count: header.num_shards, isBigEndian: header.endianness === 1, seen };
    const entryOf = (key: string, variable: string) => {
      const entry = entries.get(key);
      if (entry === undefined) throw userError("NCC0143", { variable, reason: `the checkpoint has no ${key}` });
      return entry;
    };
    return {
      keys: new Set(entries.keys()),
      tensor: (key, variable) => readTensor(shards, entryOf(key, variable), variable),
      bytes: (key) => readStrings(shards, entryOf(key, key), key)[0],
    };
  } catch (error) {
    throw error instanceof UserError ? error : damaged(error);
  }
}

interface Shards {
  readonly prefix: string;
  readonly count: number;
  readonly isBigEndian: boolean;
  readonly seen: Set<string>;
}

function readTensor(shards: Shards, entry: BundleEntry, variable: string): Tensor {
  const { slices, crc32c: checksum } = entry;
  if (slices.length > 0) throw userError("NCC0145", { variable, count: slices.length });
  const dtype = typeOf(entry.dtype);
  if (dtype === undefined || dtype === "resource" || dtype === "variant") {
    throw userError("NCC0157", { tensor: variable, type: dtype ?? entry.dtype });
  }
  const shape = staticShape(entry.shape, variable);
  if (dtype === "string") return { dtype, shape, data: readStrings(shards, entry, variable).map((item) => item.toString("utf8")) };
  const { path, bytes } = readShard(shards, entry, variable);
  const count = elementCount(shape);
  if (masked(crc32c(bytes)) !== checksum) throw userError("NCC0141", { path, variable });
  if (bytes.length !== count * bytesPerElement[dtype]) {
    throw userError("NCC0208", { tensor: variable, count, dtype, found: `${bytes.length} bytes` });
  }
  if (shards.isBigEndian) swap(bytes, dtype);
  return { dtype, shape, data: viewOf(dtype, bytes.buffer, bytes.byteOffset, bytes.length) };
}

function readStrings(shards: Shards, entry: BundleEntry, variable: string): Buffer[] {
  const { path, bytes } = readShard(shards, entry, variable);
  const strings = stringsOf(bytes, elementCount(staticShape(entry.shape, variable)), entry.crc32c);
  if (strings === undefined) throw userError("NCC0141", { path, variable });
  return strings;
}

/** The bytes of an entry. Errors: NCC0139, NCC0142. */
function readShard({ prefix, count, seen }: Shards, entry: BundleEntry, variable: string): { path: string; bytes: Uint8Array } {
  const digits = (value: number) => String(value).padStart(5, "0");
  const path = `${prefix}.data-${digits(entry.shard_id)}-of-${digits(count)}`;
  const stats = statsOf(path);
  if (!stats?.isFile()) throw userError("NCC0139", { path, variable });
  const [offset, size] = [Number(entry.offset), Number(entry.size)];
  if (!(offset >= 0 && size >= 0 && offset + size <= stats.size)) {
    throw userError("NCC0142", { path, found: stats.size, variable, end: offset + size });
  }
  seen.add(path);
  try {
    return { path, bytes: withFile(path, (file) => readRange(file, offset, size)) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

function swap(bytes: Uint8Array, dtype: DType): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const width = dtype.startsWith("complex") ? bytesPerElement[dtype] / 2 : bytesPerElement[dtype];
  if (width === 2) buffer.swap16();
  else if (width === 4) buffer.swap32();
  else if (width === 8) buffer.swap64();
}

/** Strings: their lengths as varints, the lengths' CRC, their bytes. Undefined where they don't match the checksums. */
function stringsOf(bytes: Uint8Array, count: number, checksum: number): Buffer[] | undefined {
  const lengths: number[] = [];
  let at = 0;
  try {
    for (let index = 0; index < count; index++) {
      const { value, next } = varint(bytes, at);
      lengths.push(value);
      at = next;
    }
  } catch {
    return undefined;
  }
  const words = lengths.map((length) => {
    const word = Buffer.alloc(length < 2 ** 32 ? 4 : 8);
    word.writeUInt32LE(length % 2 ** 32);
    if (word.length === 8) word.writeUInt32LE(Math.floor(length / 2 ** 32), 4);
    return word;
  });
  const lengthsCrc = crc32c(Buffer.concat(words));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (at + 4 + total !== bytes.length) return undefined;
  const stored = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
  if (masked(lengthsCrc) !== stored || masked(crc32c(bytes.subarray(at), lengthsCrc)) !== checksum) return undefined;
  at += 4;
  return lengths.map((length) => {
    at += length;
    return Buffer.from(bytes.buffer, bytes.byteOffset + at - length, length);
  });
}
