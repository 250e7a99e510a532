/**
 * The complete search of each independent part, started over and over with other blocks of items, another order and a higher node limit. Search
 * times have heavy tails: one start finds in a hundred nodes what another misses in a million, and nobody knows which.
 */
import { seeded } from "../../graph/random.js";
import { type Block, joinBlocks, singleBlocks, unpack } from "./blocks.js";
import { type Intervals, intervalsOf } from "./intervals.js";
import { type AllocationItem, peakLive } from "./items.js";
import { independentParts } from "./parts.js";
import { type Outcome, Search } from "./search.js";

export interface SearchResult {
  readonly outcome: Outcome;
  /** In the order of the items; only where the outcome is "found". */
  readonly offsets?: Float64Array;
  /** Nodes searched in all runs. */
  readonly nodes: number;
}

/** Nodes of the first run beyond one an item, and the growth from run to run. */
const FIRST_LIMIT = 1500;
const GROWTH = 1.01;
/** The share of runs in which blocks are joined. */
const JOINED_RUNS = 0.7;

/** Rounded, so that hosts whose libraries differ in the last bit agree. */
const logarithm = (value: number) => Math.round(Math.log(value) * 2 ** 24) / 2 ** 24;

/** Logarithms of what makes an item hard to place: its size, how long it lives, in how full a section and in how many, with how many. */
function difficulties(items: readonly AllocationItem[], { from, to, sections, neighbours, sizes }: Intervals): number[][] {
  const total = Float64Array.from({ length: sections.starts.length - 1 }, (_, section) =>
    sections.list.subarray(sections.starts[section], sections.starts[section + 1]).reduce((sum, item) => sum + sizes[item], 0),
  );
  return items.map((item, index) => {
    const fullest = total.subarray(from[index], to[index]).reduce((most, each) => Math.max(most, each), 0);
    const others = neighbours.starts[index + 1] - neighbours.starts[index];
    return [item.size, item.upper - item.lower, to[index] - from[index], others + 1, fullest].map(logarithm);
  });
}

/** Random exponents of the first four difficulties; in half of the cases the fullness of the section counts far more than all. */
function draw(random: () => number): number[] {
  const exponents = Array.from({ length: 4 }, () => (random() < 0.4 ? 0 : -logarithm(1 - random())));
  return [...exponents, random() < 0.5 ? 20 * random() : 0];
}

/** The most difficult item has rank 0. */
function rankBy(difficulty: readonly (readonly number[])[], exponents: readonly number[]): Int32Array {
  const score = difficulty.map((each) => each.reduce((sum, value, index) => sum + value * exponents[index], 0));
  const rank = new Int32Array(score.length);
  for (const [position, item] of [...score.keys()].sort((a, b) => score[b] - score[a] || a - b).entries()) rank[item] = position;
  return rank;
}

/** Offsets that end within `capacity`, for items that all live and have a size. Takes at most `nodeLimit` nodes. */
export function search(items: readonly AllocationItem[], capacity: number, nodeLimit: number): SearchResult {
  if (peakLive(items) > capacity) return { outcome: "none", nodes: 0 };
  const { open, offsets } = independentParts(items);
  let nodes = 0;
  for (const part of [...open].sort((a, b) => a.items.length - b.items.length)) {
    const members = part.items.map((index) => items[index]);
    const found = searchPart(members, capacity - part.base, nodeLimit - nodes);
    nodes += found.nodes;
    if (!found.offsets) return { outcome: found.outcome, nodes };
    for (const [at, index] of part.items.entries()) offsets[index] = part.base + found.offsets[at];
  }
  return { outcome: "found", offsets, nodes };
}

function prepare(blocks: Block[]) {
  const intervals = intervalsOf(blocks);
  return { blocks, intervals, difficulty: difficulties(blocks, intervals) };
}

function searchPart(items: readonly AllocationItem[], capacity: number, nodeLimit: number): SearchResult {
  const random = seeded(1);
  const singles = prepare(singleBlocks(items));
  let nodes = 0;
  let length = FIRST_LIMIT;
  for (let count = 0; nodes < nodeLimit; count++, length *= GROWTH) {
    const joins = random() < JOINED_RUNS;
    const share = joins ? random() : 0;
    const { blocks, intervals, difficulty } = joins ? prepare(joinBlocks(items, 1 - share * share, random)) : singles;
    const limit = Math.min(nodeLimit - nodes, blocks.length + Math.ceil(length));
    const rank = rankBy(difficulty, draw(random));
    const run = new Search(intervals, capacity, { rank, focus: count % 2 === 0, nodeLimit: limit });
    const outcome = run.run();
    nodes += run.nodes;
    if (outcome === "found") return { outcome, offsets: unpack(blocks, run.offsets, items.length), nodes };
    if (outcome === "none" && blocks.length === items.length) return { outcome, nodes };
  }
  return { outcome: "limit", nodes };
}
