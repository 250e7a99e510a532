/**
 * Which parts of a buffer each step touches. A buffer is a grid of cells, cut where the writes to it begin and end; an access is the
 * box of cells that its bounding box meets. On chip the grid is partitions x elements. A DRAM buffer is folded into rows of the length
 * under which its accesses have the smallest bounding boxes, so that tiles of an image, one run of each channel, stay apart.
 */
import type { LoweredBuffer, Step } from "../lower/lowered.js";
import { type Access, reads } from "../program/program.js";

/** One access of a step: cells [rowLow, rowHigh) x [columnLow, columnHigh) of a buffer's grid. */
export interface Use {
  readonly buffer: number;
  readonly write: boolean;
  rowLow: number;
  rowHigh: number;
  columnLow: number;
  columnHigh: number;
}

export interface Regions {
  /** For each step its uses, the write first. Uses of buffers that no step of the section writes are left out. */
  readonly uses: readonly (readonly Use[])[];
  /** Columns of each buffer's grid, and cells; 0 for buffers without uses. */
  readonly columns: Int32Array;
  readonly cells: Int32Array;
}

/** Cells of one grid beyond which neighbours are merged; merging only makes steps wait for more than they must. */
const MAX_CELLS = 512;
/** Row lengths tried for one DRAM buffer. */
const MAX_CANDIDATES = 6;

interface RawUse {
  readonly access: Access;
  readonly use: Use;
}

/** Bounding box in [0, ...) rows of `rowLength` elements; a range that crosses rows takes whole rows. */
function foldedBox(access: Access, rowLength: number, use: Use): void {
  let low = access.offset;
  let high = access.offset;
  let rowLow = 0;
  let rowHigh = 0;
  const add = (size: number, stride: number) => {
    const span = (size - 1) * stride;
    if (stride % rowLength === 0) {
      rowLow += Math.min(0, span / rowLength);
      rowHigh += Math.max(0, span / rowLength);
    } else {
      low += Math.min(0, span);
      high += Math.max(0, span);
    }
  };
  add(access.partitionCount, access.partitionStride);
  for (const [axis, size] of access.sizes.entries()) add(size, access.strides[axis]);
  const first = Math.floor(low / rowLength);
  const last = Math.floor(high / rowLength);
  use.rowLow = first + rowLow;
  use.rowHigh = last + rowHigh + 1;
  use.columnLow = first === last ? low - first * rowLength : 0;
  use.columnHigh = first === last ? high - first * rowLength + 1 : rowLength;
}

function chipBox(access: Access, use: Use): void {
  let low = access.offset;
  let high = access.offset;
  for (const [axis, size] of access.sizes.entries()) {
    const span = (size - 1) * access.strides[axis];
    if (span < 0) low += span;
    else high += span;
  }
  use.rowLow = access.partitionStart;
  use.rowHigh = access.partitionStart + access.partitionCount;
  use.columnLow = low;
  use.columnHigh = high + 1;
}

function area(use: Use): number {
  return (use.rowHigh - use.rowLow) * (use.columnHigh - use.columnLow);
}

/** Boxes in the row length that keeps their total area least. */
function foldDram(raw: readonly RawUse[]): void {
  const frequency = new Map<number, number>();
  for (const { access } of raw) {
    const strides = new Set([access.partitionStride, ...access.strides].map(Math.abs).filter((stride) => stride > 1));
    for (const stride of strides) frequency.set(stride, (frequency.get(stride) ?? 0) + 1);
  }
  const candidates = [...frequency.entries()].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, MAX_CANDIDATES);
  let best = Number.MAX_SAFE_INTEGER;
  let bestArea = Number.POSITIVE_INFINITY;
  for (const rowLength of [...candidates.map(([stride]) => stride), Number.MAX_SAFE_INTEGER]) {
    let total = 0;
    for (const { access, use } of raw) {
      foldedBox(access, rowLength, use);
      total += area(use);
    }
    if (total < bestArea) {
      best = rowLength;
      bestArea = total;
    }
  }
  for (const { access, use } of raw) foldedBox(access, best, use);
}

/** Sorted distinct cuts, thinned to at most `limit` cells. */
function cuts(values: readonly number[], limit: number): number[] {
  let sorted = [...new Set(values)].sort((a, b) => a - b);
  while (sorted.length - 1 > Math.max(1, limit)) sorted = sorted.filter((_, index) => index % 2 === 0 || index === sorted.length - 1);
  return sorted;
}

/** Index of the last cut <= value; at least 0. */
function cellOf(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (sorted[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Replaces the boxes' coordinates by cell indices; returns the grid's rows and columns. */
function toCells(raw: readonly RawUse[]): { rows: number; columns: number } {
  const writes = raw.filter(({ use }) => use.write).map(({ use }) => use);
  const rowCuts = cuts(
    writes.flatMap((use) => [use.rowLow, use.rowHigh]),
    16,
  );
  const columnCuts = cuts(
    writes.flatMap((use) => [use.columnLow, use.columnHigh]),
    Math.floor(MAX_CELLS / Math.max(1, rowCuts.length - 1)),
  );
  for (const { use } of raw) {
    use.rowLow = cellOf(rowCuts, use.rowLow);
    use.rowHigh = cellOf(rowCuts, use.rowHigh - 1) + 1;
    use.columnLow = cellOf(columnCuts, use.columnLow);
    use.columnHigh = cellOf(columnCuts, use.columnHigh - 1) + 1;
  }
  return { rows: rowCuts.length, columns: columnCuts.length };
}

/** The uses of a section's steps. `indexOf` gives a buffer's index in `buffers`. */
export function findRegions(steps: readonly Step[], buffers: readonly LoweredBuffer[], indexOf: ReadonlyMap<string, number>): Regions {
  const indexOfBuffer = (name: string) => {
    const index = indexOf.get(name);
    if (index === undefined) throw new Error(`a step uses buffer ${name}, which does not exist`);
    return index;
  };
  const written = new Uint8Array(buffers.length);
  for (const { operation } of steps) written[indexOfBuffer(operation.out.buffer)] = 1;
  const raw: RawUse[][] = buffers.map(() => []);
  const uses = steps.map(({ operation }) => {
    const list: Use[] = [];
    const add = (access: Access, write: boolean) => {
      const buffer = indexOfBuffer(access.buffer);
      if (!written[buffer]) return;
      const use: Use = { buffer, write, rowLow: 0, rowHigh: 0, columnLow: 0, columnHigh: 0 };
      raw[buffer].push({ access, use });
      list.push(use);
    };
    add(operation.out, true);
    for (const access of reads(operation)) if (access !== operation.out) add(access, false);
    return list;
  });
  const columns = new Int32Array(buffers.length);
  const cells = new Int32Array(buffers.length);
  for (const [buffer, list] of raw.entries()) {
    if (list.length === 0) continue;
    if (buffers[buffer].space === "dram") foldDram(list);
    else for (const { access, use } of list) chipBox(access, use);
    const grid = toCells(list);
    columns[buffer] = grid.columns;
    cells[buffer] = grid.rows * grid.columns;
  }
  return { uses, columns, cells };
}
