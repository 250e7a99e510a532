/** The fastest chain of borders: dynamic programming over pairs of them, within limits of time that grow until a chain keeps them. */
import { type Border, bytesBeyond, type CutNode, type CutProblem, leastTransfer, ownTime, transferBetween } from "./borders.js";

export interface FoundChain {
  /** Time of the slowest stage. */
  readonly value: number;
  /** Borders by index, the first and the last included. */
  readonly chain: readonly number[];
}

/** The first limit is so far above the bound; each further one is twice as far. */
const FIRST_SLACK = 0.01;
/** Sums of times in another order differ by less. */
const ROUNDING = 1e-9;

/** No cut has a slowest stage faster than that, whatever its borders. */
export function lowerBound(problem: CutProblem): number {
  const { nodes, devices, capacity } = problem;
  const total = (of: (node: CutNode) => number) => nodes.reduce((sum, node) => sum + of(node), 0);
  const share = ownTime(problem, total((node) => node.work) / devices, total((node) => node.size) / devices - capacity);
  return nodes.reduce((most, { work, size }) => Math.max(most, ownTime(problem, work, size - capacity)), share);
}

/** The fastest chain whose stages take at most `limit` each, chips not counted; `borders` in order of work, none before one that it contains. */
export function fastestChain(problem: CutProblem, borders: readonly Border[], limit: number): FoundChain | undefined {
  const bound = lowerBound(problem);
  const timeOf = stageTimes(problem, borders);
  for (let slack = FIRST_SLACK; bound > 0 && bound * (1 + slack) < Math.min(limit, Number.MAX_VALUE); slack *= 2) {
    const found = chainWithin(problem, borders, timeOf, bound * (1 + slack));
    if (found) return found;
  }
  return chainWithin(problem, borders, timeOf, limit);
}

/** What the first so many devices can have run: by border, the slowest one's time and the border before; infinite where nothing fits. */
interface Row {
  readonly value: Float64Array;
  readonly from: Int32Array;
}

function chainWithin({ devices }: CutProblem, borders: readonly Border[], timeOf: StageTime, limit: number): FoundChain | undefined {
  const last = borders.length - 1;
  const words = packed(borders);
  const newRow = (): Row => ({ value: new Float64Array(borders.length).fill(Infinity), from: new Int32Array(borders.length).fill(-1) });
  const rows = [newRow()];
  rows[0].value[0] = 0;
  for (let used = 1; used <= devices; used++) {
    const row = newRow();
    extend(borders, timeOf, words, rows[used - 1], row, limit, bordersAfter(borders, used, devices - used, limit));
    rows.push(row);
  }
  const used = rows.reduce((best, row, index) => (row.value[last] < rows[best].value[last] ? index : best), 0);
  const value = rows[used].value[last];
  if (value === Infinity) return undefined;
  const chain = [last];
  for (let index = used; index > 0; index--) chain.unshift(rows[index].from[chain[0]]);
  return { value, chain };
}

/**
 * The borders, by index, that `used` devices can reach and `left` devices go on from: all their work and what crosses the border, which both
 * sides pay, takes at most `limit` a device.
 */
function bordersAfter(borders: readonly Border[], used: number, left: number, limit: number): number[] {
  const whole = borders[borders.length - 1].work;
  const allowed = limit * (1 + ROUNDING);
  const fits = (time: number, devices: number) => time <= whole * ROUNDING || (devices > 0 && time <= devices * allowed);
  return [...borders.keys()].filter((index) => {
    const { work, transfer } = borders[index];
    return fits(work + transfer, used) && fits(whole - work + transfer, left);
  });
}

/** The borders' sets, one after the other: testing many pairs is what the search spends its time on. */
function packed(borders: readonly Border[]): Uint32Array {
  const width = borders[0].set.length;
  const words = new Uint32Array(borders.length * width);
  for (const [index, { set }] of borders.entries()) words.set(set, index * width);
  return words;
}

/** One device more: `to`, at the borders `ends`, from `from`. Begins with the fastest, so that most pairs need no look at their nodes. */
function extend(
  borders: readonly Border[],
  timeOf: StageTime,
  words: Uint32Array,
  from: Row,
  to: Row,
  limit: number,
  ends: readonly number[],
): void {
  const width = borders[0].set.length;
  const allowed = limit * (1 + ROUNDING);
  const starts = [...borders.keys()].filter((start) => from.value[start] < Infinity).sort((a, b) => from.value[a] - from.value[b] || a - b);
  for (const start of starts) {
    const begin = borders[start];
    const before = from.value[start];
    for (const end of ends) {
      const work = borders[end].work - begin.work;
      if (work > allowed) break;
      const least = work + leastTransfer(begin, borders[end]);
      if (
        end <= start ||
        least > allowed ||
        Math.max(before, least) >= to.value[end] ||
        !isWithin(words, start * width, end * width, width)
      )
        continue;
      const cost = timeOf(start, end);
      const value = Math.max(before, cost);
      if (cost > limit || value >= to.value[end]) continue;
      to.value[end] = value;
      to.from[end] = start;
    }
  }
}

function isWithin(words: Uint32Array, smaller: number, larger: number, width: number): boolean {
  for (let word = 0; word < width; word++) if ((words[smaller + word] & ~words[larger + word]) !== 0) return false;
  return true;
}

/** Time of the stage between two borders, by index. */
type StageTime = (start: number, end: number) => number;

/** Pairs of borders whose times are kept, once they are known. */
const MOST_KEPT = 2 ** 23;

function stageTimes(problem: CutProblem, borders: readonly Border[]): StageTime {
  const find: StageTime = (start, end) => {
    const [from, to] = [borders[start], borders[end]];
    return ownTime(problem, to.work - from.work, bytesBeyond(problem, from, to)) + transferBetween(problem, from, to);
  };
  if (borders.length ** 2 > MOST_KEPT) return find;
  const kept = new Float64Array(borders.length ** 2).fill(Number.NaN);
  return (start, end) => {
    const index = start * borders.length + end;
    if (Number.isNaN(kept[index])) kept[index] = find(start, end);
    return kept[index];
  };
}
