/** PSUM allocation: a buffer lies in one bank. Banks rotate, so that one tile is drained while the next accumulates. */
import { type AllocationItem, peakLive } from "./plan/items.js";

export interface PsumAllocation {
  /** Byte offsets in the order of the items; complete only if it fits. */
  readonly offsets: Float64Array;
  readonly fits: boolean;
  /** Bytes of the banks that were needed at once; where it does not fit, with the first item that found no place. */
  readonly neededBytes: number;
  /** Bytes that live at once, at most: no placement needs fewer. */
  readonly bound: number;
}

interface Placed {
  readonly end: number;
  readonly offset: number;
  readonly size: number;
}

interface Bank {
  active: Placed[];
  lastEnd: number;
}

/** The lowest free offset in a bank, or -1. */
function gapIn(bank: Bank, size: number, bankBytes: number): number {
  let end = 0;
  for (const item of [...bank.active].sort((a, b) => a.offset - b.offset)) {
    if (item.offset - end >= size) return end;
    end = item.offset + item.size;
  }
  return end + size <= bankBytes ? end : -1;
}

/** The bank for an item: the free one that was left longest ago, or one with room. `packed` prefers a bank with room over a free one. */
function chooseBank(banks: readonly Bank[], size: number, bankBytes: number, packed: boolean): number {
  let free = -1;
  let shared = -1;
  for (const [index, bank] of banks.entries()) {
    if (bank.active.length === 0) {
      if (free < 0 || bank.lastEnd < banks[free].lastEnd) free = index;
    } else if (shared < 0 && gapIn(bank, size, bankBytes) >= 0) shared = index;
  }
  if (packed) return shared >= 0 ? shared : free;
  return free >= 0 ? free : shared;
}

function placeAll(items: readonly AllocationItem[], count: number, bankBytes: number, packed: boolean): Omit<PsumAllocation, "bound"> {
  const offsets = new Float64Array(items.length);
  const banks: Bank[] = Array.from({ length: count }, () => ({ active: [], lastEnd: -1 }));
  const order = [...items.keys()].sort((a, b) => items[a].lower - items[b].lower || a - b);
  let most = 0;
  for (const index of order) {
    const item = items[index];
    for (const bank of banks) bank.active = bank.active.filter((placed) => placed.end > item.lower);
    const chosen = item.size > bankBytes ? -1 : chooseBank(banks, item.size, bankBytes, packed);
    if (chosen < 0) return { offsets, fits: false, neededBytes: banks.length * bankBytes + item.size };
    const bank = banks[chosen];
    const offset = gapIn(bank, item.size, bankBytes);
    bank.active.push({ end: item.upper, offset, size: item.size });
    bank.lastEnd = Math.max(bank.lastEnd, item.upper);
    offsets[index] = chosen * bankBytes + offset;
    most = Math.max(most, banks.filter((each) => each.active.length > 0).length);
  }
  return { offsets, fits: true, neededBytes: most * bankBytes };
}

/** Places items in `count` banks: rotating if that fits, else packed tightly. */
export function allocatePsum(items: readonly AllocationItem[], count: number, bankBytes: number): PsumAllocation {
  const rotating = placeAll(items, count, bankBytes, false);
  return { ...(rotating.fits ? rotating : placeAll(items, count, bankBytes, true)), bound: peakLive(items) };
}
