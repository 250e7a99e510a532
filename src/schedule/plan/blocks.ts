/**
 * Items joined into blocks that are placed as one: those that live at the same time, one upon another, and one that takes the place of another of
 * its size when that ends. Not every plan has these together, but a plan of blocks is one of the items, and far easier to find.
 */
import { intervalsOf } from "./intervals.js";
import type { AllocationItem } from "./items.js";

export interface Block extends AllocationItem {
  readonly members: readonly Member[];
}

interface Member {
  /** Index of an item. */
  readonly item: number;
  /** Above the block's own offset. */
  readonly offset: number;
}

export function singleBlocks(items: readonly AllocationItem[]): Block[] {
  return items.map((item, index) => ({ ...item, members: [{ item: index, offset: 0 }] }));
}

/** The offsets of the items of blocks at these offsets. */
export function unpack(blocks: readonly Block[], offsets: ArrayLike<number>, count: number): Float64Array {
  const found = new Float64Array(count);
  for (const [index, { members }] of blocks.entries()) for (const { item, offset } of members) found[item] = offsets[index] + offset;
  return found;
}

/** Joins as long as something can be joined, each pair that could be with the probability `share`. */
export function joinBlocks(items: readonly AllocationItem[], share: number, random: () => number): Block[] {
  let blocks = singleBlocks(items);
  for (let before = -1; before !== blocks.length; ) {
    before = blocks.length;
    blocks = stacked(shuffled(blocks, random), () => random() < share);
    blocks = succeeding(blocks, () => random() < share);
  }
  return blocks;
}

function shuffled(blocks: readonly Block[], random: () => number): Block[] {
  return blocks
    .map((block) => ({ block, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ block }) => block);
}

/** Blocks that meet the same others in time are put one upon another. */
function stacked(blocks: readonly Block[], chosen: () => boolean): Block[] {
  const { from, to } = intervalsOf(blocks);
  const stacks = new Map<string, number>();
  const joined: Block[] = [];
  for (const [index, block] of blocks.entries()) {
    const key = `${from[index]} ${to[index]}`;
    const below = stacks.get(key);
    if (below !== undefined && chosen()) joined[below] = join(joined[below], block, joined[below].size);
    else stacks.set(key, joined.push(block) - 1);
  }
  return joined;
}

/** A block takes the place of one of its size that ends when it begins. */
function succeeding(blocks: readonly Block[], chosen: () => boolean): Block[] {
  const ended = new Map<string, number>();
  const joined: Block[] = [];
  for (const block of [...blocks].sort((a, b) => a.lower - b.lower)) {
    const key = `${block.lower} ${block.size}`;
    const before = ended.get(key);
    const at = before !== undefined && chosen() ? before : joined.push(block) - 1;
    if (at === before) {
      ended.delete(key);
      joined[at] = join(joined[at], block, 0);
    }
    ended.set(`${block.upper} ${block.size}`, at);
  }
  return joined;
}

function join(a: Block, b: Block, above: number): Block {
  return {
    id: a.id,
    lower: Math.min(a.lower, b.lower),
    upper: Math.max(a.upper, b.upper),
    size: Math.max(a.size, above + b.size),
    members: [...a.members, ...b.members.map(({ item, offset }) => ({ item, offset: offset + above }))],
  };
}
