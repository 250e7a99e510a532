/**
 * Items that live during intervals, with time reduced to what matters: the maximal sets of items that live at once, in order. Two items
 * meet exactly where they share a section, and each item covers consecutive sections.
 */
import type { AllocationItem } from "./items.js";

/** Lists of numbers, one after the other: list `i` is `list.subarray(starts[i], starts[i + 1])`. */
export interface Lists {
  readonly starts: Int32Array;
  readonly list: Int32Array;
}

export interface Intervals {
  readonly sizes: Float64Array;
  /** An item covers the sections [from, to). */
  readonly from: Int32Array;
  readonly to: Int32Array;
  /** Items of each section. */
  readonly sections: Lists;
  /** Items that share a section with each item. */
  readonly neighbours: Lists;
}

function pack(lists: readonly (readonly number[])[]): Lists {
  const starts = new Int32Array(lists.length + 1);
  for (const [index, list] of lists.entries()) starts[index + 1] = starts[index] + list.length;
  return { starts, list: Int32Array.from(lists.flat()) };
}

/** All items must live at some time (lower < upper). */
export function intervalsOf(items: readonly AllocationItem[]): Intervals {
  const byStart = [...items.keys()].sort((a, b) => items[a].lower - items[b].lower || a - b);
  const byEnd = [...items.keys()].sort((a, b) => items[a].upper - items[b].upper || a - b);
  const live = new Set<number>();
  const sections: number[][] = [];
  const from = new Int32Array(items.length);
  const to = new Int32Array(items.length);
  let ended = 0;
  let grown = false;
  // A set of live items is maximal when one ends after others have begun.
  const end = (before: number) => {
    for (; ended < items.length && items[byEnd[ended]].upper <= before; ended++) {
      if (grown) sections.push([...live]);
      grown = false;
      to[byEnd[ended]] = sections.length;
      live.delete(byEnd[ended]);
    }
  };
  for (const index of byStart) {
    end(items[index].lower);
    live.add(index);
    from[index] = sections.length;
    grown = true;
  }
  end(Number.POSITIVE_INFINITY);
  const neighbours = items.map((): number[] => []);
  for (const [section, members] of sections.entries()) {
    for (const item of members) {
      // Each pair once: in the section where the later of the two begins.
      for (const other of members) if (other !== item && Math.max(from[item], from[other]) === section) neighbours[item].push(other);
    }
  }
  return {
    sizes: Float64Array.from(items, (item) => item.size),
    from,
    to,
    sections: pack(sections),
    neighbours: pack(neighbours),
  };
}
