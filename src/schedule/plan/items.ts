/** What a memory plan places: items that live during an interval of time. */

/** Lives in [lower, upper) of any discrete time; `size` in any unit, offsets come in the same. */
export interface AllocationItem {
  readonly id: string;
  readonly lower: number;
  readonly upper: number;
  readonly size: number;
}

/** The largest sum of sizes that live at one time. */
export function peakLive(items: readonly AllocationItem[]): number {
  return fullest(items).live;
}

/** The first time at which most bytes live. */
export function fullestTime(items: readonly AllocationItem[]): number {
  return fullest(items).time;
}

function fullest(items: readonly AllocationItem[]): { time: number; live: number } {
  const events = items
    .filter((item) => item.upper > item.lower)
    .flatMap((item) => [
      { time: item.lower, delta: item.size },
      { time: item.upper, delta: -item.size },
    ]);
  events.sort((a, b) => a.time - b.time || a.delta - b.delta);
  let live = 0;
  let best = { time: 0, live: 0 };
  for (const { time, delta } of events) {
    live += delta;
    if (live > best.live) best = { time, live };
  }
  return best;
}
