/** Partitioned variables: tensors that a checkpoint keeps in slices, and variables that are a slice of a checkpoint's tensor. */
import type { BundleEntry } from "./schema.js";

/** Positions [start, start + size) of an axis. */
export interface Range {
  readonly start: number;
  readonly size: number;
}

export type Box = readonly Range[];
type Slice = BundleEntry["slices"][number];

export const wholeBox = (shape: readonly number[]): Box => shape.map((size) => ({ start: 0, size }));

/** What a slice of a tensor of that shape covers; an extent without a length is the whole axis. Undefined where it is none of it. */
export function boxOfSlice({ extent }: Slice, shape: readonly number[]): Box | undefined {
  const box = shape.map((size, axis) => {
    const [start, length] = [Number(extent[axis]?.start ?? 0), Number(extent[axis]?.length ?? 0)];
    return length === 0 ? { start: 0, size } : { start, size: length };
  });
  return fits(box, shape) ? box : undefined;
}

/**
 * The box of a slice as RestoreV2 names it: the extents of the whole tensor, then `START,LENGTH` of each axis between colons, or `-` for
 * a whole axis ("10 4 0,5:-"). Undefined for any other text.
 */
export function boxOfText(text: string, shape: readonly number[]): Box | undefined {
  const words = text.split(" ");
  const axes = words.pop()?.split(":") ?? [];
  if (words.length !== shape.length || axes.length !== shape.length) return undefined;
  const box = axes.map((axis, index) => {
    const [start, size] = axis === "-" ? [0, shape[index]] : axis.split(",").map(Number);
    return { start, size };
  });
  return fits(box, shape) && words.every((word, axis) => Number(word) === shape[axis]) ? box : undefined;
}

function fits(box: Box, shape: readonly number[]): boolean {
  return box.every(({ start, size }, axis) => start >= 0 && size >= 0 && start + size <= shape[axis]);
}

/** The key of a slice's entry, a byte a character: 0, the name, the rank, start and length of each axis, in TensorFlow's OrderedCode. */
export function sliceKey(name: string, { extent }: Slice): string {
  const bytes = Buffer.from(name).toString("latin1");
  const escaped = bytes.replace(/[\0\xff]/g, (byte) => (byte === "\0" ? "\0\xff" : "\xff\0"));
  const axes = extent.flatMap(({ start, length }) => [Number(start), Number(length) === 0 ? -1 : Number(length)]);
  return `\0${escaped}\0\x01${unsignedCode(extent.length)}${axes.map(signedCode).join("")}`;
}

/** The number of bytes, then the bytes. */
function unsignedCode(value: number): string {
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return String.fromCharCode(bytes.length, ...bytes);
}

/** Seven bits a byte, of which the first `length` bits, inverted by the sign, say how many bytes there are. */
function signedCode(value: number): string {
  const big = BigInt(value);
  const magnitude = big < 0n ? ~big : big;
  let length = 1;
  while (magnitude >= 1n << BigInt(7 * length - 1)) length++;
  const header = ((1n << BigInt(length)) - 1n) << BigInt(7 * length);
  const code = BigInt.asUintN(8 * length, big) ^ header;
  return Buffer.from(code.toString(16).padStart(2 * length, "0"), "hex").toString("latin1");
}

export function overlaps(one: Box, other: Box): boolean {
  return shared(one, other).every(({ size }) => size > 0);
}

function shared(one: Box, other: Box): Box {
  return one.map(({ start, size }, axis) => {
    const first = Math.max(start, other[axis].start);
    return { start: first, size: Math.min(start + size, other[axis].start + other[axis].size) - first };
  });
}

/** Copies what two boxes of one tensor share, `width` bytes an element; each holds its own elements in row-major order. */
export function copyOverlap(from: Uint8Array, source: Box, to: Uint8Array, target: Box, width: number): void {
  const common = shared(source, target);
  const last = common.length - 1;
  const at = (box: Box, axis: number, before: number) => before * box[axis].size + common[axis].start - box[axis].start;
  const copy = (axis: number, read: number, write: number): void => {
    if (last < 0) return to.set(from);
    const [first, place] = [at(source, axis, read), at(target, axis, write)];
    const { size } = common[axis];
    if (axis === last) return to.set(from.subarray(first * width, (first + size) * width), place * width);
    for (let index = 0; index < size; index++) copy(axis + 1, first + index, place + index);
  };
  if (common.every(({ size }) => size > 0)) copy(0, 0, 0);
}
