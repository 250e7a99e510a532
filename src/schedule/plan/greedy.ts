/** Greedy placement: a portfolio of orders, each placed twice (at the lowest offset, in the tightest gap). */
import type { AllocationItem } from "./items.js";

export interface Placement {
  /** In the order of the items. */
  readonly offsets: Float64Array;
  /** Highest end of an item. */
  readonly peak: number;
}

/** Pairs of items that live at once, times strategies tried, beyond which the first placement that fits is taken. */
const WORK_LIMIT = 8e6;

/** Pairs beyond which they are not listed: the list would fill memory, and each is a large share of all pairs. */
const MOST_PAIRS = 4e6;

/** For each item the items that live at some time with it, as slices of one array. */
interface Neighbours {
  readonly starts: Int32Array;
  readonly list: Int32Array;
}

/** Undefined where there are too many. */
function neighbours(items: readonly AllocationItem[]): Neighbours | undefined {
  const byStart = [...items.keys()].sort((a, b) => items[a].lower - items[b].lower || a - b);
  const pairs: number[] = [];
  const counts = new Int32Array(items.length + 1);
  let active: number[] = [];
  for (const index of byStart) {
    const item = items[index];
    if (item.upper <= item.lower) continue;
    active = active.filter((other) => items[other].upper > item.lower);
    if (pairs.length / 2 + active.length > MOST_PAIRS) return undefined;
    for (const other of active) {
      pairs.push(index, other);
      counts[index + 1]++;
      counts[other + 1]++;
    }
    active.push(index);
  }
  for (let index = 0; index < items.length; index++) counts[index + 1] += counts[index];
  const list = new Int32Array(pairs.length);
  const next = counts.slice();
  for (let at = 0; at < pairs.length; at += 2) {
    list[next[pairs[at]]++] = pairs[at + 1];
    list[next[pairs[at + 1]]++] = pairs[at];
  }
  return { starts: counts, list };
}

/** The orders in which items are placed; ties by index, so that the result depends on the input alone. */
const orders: readonly ((a: AllocationItem, b: AllocationItem) => number)[] = [
  (a, b) => a.lower - b.lower || b.size - a.size,
  (a, b) => b.size - a.size || a.lower - b.lower,
  (a, b) => b.size * (b.upper - b.lower) - a.size * (a.upper - a.lower),
  (a, b) => b.upper - b.lower - (a.upper - a.lower) || b.size - a.size,
  (a, b) => b.upper - a.upper || b.size - a.size,
];

type Fit = "lowest" | "tightest";

/** Where an item of `size` goes among others, by index in order of their offsets. */
function findGap(items: readonly AllocationItem[], offsets: Float64Array, others: readonly number[], size: number, fit: Fit): number {
  let end = 0;
  let best = -1;
  let bestGap = Number.POSITIVE_INFINITY;
  for (const other of others) {
    const gap = offsets[other] - end;
    if (gap >= size && gap < bestGap) {
      if (fit === "lowest") return end;
      best = end;
      bestGap = gap;
    }
    end = Math.max(end, offsets[other] + items[other].size);
  }
  return best >= 0 ? best : end;
}

function place(items: readonly AllocationItem[], order: readonly number[], near: Neighbours | undefined, fit: Fit): Placement {
  const offsets = new Float64Array(items.length).fill(-1);
  /** Those placed, by offset; only where the neighbours are not listed. */
  const placed: number[] = [];
  let peak = 0;
  for (const index of order) {
    const { lower, upper, size } = items[index];
    const others: number[] = [];
    if (near) {
      for (let at = near.starts[index]; at < near.starts[index + 1]; at++) {
        const other = near.list[at];
        if (offsets[other] >= 0 && items[other].size > 0) others.push(other);
      }
      others.sort((a, b) => offsets[a] - offsets[b]);
    } else for (const other of placed) if (items[other].lower < upper && lower < items[other].upper) others.push(other);
    offsets[index] = findGap(items, offsets, others, size, fit);
    peak = Math.max(peak, offsets[index] + size);
    if (!near && size > 0 && upper > lower) placed.splice(positionOf(placed, offsets, offsets[index]), 0, index);
  }
  return { offsets, peak };
}

/** Where an item at `offset` belongs among those in order of their offsets. */
function positionOf(placed: readonly number[], offsets: Float64Array, offset: number): number {
  let low = 0;
  let high = placed.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offsets[placed[middle]] <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first placement of the portfolio whose peak is at most `goal`, else the one with the least peak that fits `capacity`, or least. */
export function placeGreedily(items: readonly AllocationItem[], goal: number, capacity: number): Placement {
  const near = neighbours(items);
  let best: Placement | undefined;
  let work = 0;
  for (const compare of orders) {
    const order = [...items.keys()].sort((a, b) => compare(items[a], items[b]) || a - b);
    for (const fit of ["lowest", "tightest"] as const) {
      const placed = place(items, order, near, fit);
      if (!best || placed.peak < best.peak) best = placed;
      work += (near?.list.length ?? items.length ** 2) + items.length;
      if (best.peak <= goal || (best.peak <= capacity && work > WORK_LIMIT)) return best;
    }
  }
  return best ?? { offsets: new Float64Array(0), peak: 0 };
}
