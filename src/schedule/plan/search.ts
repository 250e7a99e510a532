/**
 * Complete search for offsets within a capacity, after Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated
 * Machine Learning" (ASPLOS 2023). Items are placed bottom up: each at the lowest place that the items below it leave, in order of offset.
 * Every solution can be pushed down into such a canonical one, so that none is missed. What differs from the paper: the branches are
 * "here" and "not here", and an item that is not here has to rest on one that is still to come, which raises its least offset.
 */
import type { Intervals } from "./intervals.js";

export type Outcome = "found" | "none" | "limit";

const FREE = 0;
/** Refused at its natural offset: it waits for an item to rest on. */
const WAITING = 1;
const PLACED = 2;

/** Unplaced items that are connected, in order of their first sections, which all lie in [from, to). */
interface Part {
  readonly items: number[];
  readonly from: number;
  to: number;
}

/** An item of a part that was placed, when the trail had the length `mark`; the parts beside that one are still to be solved. */
interface Choice {
  readonly item: number;
  readonly part: Part;
  readonly waiting: Part[];
  readonly mark: number;
}

export interface SearchOptions {
  /** Items of equal least offset are tried in this order: the least rank first. */
  readonly rank: Int32Array;
  /** Whether it works where it fails, rather than from the bottom up everywhere. Both ways miss what the other finds. */
  readonly focus: boolean;
  readonly nodeLimit: number;
}

export class Search {
  readonly #intervals: Intervals;
  readonly #capacity: number;
  readonly #rank: Int32Array;
  readonly #focus: boolean;
  readonly #nodeLimit: number;
  #nodesLeft: number;
  /** Everything that is undone on the way back, in one array: see the slots below. */
  readonly #state: Float64Array;
  readonly #trail: number[] = [];
  /** First slot of: least offset of each item, its natural offset, its status; sizes to be placed in each section. */
  readonly #least = 0;
  readonly #natural: number;
  readonly #status: number;
  readonly #remaining: number;
  readonly #dirty: Int32Array;
  #dirtyCount = 0;
  readonly #isDirty: Uint8Array;
  /** Items of each section, nearly in order of their least offsets. */
  readonly #sorted: Int32Array;
  /** How often each section was found too full. Only ever grows. */
  readonly #failures: Float64Array;

  constructor(intervals: Intervals, capacity: number, { rank, focus, nodeLimit }: SearchOptions) {
    const count = intervals.sizes.length;
    const sectionCount = intervals.sections.starts.length - 1;
    this.#intervals = intervals;
    this.#capacity = capacity;
    this.#rank = rank;
    this.#focus = focus;
    this.#nodeLimit = nodeLimit;
    this.#nodesLeft = nodeLimit;
    this.#natural = count;
    this.#status = 2 * count;
    this.#remaining = 3 * count;
    this.#state = new Float64Array(3 * count + sectionCount);
    this.#dirty = new Int32Array(sectionCount);
    this.#sorted = intervals.sections.list.slice();
    this.#isDirty = new Uint8Array(sectionCount);
    this.#failures = new Float64Array(sectionCount);
    for (let item = 0; item < count; item++) {
      for (let section = intervals.from[item]; section < intervals.to[item]; section++) {
        this.#state[this.#remaining + section] += intervals.sizes[item];
      }
    }
  }

  get nodes(): number {
    return this.#nodeLimit - Math.max(0, this.#nodesLeft);
  }

  /** The solution after `run` found one. */
  get offsets(): Float64Array {
    return this.#state.slice(this.#least, this.#least + this.#intervals.sizes.length);
  }

