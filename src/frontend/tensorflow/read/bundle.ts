/** TensorBundles: the values of variables, in shards with an index. */
import { UserError, userError } from "../../../diagnostics/diagnostic.js";
import { bytesPerElement, type DType, elementCount, type Tensor, viewOf } from "../../../graph/tensor.js";
import { readRange, readWhole, reasonOf, statsOf, unreadable, withFile } from "../../files.js";
import { crc32c, masked } from "./crc32c.js";
import { type Box, boxOfSlice, copyOverlap, overlaps, sliceKey, wholeBox } from "./partitions.js";
import { type BundleEntry, decode } from "./schema.js";
import { varint } from "./snappy.js";
import { readTable } from "./table.js";
import { staticShape, typeOf } from "./tensor.js";

export interface Bundle {
  readonly keys: ReadonlySet<string>;
  /** The tensor of a key, or the part of it in a box; `variable` is named in errors. Each call reads it into a buffer of its own. */
  tensor(key: string, variable: string, box?: (shape: readonly number[]) => Box | undefined): Tensor;
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
    const table = readTable(bytes);
    const head = table.get("");
    if (head === undefined) throw new RangeError("it has no header");
    const header = decode("BundleHeaderProto", head);
    const all = [...table].filter(([key]) => key !== "").map(([key, value]) => [key, decode("BundleEntryProto", value)] as const);
    const slices = new Map(all.filter(([key]) => key.startsWith("\0")));
    const entries = new Map(
      all.filter(([key]) => !slices.has(key)).map(([key, entry]) => [Buffer.from(key, "latin1").toString("utf8"), entry]),
    );
    const shards = { prefix, count: header.num_shards, isBigEndian: header.endianness === 1, seen };
    const entryOf = (key: string, variable: string) => {
      const entry = entries.get(key);
      if (entry === undefined) throw userError("NCC0143", { variable, reason: `the checkpoint has no ${key}` });
      return entry;
    };
    const tensor: Bundle["tensor"] = (key, variable, box) => {
      const entry = entryOf(key, variable);
      if (entry.slices.length === 0 && box === undefined) return readTensor(shards, entry, variable);
      const shape = staticShape(entry.shape, variable);
      const bad = (what: string) => userError("NCC0145", { variable, key, what });
      const wanted = (box ?? wholeBox)(shape);
      if (wanted === undefined) throw bad("restored from a slice that it has not");
      const kept = entry.slices.map((slice) => {
        const part = slices.get(sliceKey(key, slice));
        const covered = boxOfSlice(slice, shape);
        if (part === undefined || covered === undefined) throw bad("not there in all its slices");
        return { covered, part };
      });
      return assemble(shards, kept.length === 0 ? [{ covered: wholeBox(shape), part: entry }] : kept, wanted, variable);
    };
    return {
      keys: new Set(entries.keys()),
      tensor,
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
  const { crc32c: checksum } = entry;
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

/** The part in a box of a tensor of which the bundle keeps parts: those that the box touches are read. */
function assemble(
  shards: Shards,
  kept: readonly { readonly covered: Box; readonly part: BundleEntry }[],
  wanted: Box,
  variable: string,
): Tensor {
  const shape = wanted.map(({ size }) => size);
  const read = kept
    .filter(({ covered }) => overlaps(covered, wanted))
    .map(({ covered, part }) => ({ covered, tensor: readTensor(shards, part, variable) }));
  const dtype = read[0]?.tensor.dtype ?? "float32";
  const width = dtype === "string" ? 0 : bytesPerElement[dtype];
  const bytes = new Uint8Array(elementCount(shape) * width);
  for (const {
    covered,
    tensor: { data },
  } of read) {
    if (Array.isArray(data)) throw userError("NCC0157", { tensor: variable, type: dtype });
    copyOverlap(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), covered, bytes, wanted, width);
  }
  return { dtype, shape, data: viewOf(dtype, bytes.buffer, 0, bytes.length) };
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
