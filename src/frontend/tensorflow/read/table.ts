/** SSTables in LevelDB's layout: the index files of variables. */
import { crc32c, masked } from "./crc32c.js";
import { decompress, varint } from "./snappy.js";

const footerBytes = 48;
const trailerBytes = 5;
const magic = 0xdb4775248b80fb57n;

/** The table's entries, in the order of their keys; a key's bytes are the string's codes. Throws a RangeError where it is damaged. */
export function readTable(bytes: Uint8Array): Map<string, Uint8Array> {
  if (bytes.length < footerBytes) throw new RangeError(`it has ${bytes.length} bytes, a footer alone has ${footerBytes}`);
  const footer = bytes.subarray(bytes.length - footerBytes);
  const found = new DataView(footer.buffer, footer.byteOffset, footerBytes).getBigUint64(footerBytes - 8, true);
  if (found !== magic) throw new RangeError("it does not end as a table does");
  const { next } = handle(footer, 0);
  const index = entries(block(bytes, handle(footer, next)));
  const result = new Map<string, Uint8Array>();
  for (const [, value] of index) for (const [key, content] of entries(block(bytes, handle(value, 0)))) result.set(key, content);
  return result;
}

interface Handle {
  readonly offset: number;
  readonly size: number;
  /** Where the handle itself ends. */
  readonly next: number;
}

function handle(bytes: Uint8Array, at: number): Handle {
  const { value: offset, next } = varint(bytes, at);
  const { value: size, next: end } = varint(bytes, next);
  return { offset, size, next: end };
}

function block(bytes: Uint8Array, { offset, size }: Handle): Uint8Array {
  const end = offset + size;
  if (end + trailerBytes > bytes.length) throw new RangeError(`a block of ${size} bytes at byte ${offset} exceeds the file`);
  const stored = new DataView(bytes.buffer, bytes.byteOffset + end + 1, 4).getUint32(0, true);
  if (masked(crc32c(bytes.subarray(offset, end + 1))) !== stored) {
    throw new RangeError(`the block at byte ${offset} does not match its checksum`);
  }
  const contents = bytes.subarray(offset, end);
  const kind = bytes[end];
  if (kind > 1) throw new RangeError(`the block at byte ${offset} is compressed in form ${kind}, which no TensorFlow writes`);
  return kind === 1 ? decompress(contents) : contents;
}

function entries(contents: Uint8Array): [string, Uint8Array][] {
  if (contents.length < 4) throw new RangeError("a block has no restarts");
  const restarts = new DataView(contents.buffer, contents.byteOffset + contents.length - 4, 4).getUint32(0, true);
  const end = contents.length - 4 * (restarts + 1);
  if (end < 0) throw new RangeError("a block's restarts exceed it");
  const result: [string, Uint8Array][] = [];
  let key = Buffer.alloc(0);
  for (let at = 0; at < end; ) {
    const shared = varint(contents, at);
    const unshared = varint(contents, shared.next);
    const length = varint(contents, unshared.next);
    const keyEnd = length.next + unshared.value;
    at = keyEnd + length.value;
    if (shared.value > key.length || at > end) throw new RangeError("a block's entry exceeds it");
    key = Buffer.concat([key.subarray(0, shared.value), contents.subarray(length.next, keyEnd)]);
    result.push([key.toString("latin1"), contents.subarray(keyEnd, at)]);
  }
  return result;
}