  run(): Outcome {
    for (let section = 0; section < this.#dirty.length; section++) this.#touch(section, section + 1);
    if (!this.#sectionsFit()) return "none";
    const { from, sizes } = this.#intervals;
    const items = [...sizes.keys()].sort((a, b) => from[a] - from[b]);
    const solved = this.#solve(items);
    return solved ? "found" : this.#nodesLeft < 0 ? "limit" : "none";
  }

  #set(slot: number, value: number): void {
    this.#trail.push(slot, this.#state[slot]);
    this.#state[slot] = value;
  }

  #undo(mark: number): void {
    const trail = this.#trail;
    while (trail.length > mark) {
      const value = trail.pop()!;
      this.#state[trail.pop()!] = value;
    }
  }

  /** The unplaced of `items` (sorted by first section), split where no item crosses, the smallest part last. */
  #parts(items: readonly number[]): Part[] {
    const { from, to } = this.#intervals;
    const parts: Part[] = [];
    for (const item of items) {
      if (this.#state[this.#status + item] === PLACED) continue;
      let part = parts.at(-1);
      if (!part || from[item] >= part.to) {
        part = { items: [], from: from[item], to: to[item] };
        parts.push(part);
      }
      part.items.push(item);
      part.to = Math.max(part.to, to[item]);
    }
    if (parts.length > 1) parts.sort((a, b) => b.items.length - a.items.length);
    return parts;
  }

