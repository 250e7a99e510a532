/**
 * Cuts where devices share the memories of their chips. For a given time it is decided exactly whether a cut keeps within it: dynamic programming over
 * borders for the least traffic of the chip so far. The least such time is found by bisection.
 */
import {
  type Border,
  bytesBeyond,
  type Chips,
  type CutProblem,
  contains,
  crossingTotal,
  keepsAll,
  ownTime,
  transferBetween,
} from "./borders.js";

/** A stage that could be: between two borders, by index, with its device's time and the time of its chip's memory. */
interface Candidate {
  readonly start: number;
  readonly end: number;
  readonly time: number;
  readonly traffic: number;
  /** Whether the device holds all that its nodes keep. */
  readonly resident: boolean;
}

/** Borders between consecutive stages, by index, the first and the last included. */
export type Chain = readonly number[];

interface Found {
  readonly value: number;
  readonly chain: Chain;
}

export interface SharedCut extends Found {
  /** No cut along these borders is faster. */
  readonly bound: number;
}

/** The bisection ends where the bound is so near. */
const PRECISION = 1e-3;
/**
 * A cut without anything beyond the devices' capacities is taken if it costs no more of the fastest one's time: what streams past needs
 * memory too, and waits for the other devices' transfers, which the costs don't tell.
 */
const RESIDENT_PRICE = 1;

/** The fastest cut along the borders, or one nearly as fast that keeps all on the devices. `alone` is the fastest one where chips don't count. */
export function cutOverChips(
  problem: CutProblem,
  chips: Chips,
  borders: readonly Border[],
  alone: { readonly value: number; readonly chain: Chain },
): SharedCut {
  const known = alone.chain.slice(1).map((end, index) => candidate(problem, chips, borders, alone.chain[index], end));
  const most = timeOf(known, chips, borders);
  const stages = candidates(problem, chips, borders, most * (1 + RESIDENT_PRICE));
  const fastest = (of: readonly Candidate[], least: number, known: Found | undefined) => {
    const at = (limit: number) => within(of, problem.devices, chips, borders, limit);
    let bound = least;
    let best = known && (at(least) ?? known);
    while (best && best.value > bound * (1 + PRECISION)) {
      const middle = (bound + best.value) / 2;
      const found = at(middle);
      if (found) best = found;
      else bound = middle;
    }
    return best && { ...best, bound };
  };
  const best = fastest(stages, alone.value, { value: most, chain: alone.chain }) ?? { value: most, chain: alone.chain, bound: alone.value };
  const resident = stages.filter((stage) => stage.resident);
  const limit = best.value * (1 + RESIDENT_PRICE);
  const kept = fastest(resident, best.bound, within(resident, problem.devices, chips, borders, limit));
  return kept ? { value: kept.value, chain: kept.chain, bound: best.bound } : best;
}

/** The stages of at most so much time, in order of their ends, then starts. */
function candidates(problem: CutProblem, chips: Chips, borders: readonly Border[], limit: number): Candidate[] {
  const found: Candidate[] = [];
  for (const [end, to] of borders.entries()) {
    for (let start = 0; start < end; start++) {
      const from = borders[start];
      if (to.work - from.work > limit || !contains(to, from)) continue;
      const stage = candidate(problem, chips, borders, start, end);
      if (stage.time <= limit) found.push(stage);
    }
  }
  return found;
}

function candidate(problem: CutProblem, chips: Chips, borders: readonly Border[], start: number, end: number): Candidate {
  const [from, to] = [borders[start], borders[end]];
  const beyond = bytesBeyond(problem, from, to);
  const time = ownTime(problem, to.work - from.work, beyond) + transferBetween(problem, from, to);
  const traffic = beyond * chips.excess + crossingTotal(problem, from, to, (node) => node.traffic ?? 0);
  return { start, end, time, traffic, resident: keepsAll(problem, from, to) };
}

/** The time of the slowest device, chip's memory or link of a chain of stages. */
function timeOf(stages: readonly Candidate[], chips: Chips, borders: readonly Border[]): number {
  let value = 0;
  let traffic = 0;
  for (const [index, stage] of stages.entries()) {
    const isFirst = index % chips.devices === 0;
    traffic = isFirst ? stage.traffic : traffic + stage.traffic;
    const link = (index + 1) % chips.devices === 0 ? borders[stage.end].link : 0;
    value = Math.max(value, stage.time, traffic, link);
  }
  return value;
}

/** A chain all of whose devices, chips and links keep within `limit`; undefined where there is none. */
function within(stages: readonly Candidate[], devices: number, chips: Chips, borders: readonly Border[], limit: number): Found | undefined {
  const fitting = stages.filter(({ time, traffic }) => time <= limit && traffic <= limit);
  const last = borders.length - 1;
  // The last stage of the best chain that ends at each border, by number of stages.
  const chosen: (Candidate | undefined)[][] = [];
  let traffic = new Float64Array(borders.length).fill(Number.POSITIVE_INFINITY);
  traffic[0] = 0;
  for (let used = 1; used <= devices; used++) {
    const next = new Float64Array(borders.length).fill(Number.POSITIVE_INFINITY);
    const row: (Candidate | undefined)[] = new Array(borders.length).fill(undefined);
    const endsChip = used % chips.devices === 0;
    for (const stage of fitting) {
      const total = traffic[stage.start] + stage.traffic;
      if (total > limit || total >= next[stage.end] || (endsChip && borders[stage.end].link > limit)) continue;
      next[stage.end] = total;
      row[stage.end] = stage;
    }
    chosen.push(row);
    if (row[last]) {
      const chain: Candidate[] = [];
      for (let index = used - 1, end = last; index >= 0; index--) {
        const stage = chosen[index][end];
        if (!stage) throw new Error("a chain has a gap");
        chain.unshift(stage);
        end = stage.start;
      }
      return { value: timeOf(chain, chips, borders), chain: [0, ...chain.map((stage) => stage.end)] };
    }
    if (endsChip) for (const [border, total] of next.entries()) next[border] = total < Number.POSITIVE_INFINITY ? 0 : total;
    traffic = next;
  }
  return undefined;
}
