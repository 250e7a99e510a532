/** Ustar archives as `tar` reads them. Names have at most 100 ASCII bytes; times, users and groups are always zero. */

export interface TarEntry {
  readonly name: string;
  readonly data: Uint8Array;
}

/** An entry to be written: its bytes as consecutive pieces. */
export interface TarSource {
  readonly name: string;
  readonly pieces: readonly Uint8Array[];
}

const BLOCK = 512;

/** The archive as pieces to be written one after another: an entry's own bytes are among them, not copied. */
export function tarPieces(sources: readonly TarSource[]): Uint8Array[] {
  const archive: Uint8Array[] = [];
  for (const { name, pieces } of sources) {
    const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
    archive.push(header(name, size), ...pieces);
    if (size % BLOCK !== 0) archive.push(new Uint8Array(BLOCK - (size % BLOCK)));
  }
  archive.push(new Uint8Array(2 * BLOCK));
  return archive;
}

function header(name: string, size: number): Uint8Array {
  if (!/^[\x21-\x7e]{1,100}$/.test(name)) throw new Error(`tar: ${name} can't be an entry's name`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  block.write(name, 0, "latin1");
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write("0", 156, "latin1");
  block.write("ustar\0" + "00", 257, "latin1");
  block.write(`${checksum(block).toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

/** The sum of a header's bytes, those of the checksum itself counted as spaces. */
function checksum(block: Uint8Array): number {
  return block.reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 32 : byte), 0);
}

/**
 * The entries of an archive, as views of it. Undefined if it is not a whole archive of plain files as `tarPieces` makes them.
 * With `count`, the first so many: the archive may be cut after them.
 */
export function readTar(archive: Uint8Array, count = Infinity): TarEntry[] | undefined {
  const entries: TarEntry[] = [];
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const block = archive.subarray(at, at + BLOCK);
    if (block.every((byte) => byte === 0)) return entries;
    const text = (from: number, length: number) =>
      Buffer.from(block.buffer, block.byteOffset + from, length)
        .toString("latin1")
        .split("\0")[0];
    const size = Number.parseInt(text(124, 12), 8);
    if (Number.parseInt(text(148, 8), 8) !== checksum(block) || text(156, 1) !== "0" || !(at + BLOCK + size <= archive.length))
      return undefined;
    entries.push({ name: text(0, 100), data: archive.subarray(at + BLOCK, at + BLOCK + size) });
    if (entries.length === count) return entries;
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return undefined;
}
