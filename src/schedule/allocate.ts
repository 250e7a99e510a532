/**
 * Memory allocation: offsets for items that live during an interval of time, so that no two that live at once overlap. Pure: it knows
 * neither programs nor memories. A portfolio of greedy orders, each placed twice (at the lowest offset, in the tightest gap).
 */

/** Lives in [lower, upper) of any discrete time; `size` in any unit, offsets come in the same. */
export interface AllocationItem {
  readonly id: string;
  readonly lower: number;
  readonly upper: number;
  readonly size: number;
}

export interface Allocation {
  /** In the order of the items. */
  readonly offsets: Float64Array;
  /** Highest end of an item. */
  readonly peak: number;
  /** Most that lives at once: no allocation has a lower peak. */
  readonly bound: number;
  /** Whether `peak` is within the capacity. */
  readonly fits: boolean;
}

/** Placements considered worth no more search: this close to the bound. */
const GOOD_ENOUGH = 1.01;
/** Pairs of items that live at once, times strategies tried, beyond which the first allocation that fits is taken. */
const WORK_LIMIT = 8e6;

/** The largest sum of sizes that live at one time. */
export function peakLive(items: readonly AllocationItem[]): number {
  const events = items
    .filter((item) => item.upper > item.lower)
    .flatMap((item) => [
      { time: item.lower, delta: item.size },
      { time: item.upper, delta: -item.size },
    ]);
  events.sort((a, b) => a.time - b.time || a.delta - b.delta);
  let live = 0;
  let peak = 0;
  for (const event of events) {
    live += event.delta;
    peak = Math.max(peak, live);
  }
  return peak;
}

/** For each item the items that live at some time with it, as slices of one array. */
interface Neighbours {
  readonly starts: Int32Array;
  readonly list: Int32Array;
}

function neighbours(items: readonly AllocationItem[]): Neighbours {
  const byStart = [...items.keys()].sort((a, b) => items[a].lower - items[b].lower || a - b);
  const pairs: number[] = [];
  const counts = new Int32Array(items.length + 1);
  let active: number[] = [];
  for (const index of byStart) {
    const item = items[index];
    if (item.upper <= item.lower) continue;
    active = active.filter((other) => items[other].upper > item.lower);
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

/** Where an item of `size` goes among the busy ranges [start, end), sorted by start. */
function findGap(busy: readonly { start: number; end: number }[], size: number, fit: Fit): number {
  let end = 0;
  let best = -1;
  let bestGap = Number.POSITIVE_INFINITY;
  for (const range of busy) {
    const gap = range.start - end;
    if (gap >= size && gap < bestGap) {
      if (fit === "lowest") return end;
      best = end;
      bestGap = gap;
    }
    end = Math.max(end, range.end);
  }
  return best >= 0 ? best : end;
}

function place(
  items: readonly AllocationItem[],
  order: readonly number[],
  near: Neighbours,
  fit: Fit,
): { offsets: Float64Array; peak: number } {
  const offsets = new Float64Array(items.length).fill(-1);
  let peak = 0;
  for (const index of order) {
    const item = items[index];
    const busy: { start: number; end: number }[] = [];
    for (let at = near.starts[index]; at < near.starts[index + 1]; at++) {
      const other = near.list[at];
      if (offsets[other] >= 0 && items[other].size > 0) busy.push({ start: offsets[other], end: offsets[other] + items[other].size });
    }
    busy.sort((a, b) => a.start - b.start);
    offsets[index] = findGap(busy, item.size, fit);
    peak = Math.max(peak, offsets[index] + item.size);
  }
  return { offsets, peak };
}

/** The best allocation of the portfolio: the first that is within 1 % of the bound, else the one with the least peak. */
export function allocate(items: readonly AllocationItem[], capacity = Number.POSITIVE_INFINITY): Allocation {
  const bound = peakLive(items);
  const near = neighbours(items);
  let best: { offsets: Float64Array; peak: number } | undefined;
  let work = 0;
  for (const compare of orders) {
    const order = [...items.keys()].sort((a, b) => compare(items[a], items[b]) || a - b);
    for (const fit of ["lowest", "tightest"] as const) {
      const placed = place(items, order, near, fit);
      if (!best || placed.peak < best.peak) best = placed;
      work += near.list.length + items.length;
      const done = best.peak <= capacity && (best.peak <= bound * GOOD_ENOUGH || work > WORK_LIMIT);
      if (done) return { ...best, bound, fits: true };
    }
  }
  const { offsets, peak } = best ?? { offsets: new Float64Array(0), peak: 0 };
  return { offsets, peak, bound, fits: peak <= capacity };
}
