/** What each step must wait for: conflicting accesses before it in the serial order, in its own buffers and in the memory they took over. */
import type { LoweredBuffer } from "../lower/lowered.js";
import type { Regions, Use } from "./regions.js";

/**
 * Streams run in order, so that "all conflicting steps of a stream" is one number: the index in its stream of the last of them.
 * `needs[step * streams + s]` is that index for stream s, -1 where there is none.
 */
export interface Dependencies {
  readonly needs: Int32Array;
  /** Index of each step within its stream. */
  readonly indexInStream: Int32Array;
}

export interface SerialSteps {
  /** Indices into `regions.uses`, in the serial order. */
  readonly order: Int32Array;
  /** Stream of each step, by its index in `regions.uses`. */
  readonly stream: Int32Array;
  readonly streams: number;
}

/** The latest writes and reads of a buffer's cells, by stream, and the latest of any use. */
interface History {
  readonly writes: Int32Array;
  readonly reads: Int32Array;
  readonly any: Int32Array;
  /** Latest uses of the buffers whose memory this one took over. */
  readonly inherited: Int32Array;
}

function raise(target: Int32Array, targetAt: number, source: Int32Array, sourceAt: number, count: number): void {
  for (let k = 0; k < count; k++) if (source[sourceAt + k] > target[targetAt + k]) target[targetAt + k] = source[sourceAt + k];
}

/** Which buffer used each byte last, over one memory: non-overlapping ranges by start. */
class Owners {
  #ranges: { start: number; end: number; buffer: number }[] = [];

  /** Gives [start, end) to `buffer`; returns whose bytes it took over. */
  take(start: number, end: number, buffer: number): number[] {
    const before: number[] = [];
    const kept: { start: number; end: number; buffer: number }[] = [];
    for (const range of this.#ranges) {
      if (range.end <= start || range.start >= end) {
        kept.push(range);
        continue;
      }
      before.push(range.buffer);
      if (range.start < start) kept.push({ start: range.start, end: start, buffer: range.buffer });
      if (range.end > end) kept.push({ start: end, end: range.end, buffer: range.buffer });
    }
    kept.push({ start, end, buffer });
    this.#ranges = kept;
    return [...new Set(before)];
  }
}

/** The memory that a buffer lies in, as far as other buffers may use it too. */
function sharedMemory(buffer: LoweredBuffer): string | undefined {
  if (buffer.space !== "dram") return buffer.space;
  return buffer.kind === "scratch" ? "scratch" : undefined;
}

/** Calls `visit` with the offset in a history of each cell of a use. */
function forCells(use: Use, columns: number, streams: number, visit: (at: number) => void): void {
  for (let row = use.rowLow; row < use.rowHigh; row++) {
    for (let column = use.columnLow; column < use.columnHigh; column++) visit((row * columns + column) * streams);
  }
}

export function findDependencies(
  serial: SerialSteps,
  regions: Regions,
  buffers: readonly LoweredBuffer[],
  addresses: Float64Array,
  sizes: Float64Array,
): Dependencies {
  const { order, stream, streams } = serial;
  const needs = new Int32Array(order.length * streams).fill(-1);
  const indexInStream = new Int32Array(order.length);
  const lengths = new Int32Array(streams);
  const histories = new Array<History | undefined>(buffers.length);
  const memories = new Map<string, Owners>();

  const historyOf = (buffer: number): History => {
    const known = histories[buffer];
    if (known) return known;
    const make = (count: number) => new Int32Array(count * streams).fill(-1);
    const cells = regions.cells[buffer];
    const history = { writes: make(cells), reads: make(cells), any: make(1), inherited: make(1) };
    histories[buffer] = history;
    const memory = sharedMemory(buffers[buffer]);
    if (memory === undefined) return history;
    const owners = memories.get(memory) ?? new Owners();
    memories.set(memory, owners);
    for (const owner of owners.take(addresses[buffer], addresses[buffer] + sizes[buffer], buffer)) {
      raise(history.inherited, 0, histories[owner]!.any, 0, streams);
    }
    return history;
  };

  for (const step of order) {
    const at = step * streams;
    for (const use of regions.uses[step]) {
      const history = historyOf(use.buffer);
      raise(needs, at, history.inherited, 0, streams);
      forCells(use, regions.columns[use.buffer], streams, (cell) => {
        raise(needs, at, history.writes, cell, streams);
        if (use.write) raise(needs, at, history.reads, cell, streams);
      });
    }
    const own = stream[step];
    const index = lengths[own]++;
    indexInStream[step] = index;
    for (const use of regions.uses[step]) {
      const history = historyOf(use.buffer);
      history.any[own] = index;
      const list = use.write ? history.writes : history.reads;
      forCells(use, regions.columns[use.buffer], streams, (cell) => {
        list[cell + own] = index;
      });
    }
  }
  return { needs, indexInStream };
}
