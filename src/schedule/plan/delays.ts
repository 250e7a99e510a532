/**
 * Placement where some items may begin later than they wish to, as loads may that were moved ahead of their use. What lives at the fullest
 * moment is packed there without gaps and stays; around it, two items that share bytes take turns: the one that ends first stays as it
 * is, the other begins when that has ended. So the peak meets the bound at the price of delays.
 */
import { type AllocationItem, fullestTime } from "./items.js";

export interface MovableItem extends AllocationItem {
  /** The latest time at which it may begin; `lower` if absent. */
  readonly latest?: number;
}

export interface DelayedPlacement {
  readonly offsets: Float64Array;
  /** When each item begins. */
  readonly lowers: Float64Array;
  /** Highest end of an item. */
  readonly peak: number;
}

class Delays {
  readonly #items: readonly MovableItem[];
  readonly #limit: number;
  readonly #rest: number;
  readonly #offsets: Float64Array;
  readonly #lowers: Float64Array;
  readonly #latest: Float64Array;
  readonly #placed: number[] = [];

  constructor(items: readonly MovableItem[], limit: number, rest: number) {
    this.#items = items;
    this.#limit = limit;
    this.#rest = rest;
    this.#offsets = new Float64Array(items.length);
    this.#lowers = Float64Array.from(items, (item) => item.lower);
    this.#latest = Float64Array.from(items, (item) => item.latest ?? item.lower);
  }

  run(): DelayedPlacement | undefined {
    const items = this.#items;
    const fullest = fullestTime(items);
    const movable = (index: number) => Number(this.#latest[index] > items[index].lower);
    const living = [...items.keys()].filter((index) => items[index].lower <= fullest && items[index].upper > fullest);
    living.sort((a, b) => movable(a) - movable(b) || items[a].upper - items[b].upper || a - b);
    let end = 0;
    for (const index of living) {
      this.#latest[index] = Math.min(this.#latest[index], fullest);
      this.#put(index, end);
      end += items[index].size;
    }
    if (end > this.#limit) return undefined;
    const together = new Set(living);
    const rest = [...items.keys()].filter((index) => !together.has(index));
    const distance = (index: number) => (items[index].lower > fullest ? items[index].lower - fullest : fullest - items[index].upper);
    rest.sort((a, b) => movable(a) - movable(b) || distance(a) - distance(b) || a - b);
    for (const index of rest) {
      const offset = this.#best(index);
      if (offset < 0) return undefined;
      this.#put(index, offset);
    }
    const peak = this.#offsets.reduce((most, offset, index) => Math.max(most, offset + items[index].size), 0);
    return { offsets: this.#offsets, lowers: this.#lowers, peak };
  }

  /** Items placed that, with `rest` between, meet an item in time. */
  #near(index: number, rest: number): number[] {
    const { upper } = this.#items[index];
    return this.#placed.filter((other) => this.#items[other].upper + rest > this.#lowers[index] && this.#lowers[other] < upper + rest);
  }

  #shareBytes(index: number, offset: number, other: number): boolean {
    const from = this.#offsets[other];
    return from < offset + this.#items[index].size && offset < from + this.#items[other].size;
  }

  /** The offset of the least cost; -1 if there is none. */
  #best(index: number): number {
    const { size } = this.#items[index];
    const near = this.#near(index, this.#rest);
    const candidates = new Set([0, this.#limit - size]);
    for (const other of near) candidates.add(this.#offsets[other] + this.#items[other].size).add(this.#offsets[other] - size);
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const offset of candidates) {
      if (offset < 0 || offset + size > this.#limit) continue;
      const cost = this.#cost(index, offset, near, least);
      if (cost < least || (cost === least && offset < best)) [best, least] = [offset, cost];
    }
    return best;
  }

  /** Bytes times time by which items begin sooner than `rest` after others; infinite if some item can't wait, or beyond `enough`. */
  #cost(index: number, offset: number, near: readonly number[], enough: number): number {
    const { size, upper } = this.#items[index];
    let free = this.#lowers[index];
    let cost = 0;
    for (const other of near) {
      if (!this.#shareBytes(index, offset, other)) continue;
      const item = this.#items[other];
      if (item.upper <= upper) {
        if (item.upper > this.#latest[index]) return Number.POSITIVE_INFINITY;
        free = Math.max(free, item.upper + this.#rest);
      } else {
        if (upper > this.#latest[other]) return Number.POSITIVE_INFINITY;
        cost += (upper + this.#rest - this.#lowers[other]) * item.size;
      }
      if (cost > enough) return Number.POSITIVE_INFINITY;
    }
    return cost + (free - this.#lowers[index]) * size;
  }

  #put(index: number, offset: number): void {
    const { upper } = this.#items[index];
    for (const other of this.#near(index, 0)) {
      if (!this.#shareBytes(index, offset, other)) continue;
      const end = this.#items[other].upper;
      if (end <= upper) this.#lowers[index] = Math.max(this.#lowers[index], end);
      else this.#lowers[other] = Math.max(this.#lowers[other], upper);
    }
    this.#offsets[index] = offset;
    this.#placed.push(index);
  }
}

/** A placement within `limit`, or undefined where it finds none. Bytes are left unused for a time of `rest` between two items if possible. */
export function placeWithDelays(items: readonly MovableItem[], limit: number, rest: number): DelayedPlacement | undefined {
  return new Delays(items, limit, rest).run();
}
