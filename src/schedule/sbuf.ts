/** Where SBUF buffers go and, as this depends on it, how far loads move ahead of their use. */
import type { Hardware } from "../hardware/hardware.js";
import type { LoweredProgram } from "../lower/lowered.js";
import { reads } from "../program/program.js";
import { allocate, GOOD_ENOUGH } from "./allocate.js";
import { type MovableItem, placeWithDelays } from "./plan/delays.js";
import { type AllocationItem, peakLive } from "./plan/items.js";
import { isLoad, orderOf, type PrefetchInput, prefetch, unmoved } from "./prefetch.js";
import { findRegions } from "./regions.js";

export interface SbufInput {
  readonly program: LoweredProgram;
  readonly indexOf: ReadonlyMap<string, number>;
  /** Allocated bytes of each buffer, and whether it is resident. */
  readonly sizes: Float64Array;
  readonly resident: Uint8Array;
  /** Bytes that residents take. */
  readonly residentBytes: number;
  readonly hardware: Hardware;
}

export interface SbufPlan {
  /** When each infer step is to run: see `prefetch`. */
  readonly times: Int32Array;
  /** The buffers placed, and their offsets above the residents. */
  readonly buffers: readonly number[];
  readonly offsets: Float64Array;
  readonly peak: number;
  /** The most bytes that live at once, residents not counted: no plan for these times has a lower peak. */
  readonly bound: number;
  readonly fits: boolean;
}

/** Shares of the SBUF that prefetch may fill, tried in turn: less leaves the allocator more room. 0 is no prefetch. */
const PREFETCH_SHARES = [0.92, 0.75, 0.6, 0.45, 0.3, 0];
/** Steps added on both sides of a buffer that lives for at most SHORT_LIFE, so that the tiles next to it lie elsewhere. */
const MAX_SLACK = 48;
const SHORT_LIFE = 384;

/** Of the complete search, where nothing else fits even without prefetch: about a second. */
const NODE_LIMIT = 2e4;

function withSlack(item: AllocationItem): AllocationItem {
  const length = item.upper - item.lower;
  if (length > SHORT_LIFE) return item;
  const slack = Math.min(MAX_SLACK, Math.ceil(length / 2) + 1);
  return { ...item, lower: Math.max(0, item.lower - slack), upper: item.upper + slack };
}

/** The first plan of the prefetch shares that fits; else the one that needs the least. */
export function planSbuf(input: SbufInput): SbufPlan {
  const { program, indexOf, hardware } = input;
  const capacity = hardware.sbufBytesPerPartition - input.residentBytes;
  const { buffers, infer: steps } = program;
  const late = unmoved(steps.length);
  // Loads that are moved ahead only add to what lives at once.
  if (peakLive(itemsOf(input, late).items) > capacity) return placeSbuf(input, late, capacity, 0);
  const regions = findRegions(steps, buffers, indexOf);
  let best: SbufPlan | undefined;
  for (const share of PREFETCH_SHARES) {
    const prefetching: PrefetchInput = { steps, buffers, indexOf, regions, budget: capacity * share, hardware };
    const plan = share > 0 ? placeSbuf(input, prefetch(prefetching), capacity, 0) : placeSbuf(input, late, capacity, NODE_LIMIT);
    if (plan.fits) return plan;
    if (!best || plan.peak < best.peak) best = plan;
  }
  return best!;
}

/** Spread out if there is room; else as near the bound as is good enough, with loads later than wished if need be; else anywhere. */
function placeSbuf(input: SbufInput, times: Int32Array, capacity: number, nodeLimit: number): SbufPlan {
  const { items, buffers } = itemsOf(input, times);
  const bound = peakLive(items);
  if (bound > capacity) return { offsets: new Float64Array(items.length), peak: bound, bound, fits: false, times, buffers };
  const positions = new Int32Array(times.length);
  for (const [position, index] of orderOf(times).entries()) positions[index] = position;
  const spread = allocate(itemsOf(input, positions).items.map(withSlack), { capacity });
  if (spread.fits) return { ...spread, bound, times, buffers };
  const goal = Math.min(capacity, Math.floor(GOOD_ENOUGH * (input.residentBytes + bound)) - input.residentBytes);
  const tight = allocate(items, { capacity, goal, nodeLimit });
  const delayed = tight.peak <= goal ? undefined : placeWithDelays(items, goal, MAX_SLACK);
  if (!delayed) return { ...tight, times, buffers };
  return { ...delayed, bound, fits: true, times: delay(input, times, buffers, delayed.lowers), buffers };
}

/** The buffers that are used and not resident, as they live where the steps have these times. Those that begin with a load may begin with it unmoved. */
function itemsOf({ program, indexOf, sizes, resident }: SbufInput, times: Int32Array): { items: MovableItem[]; buffers: number[] } {
  const lower = new Int32Array(program.buffers.length);
  const upper = new Int32Array(program.buffers.length);
  const latest = new Int32Array(program.buffers.length);
  const buffers: number[] = [];
  for (const [index, step] of program.infer.entries()) {
    for (const access of [step.operation.out, ...reads(step.operation)]) {
      const buffer = indexOf.get(access.buffer)!;
      if (program.buffers[buffer].space !== "sbuf" || resident[buffer]) continue;
      if (upper[buffer] === 0) {
        buffers.push(buffer);
        lower[buffer] = times[index];
        latest[buffer] = isLoad(program.buffers, indexOf, step) ? Math.max(times[index], 2 * index) : times[index];
      }
      lower[buffer] = Math.min(lower[buffer], times[index]);
      upper[buffer] = Math.max(upper[buffer], times[index] + 1);
    }
  }
  buffers.sort((a, b) => a - b);
  const items = buffers.map((buffer) => ({
    id: program.buffers[buffer].name,
    lower: lower[buffer],
    upper: upper[buffer],
    latest: latest[buffer],
    size: sizes[buffer],
  }));
  return { items, buffers };
}

/** The times with every load to a placed buffer not before the buffer begins. */
function delay({ program, indexOf }: SbufInput, times: Int32Array, buffers: readonly number[], lowers: Float64Array): Int32Array {
  const begin = new Map(buffers.map((buffer, index) => [buffer, lowers[index]]));
  return times.map((time, index) => {
    const step = program.infer[index];
    if (!isLoad(program.buffers, indexOf, step)) return time;
    return Math.max(time, begin.get(indexOf.get(step.operation.out.buffer)!) ?? 0);
  });
}
