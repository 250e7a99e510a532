/**
 * Memory allocation: offsets for items that live during an interval of time, so that no two that live at once overlap. Pure: it knows
 * neither programs nor memories. Greedy first; the complete search where that misses the goal.
 */
import { placeGreedily } from "./plan/greedy.js";
import { type AllocationItem, peakLive } from "./plan/items.js";
import { search } from "./plan/restarts.js";

export interface Allocation {
  /** In the order of the items. */
  readonly offsets: Float64Array;
  /** Highest end of an item. */
  readonly peak: number;
  /** Most that lives at once: no allocation has a lower peak. */
  readonly bound: number;
  /** Whether `peak` is within the capacity. */
  readonly fits: boolean;
  /** Nodes of the complete search, 0 where it was not needed. */
  readonly nodes: number;
  /** Whether it is proven that nothing fits the capacity. */
  readonly impossible: boolean;
}

export interface AllocateOptions {
  /** The highest peak that is allowed. */
  readonly capacity?: number;
  /** A peak as good as any lower one. Default: 1 % above the bound. */
  readonly goal?: number;
  /** Nodes that the complete search may take. Default: none, only the greedy placement is done. */
  readonly nodeLimit?: number;
}

/** Placements with a peak of at most this times the bound are worth no more search. */
export const GOOD_ENOUGH = 1.01;

/** A placement within the goal, else the best one found. */
export function allocate(items: readonly AllocationItem[], options: AllocateOptions = {}): Allocation {
  const bound = peakLive(items);
  const { capacity = Number.POSITIVE_INFINITY, goal = bound * GOOD_ENOUGH, nodeLimit = 0 } = options;
  const greedy = placeGreedily(items, Math.min(goal, capacity), capacity);
  const common = { bound, nodes: 0, impossible: bound > capacity };
  if (greedy.peak <= capacity || common.impossible) return { ...common, ...greedy, fits: greedy.peak <= capacity };
  const placed = [...items.keys()].filter((index) => items[index].size > 0 && items[index].upper > items[index].lower);
  const {
    outcome,
    offsets: found,
    nodes,
  } = search(
    placed.map((index) => items[index]),
    capacity,
    nodeLimit,
  );
  if (!found) return { ...common, ...greedy, fits: false, nodes, impossible: outcome === "none" };
  const offsets = new Float64Array(items.length);
  for (const [at, index] of placed.entries()) offsets[index] = found[at];
  const peak = offsets.reduce((most, offset, index) => Math.max(most, offset + items[index].size), 0);
  return { ...common, offsets, peak, fits: true, nodes };
}
