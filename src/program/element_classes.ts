/**
 * The elements of a buffer, put in classes: two are in one class if the same access patterns touch both. What holds for one element of a
 * class then holds for all of it, so that exact reasoning about single elements costs no more than reasoning about a few classes.
 */
import type { Access, Buffer } from "./program.js";

export type Pattern = Pick<Access, "partitionStart" | "partitionCount" | "partitionStride" | "offset" | "sizes" | "strides">;

export interface ElementClasses {
  /** Cells (groups of elements that all patterns touch together) in each class; class 0 is what no pattern touches. */
  readonly counts: readonly number[];
  /** The classes that make up each pattern, in the order of the patterns. */
  readonly members: readonly Int32Array[];
}

interface Dim {
  readonly size: number;
  readonly stride: number;
}

/** A pattern's elements in one partition (in DRAM: in all) as a set: positive strides ascending, neighbours merged. */
interface LinearSet {
  readonly offset: number;
  /** Length of a contiguous run. */
  readonly run: number;
  readonly dims: readonly Dim[];
}

function linearSet(pattern: Pattern, isDram: boolean): LinearSet {
  const all = pattern.sizes.map((size, axis) => ({ size, stride: pattern.strides[axis] }));
  if (isDram) all.push({ size: pattern.partitionCount, stride: pattern.partitionStride });
  let { offset } = pattern;
  const dims: Dim[] = [];
  for (const { size, stride } of all) {
    if (size === 1 || stride === 0) continue;
    if (stride < 0) offset += (size - 1) * stride;
    dims.push({ size, stride: Math.abs(stride) });
  }
  dims.sort((a, b) => a.stride - b.stride);
  let run = 1;
  while (dims.length > 0 && dims[0].stride === run) run *= dims.shift()!.size;
  return { offset, run, dims };
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** First cells of a set's runs, `unit` elements to a cell. */
function runStarts(set: LinearSet, unit: number): Int32Array {
  const count = set.dims.reduce((product, { size }) => product * size, 1);
  const starts = new Int32Array(count);
  starts[0] = set.offset / unit;
  let filled = 1;
  for (const { size, stride } of set.dims) {
    for (let at = filled; at < filled * size; at++) starts[at] = starts[at - filled] + stride / unit;
    filled *= size;
  }
  return starts;
}

/** Cells of one pattern: for each of `rows`, runs of `length` from each start. */
interface CellSet {
  readonly rowLow: number;
  readonly rowHigh: number;
  readonly starts: Int32Array;
  readonly length: number;
}

/** Splits classes pattern by pattern. */
class Refinement {
  readonly #cells: Int32Array;
  readonly #columns: number;
  readonly counts: number[];
  /** By class: the pattern that made it, the pattern that split it last, and what that split off. */
  readonly #madeBy = [-1];
  readonly #splitBy = [-1];
  readonly #splitTo = [0];

  constructor(rows: number, columns: number) {
    this.#cells = new Int32Array(rows * columns);
    this.#columns = columns;
    this.counts = [rows * columns];
  }

  split(set: CellSet, pattern: number): void {
    const cells = this.#cells;
    for (let row = set.rowLow; row < set.rowHigh; row++) {
      for (const start of set.starts) {
        const first = row * this.#columns + start;
        for (let cell = first; cell < first + set.length; cell++) {
          const old = cells[cell];
          if (this.#madeBy[old] === pattern) continue;
          if (this.#splitBy[old] !== pattern) {
            this.#splitBy[old] = pattern;
            this.#splitTo[old] = this.counts.length;
            this.#madeBy.push(pattern);
            this.#splitBy.push(-1);
            this.#splitTo.push(0);
            this.counts.push(0);
          }
          this.counts[old]--;
          this.counts[this.#splitTo[old]]++;
          cells[cell] = this.#splitTo[old];
        }
      }
    }
  }

  /** The classes of a set's cells, once all patterns have split. `seen` is a scratch stamp by class. */
  classesOf(set: CellSet, pattern: number, seen: Int32Array): Int32Array {
    const found: number[] = [];
    for (let row = set.rowLow; row < set.rowHigh; row++) {
      for (const start of set.starts) {
        const first = row * this.#columns + start;
        for (let cell = first; cell < first + set.length; cell++) {
          const each = this.#cells[cell];
          if (seen[each] === pattern) continue;
          seen[each] = pattern;
          found.push(each);
        }
      }
    }
    return Int32Array.from(found);
  }
}

/** Patterns must lie inside the buffer. */
export function elementClasses(buffer: Buffer, patterns: readonly Pattern[]): ElementClasses {
  const isDram = buffer.space === "dram";
  const elements = isDram ? buffer.shape.reduce((product, extent) => product * extent, 1) : buffer.elements;
  const sets = patterns.map((pattern) => linearSet(pattern, isDram));
  let unit = elements;
  for (const { offset, run, dims } of sets) {
    unit = gcd(gcd(unit, offset), run);
    for (const { stride } of dims) unit = gcd(unit, stride);
  }
  unit = Math.max(1, unit);
  const cuts = isDram
    ? [0, 1]
    : [0, buffer.partitions, ...patterns.flatMap((p) => [p.partitionStart, p.partitionStart + p.partitionCount])];
  const rows = [...new Set(cuts)].sort((a, b) => a - b);
  const cellSets = sets.map((set, index): CellSet => {
    const { partitionStart, partitionCount } = patterns[index];
    const [rowLow, rowHigh] = isDram ? [0, 1] : [rows.indexOf(partitionStart), rows.indexOf(partitionStart + partitionCount)];
    return { rowLow, rowHigh, starts: runStarts(set, unit), length: set.run / unit };
  });
  const refinement = new Refinement(rows.length - 1, elements / unit);
  for (const [index, set] of cellSets.entries()) refinement.split(set, index);
  const seen = new Int32Array(refinement.counts.length).fill(-1);
  return { counts: refinement.counts, members: cellSets.map((set, index) => refinement.classesOf(set, index, seen)) };
}