  /** Places all items, a part of them after the other: depth first, without recursion, as there is a choice an item. */
  #solve(items: readonly number[]): boolean {
    const choices: Choice[] = [];
    let waiting = this.#parts(items);
    let part = waiting.pop();
    for (;;) {
      if (!part) {
        const solved = choices.pop();
        if (!solved) return true;
        waiting = solved.waiting;
        part = waiting.pop();
        continue;
      }
      if (--this.#nodesLeft < 0) return false;
      const item = this.#raiseWaiting(part.items) ? this.#choose(part) : -1;
      if (item >= 0) {
        choices.push({ item, part, waiting, mark: this.#trail.length });
        if (this.#place(item)) {
          waiting = this.#parts(part.items);
          part = waiting.pop();
          continue;
        }
      }
      const refused = choices.pop();
      if (!refused) return false;
      this.#undo(refused.mark);
      this.#set(this.#status + refused.item, WAITING);
      ({ part, waiting } = refused);
    }
  }

  /**
   * A free item with none free below it, so that "here" does not waste what is below: the lowest of all, or, with focus, the lowest of
   * the section where most attempts failed so far, or one under it. -1 where all wait.
   */
  #choose(part: Part): number {
    const { sections, neighbours } = this.#intervals;
    let worst = -1;
    let most = 0;
    for (let section = part.from; this.#focus && section < part.to; section++) {
      if (this.#failures[section] <= most || this.#state[this.#remaining + section] === 0) continue;
      worst = section;
      most = this.#failures[section];
    }
    let best = worst < 0 ? -1 : this.#lowest(sections.list, sections.starts[worst], sections.starts[worst + 1], -1);
    if (best < 0) return this.#lowest(part.items, 0, part.items.length, -1);
    for (let above = -1; above !== best; ) {
      above = best;
      best = this.#lowest(neighbours.list, neighbours.starts[above], neighbours.starts[above + 1], above);
    }
    return best;
  }

  /** Of `best` and the free items in list[start, end): the one of the least offset, by rank among equals. */
  #lowest(list: ArrayLike<number>, start: number, end: number, best: number): number {
    const state = this.#state;
    let lowest = best;
    for (let at = start; at < end; at++) {
      const item = list[at];
      if (state[this.#status + item] !== FREE) continue;
      const difference = lowest < 0 ? -1 : state[item] - state[lowest];
      if (difference < 0 || (difference === 0 && this.#rank[item] < this.#rank[lowest])) lowest = item;
    }
    return lowest;
  }

  /**
   * A waiting item rests on some unplaced neighbour; one of them has to come into the place where it could lie by itself, or else it
   * could be pushed down there.
   */
  #raiseWaiting(items: readonly number[]): boolean {
    const { sizes, neighbours } = this.#intervals;
    const state = this.#state;
    for (let again = true; again; ) {
      again = false;
      for (const item of items) {
        if (state[this.#status + item] !== WAITING) continue;
        let support = Number.POSITIVE_INFINITY;
        let lowest = Number.POSITIVE_INFINITY;
        for (let at = neighbours.starts[item]; at < neighbours.starts[item + 1]; at++) {
          const other = neighbours.list[at];
          if (state[this.#status + other] === PLACED) continue;
          const offset = state[other];
          if (offset < lowest) lowest = offset;
          if (offset + sizes[other] < support) support = offset + sizes[other];
        }
        if (lowest >= state[this.#natural + item] + sizes[item]) return false;
        if (support > state[item]) {
          this.#raise(item, support);
          again = true;
        }
      }
      if (!this.#sectionsFit()) return false;
    }
    return true;
  }

  #raise(item: number, offset: number): void {
    this.#set(this.#least + item, offset);
    this.#touch(this.#intervals.from[item], this.#intervals.to[item]);
  }

  /** Places an item at its least offset: its neighbours go above it. */
  #place(item: number): boolean {
    const { sizes, from, to, neighbours } = this.#intervals;
    const state = this.#state;
    const end = state[item] + sizes[item];
    this.#set(this.#status + item, PLACED);
    for (let section = from[item]; section < to[item]; section++) {
      this.#set(this.#remaining + section, state[this.#remaining + section] - sizes[item]);
    }
    this.#touch(from[item], to[item]);
    for (let at = neighbours.starts[item]; at < neighbours.starts[item + 1]; at++) {
      const other = neighbours.list[at];
      if (state[this.#status + other] === PLACED || state[this.#natural + other] >= end) continue;
      this.#set(this.#natural + other, end);
      if (state[this.#status + other] === WAITING) this.#set(this.#status + other, FREE);
      if (state[other] < end) this.#raise(other, end);
    }
    return this.#sectionsFit();
  }

  #touch(from: number, to: number): void {
    for (let section = from; section < to; section++) {
      if (this.#isDirty[section]) continue;
      this.#isDirty[section] = 1;
      this.#dirty[this.#dirtyCount++] = section;
    }
  }

  /** Whether in each section touched the unplaced items still fit, each at its least offset or above. */
  #sectionsFit(): boolean {
    let fit = true;
    while (this.#dirtyCount > 0) {
      const section = this.#dirty[--this.#dirtyCount];
      this.#isDirty[section] = 0;
      if (!fit) continue;
      if (this.#endOf(section) > this.#capacity) {
        fit = false;
        this.#failures[section]++;
      }
    }
    return fit;
  }

  /** Where the unplaced items of a section end at least: in order of their least offsets, one upon another. */
  #endOf(section: number): number {
    const { sections, sizes } = this.#intervals;
    const state = this.#state;
    const list = this.#sorted;
    const [first, last] = [sections.starts[section], sections.starts[section + 1]];
    let lowest = Number.POSITIVE_INFINITY;
    let highest = 0;
    for (let at = first; at < last; at++) {
      const item = list[at];
      if (state[this.#status + item] === PLACED) continue;
      const least = state[item];
      if (least < lowest) lowest = least;
      if (least > highest) highest = least;
    }
    if (lowest === Number.POSITIVE_INFINITY) return 0;
    const remaining = state[this.#remaining + section];
    // What decides without an order: they end between these two.
    if (highest + remaining <= this.#capacity) return highest + remaining;
    if (lowest + remaining > this.#capacity) return lowest + remaining;
    let end = 0;
    for (let at = first; at < last; at++) {
      const item = list[at];
      const least = state[item];
      let to = at;
      for (; to > first && state[list[to - 1]] > least; to--) list[to] = list[to - 1];
      list[to] = item;
    }
    for (let at = first; at < last; at++) {
      const item = list[at];
      if (state[this.#status + item] !== PLACED) end = Math.max(end, state[item]) + sizes[item];
    }
    return end;
  }
}
