/** Snappy's block format. */

/** The bytes that a block holds. Throws a RangeError where it is no such block. */
export function decompress(block: Uint8Array): Uint8Array {
  const { value: length, next } = varint(block, 0);
  // A three-byte copy makes at most 64 bytes.
  if (length > 64 * block.length) throw new RangeError("a compressed block announces more bytes than it can hold");
  const result = new Uint8Array(length);
  let to = 0;
  for (let at = next; at < block.length; ) {
    const tag = block[at++];
    const kind = tag & 3;
    if (kind === 0) {
      const inline = tag >>> 2;
      const extra = inline < 60 ? 0 : inline - 59;
      const count = (extra === 0 ? inline : littleEndian(block, at, extra)) + 1;
      at += extra;
      if (at + count > block.length || to + count > length) throw new RangeError("a compressed block ends inside a literal");
      result.set(block.subarray(at, at + count), to);
      at += count;
      to += count;
      continue;
    }
    const width = kind === 3 ? 4 : kind;
    const offset = kind === 1 ? ((tag >>> 5) << 8) | littleEndian(block, at, 1) : littleEndian(block, at, width);
    const count = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    at += width;
    if (offset === 0 || offset > to || to + count > length) throw new RangeError("a compressed block copies from outside itself");
    // Byte by byte: a copy may overlap what it makes.
    for (const end = to + count; to < end; to++) result[to] = result[to - offset];
  }
  if (to !== length) throw new RangeError(`a compressed block holds ${to} bytes, not ${length}`);
  return result;
}

function littleEndian(bytes: Uint8Array, at: number, width: number): number {
  let value = 0;
  for (let index = width - 1; index >= 0; index--) value = value * 256 + bytes[at + index];
  return value;
}

/** The base-128 number at `at`, and where it ends. Throws a RangeError where there is none. */
export function varint(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0;
  let next = at;
  for (let scale = 1; ; scale *= 128) {
    if (next >= bytes.length || scale > 2 ** 49) throw new RangeError(`no number at byte ${at}`);
    const byte = bytes[next++];
    value += (byte & 127) * scale;
    if (byte < 128) return { value, next };
  }
}
