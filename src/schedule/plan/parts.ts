/**
 * Splits an instance into parts that don't touch each other. What lives through the whole of a part may as well lie at its bottom: whatever lies
 * below it, at any time, can change places with it. What is left above may fall into parts again.
 */
import type { AllocationItem } from "./items.js";

/** Items, by index, that are to be placed from `base` on, apart from all others. */
export interface Part {
  readonly items: readonly number[];
  readonly base: number;
}

export interface Parts {
  /** Those left to place: in no part does an item live through all of its time. */
  readonly open: readonly Part[];
  /** The offsets of the items that are in no open part. */
  readonly offsets: Float64Array;
}

/** All items must live at some time (lower < upper). */
export function independentParts(items: readonly AllocationItem[]): Parts {
  const offsets = new Float64Array(items.length);
  const open: Part[] = [];
  const waiting: Part[] = [{ items: [...items.keys()], base: 0 }];
  for (let whole = waiting.pop(); whole; whole = waiting.pop()) {
    for (const members of apart(items, whole.items)) {
      const begin = members.reduce((least, item) => Math.min(least, items[item].lower), Number.POSITIVE_INFINITY);
      const end = members.reduce((most, item) => Math.max(most, items[item].upper), Number.NEGATIVE_INFINITY);
      let base = whole.base;
      const rest: number[] = [];
      for (const item of members) {
        if (items[item].lower > begin || items[item].upper < end) rest.push(item);
        else {
          offsets[item] = base;
          base += items[item].size;
        }
      }
      if (rest.length === members.length) open.push({ items: rest, base });
      else if (rest.length > 0) waiting.push({ items: rest, base });
    }
  }
  return { open, offsets };
}

/** Items split where none lives on both sides of a time. */
function apart(items: readonly AllocationItem[], members: readonly number[]): number[][] {
  const parts: number[][] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const item of [...members].sort((a, b) => items[a].lower - items[b].lower || a - b)) {
    const part = parts.at(-1);
    if (part && items[item].lower < end) part.push(item);
    else parts.push([item]);
    end = Math.max(end, items[item].upper);
  }
  return parts;
}
