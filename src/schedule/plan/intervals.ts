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
  const list = new Int32Array(starts[lists.length]);
  for (const [index, each] of lists.entries()) list.set(each, starts[index]);
  return { starts, list };
}

/** For each item those that share a section with it, in the order of the sections in which they meet first. */
function neighboursOf(sections: Lists, from: Int32Array): Lists {
  const count = from.length;
  const starts = new Int32Array(count + 1);
  // Each pair once: in the section where the later of the two begins.
  const pairs = (visit: (item: number, other: number) => void) => {
    for (let section = 0; section + 1 < sections.starts.length; section++) {
      const members = sections.list.subarray(sections.starts[section], sections.starts[section + 1]);
      for (let first = 0; first < members.length; first++) {
        if (from[members[first]] !== section) continue;
        for (let second = 0; second < members.length; second++) {
          if (from[members[second]] < section || second < first) visit(members[first], members[second]);
        }
      }
    }
  };
  pairs((item, other) => {
    starts[item + 1]++;
    starts[other + 1]++;
  });
  for (let item = 0; item < count; item++) starts[item + 1] += starts[item];
  const next = starts.slice();
  const list = new Int32Array(starts[count]);
  pairs((item, other) => {
    list[next[item]++] = other;
    list[next[other]++] = item;
  });
  return { starts, list };
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
  const packed = pack(sections);
  return {
    sizes: Float64Array.from(items, (item) => item.size),
    from,
    to,
    sections: packed,
    neighbours: neighboursOf(packed, from),
  };
}
