/** Judges placements of items, and makes instances. Shares no code with the planner. */
import type { AllocationItem } from "../../src/schedule/plan/items.js";

function together(a: AllocationItem, b: AllocationItem): boolean {
  return a.lower < b.upper && b.lower < a.upper;
}

/** Whether two items that live at once overlap: an independent validator. */
export function overlaps(list: readonly AllocationItem[], offsets: ArrayLike<number>): boolean {
  return list.some((a, i) =>
    list.some((b, j) => j > i && together(a, b) && offsets[i] < offsets[j] + b.size && offsets[j] < offsets[i] + a.size),
  );
}

/** The offsets in a memory plan's CSV, whose last column they are. */
export function offsetsIn(text: string): number[] {
  const [, ...lines] = text.trim().split("\n");
  return lines.map((line) => Number(line.slice(line.lastIndexOf(",") + 1)));
}

/** Whether some allocation fits the capacity, by trying every offset. */
export function possible(list: readonly AllocationItem[], capacity: number, offsets: number[] = []): boolean {
  const next = offsets.length;
  if (next === list.length) return true;
  for (let offset = 0; offset + list[next].size <= capacity; offset++) {
    const placed = [...offsets, offset];
    if (!overlaps(list.slice(0, next + 1), placed) && possible(list, capacity, placed)) return true;
  }
  return false;
}

/** A generator of numbers in [0, 1). */
export function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A square of extent `extent` (time by memory) cut at random into `count` rectangles: it fits exactly, with nothing to spare. */
export function cutSquare(extent: number, count: number, seed: number): AllocationItem[] {
  const random = numbers(seed);
  const whole = { lower: 0, upper: extent, start: 0, end: extent };
  const pieces = [whole];
  while (pieces.length < count) {
    const index = Math.floor(random() * pieces.length);
    const piece = pieces[index];
    const inTime = random() < 0.5;
    const [from, to] = inTime ? [piece.lower, piece.upper] : [piece.start, piece.end];
    if (to - from < 2) continue;
    const cut = from + 1 + Math.floor(random() * (to - from - 1));
    pieces[index] = inTime ? { ...piece, upper: cut } : { ...piece, end: cut };
    pieces.push(inTime ? { ...piece, lower: cut } : { ...piece, start: cut });
  }
  const items = pieces.map(({ lower, upper, start, end }) => ({ key: random(), lower, upper, size: end - start }));
  return items.sort((a, b) => a.key - b.key).map(({ key: _, ...item }, index) => ({ id: String(index), ...item }));
}
