/**
 * Prefetch: moves DMA loads to earlier places of the serial order, so that they run while the engines compute.
 *
 * Each load gets a wished place, found from the end backwards: it should be complete when its first reader is due, and shares the DMA
 * bandwidth with the loads after it. Forwards, each then moves towards that place as far as (a) its source and the other steps of its
 * buffer allow, (b) it does not overtake the load before it, and (c) the bytes that live at once stay within the budget.
 */
import type { Hardware } from "../hardware/hardware.js";
import type { LoweredBuffer, Step } from "../lower/lowered.js";
import { computeCycles, dmaCost } from "../program/cost.js";
import type { Operation } from "../program/program.js";
import { loweredBytes } from "./lifetimes.js";
import type { Regions, Use } from "./regions.js";

/** Steps that a load overtakes at most: bounds the search, and more ahead would only take memory. */
const WINDOW = 4096;

export interface PrefetchInput {
  readonly steps: readonly Step[];
  readonly buffers: readonly LoweredBuffer[];
  readonly indexOf: ReadonlyMap<string, number>;
  readonly regions: Regions;
  /** SBUF bytes a partition that may live at once, residents not counted. */
  readonly budget: number;
  readonly hardware: Hardware;
}

function bufferOf(input: PrefetchInput, name: string): LoweredBuffer {
  return input.buffers[input.indexOf.get(name)!];
}

/** Whether a step is a DMA from DRAM to SBUF. */
export function isLoad(buffers: readonly LoweredBuffer[], indexOf: ReadonlyMap<string, number>, { operation }: Step): boolean {
  const space = (name: string) => buffers[indexOf.get(name)!].space;
  return operation.kind === "dma" && space(operation.out.buffer) === "sbuf" && space(operation.in.buffer) === "dram";
}

/** Modelled seconds of compute before each step: the busiest engine's. */
function computeTime(steps: readonly Step[], hardware: Hardware): Float64Array {
  const time = new Float64Array(steps.length + 1);
  const busy = { tensor: 0, scalar: 0, vector: 0 };
  const previous: { tensor?: Operation; scalar?: Operation; vector?: Operation } = {};
  for (const [index, { engine, operation }] of steps.entries()) {
    if (engine !== "dma") {
      busy[engine] += computeCycles(operation, previous[engine], engine, hardware) / hardware.clockHz;
      previous[engine] = operation;
    }
    time[index + 1] = Math.max(busy.tensor, busy.scalar, busy.vector);
  }
  return time;
}

/** The place that each load wishes for: an index of the original order. */
function wishes(input: PrefetchInput, loads: readonly number[]): Int32Array {
  const { steps, hardware } = input;
  const time = computeTime(steps, hardware);
  const bandwidth = Math.min(hardware.dramBandwidthPerChip / hardware.coresPerChip, hardware.dmaQueues * hardware.dmaBandwidthPerQueue);
  const result = new Int32Array(steps.length);
  let nextStart = Number.POSITIVE_INFINITY;
  for (let at = loads.length - 1; at >= 0; at--) {
    const index = loads[at];
    const { operation } = steps[index];
    if (operation.kind !== "dma") throw new Error("a load is a DMA");
    const { chargedBytes } = dmaCost(operation, bufferOf(input, operation.out.buffer), bufferOf(input, operation.in.buffer), hardware);
    nextStart = Math.min(time[index], nextStart) - chargedBytes / bandwidth;
    const start = nextStart - hardware.dmaSetupSeconds * 2 - chargedBytes / hardware.dmaBandwidthPerQueue;
    let low = 0;
    let high = index;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (time[middle] <= start) low = middle;
      else high = middle - 1;
    }
    result[index] = low;
  }
  return result;
}

/** SBUF bytes that live just before each step of the original order. */
function liveBytes(input: PrefetchInput): { live: Float64Array; first: Int32Array } {
  const { steps, buffers, regions } = input;
  const first = new Int32Array(buffers.length).fill(-1);
  const last = new Int32Array(buffers.length);
  for (const [index, uses] of regions.uses.entries()) {
    for (const { buffer } of uses) {
      if (first[buffer] < 0) first[buffer] = index;
      last[buffer] = index;
    }
  }
  const live = new Float64Array(steps.length + 1);
  for (const [index, buffer] of buffers.entries()) {
    if (buffer.space !== "sbuf" || first[index] < 0) continue;
    live[first[index]] += loweredBytes(buffer);
    live[last[index] + 1] -= loweredBytes(buffer);
  }
  for (let index = 1; index <= steps.length; index++) live[index] += live[index - 1];
  return { live, first };
}

/** Place after the last step that touched a region, kept by cell: writes only, or any use. */
class LastTouch {
  readonly #cells: (Int32Array | undefined)[];
  readonly #regions: Regions;

  constructor(regions: Regions, buffers: number) {
    this.#regions = regions;
    this.#cells = new Array(buffers);
  }

  /** Visits the use's cells: returns the latest place after them, and raises them to `place` if that is given. */
  visit(use: Use, place = 0): number {
    this.#cells[use.buffer] ??= new Int32Array(this.#regions.cells[use.buffer]);
    const cells = this.#cells[use.buffer]!;
    let latest = 0;
    for (let row = use.rowLow; row < use.rowHigh; row++) {
      for (
        let cell = row * this.#regions.columns[use.buffer] + use.columnLow, end = cell + use.columnHigh - use.columnLow;
        cell < end;
        cell++
      ) {
        latest = Math.max(latest, cells[cell]);
        if (place > cells[cell]) cells[cell] = place;
      }
    }
    return latest;
  }
}

/** The times of steps that stay where they are. A load that is moved ahead of step p has time 2p, before that step's. */
export function unmoved(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, index) => 2 * index + 1);
}

/** The steps in order of time, as indices of the original order. */
export function orderOf(times: Int32Array): Int32Array {
  return Int32Array.from(times.keys()).sort((a, b) => times[a] - times[b] || a - b);
}

/** When each step is to run. */
export function prefetch(input: PrefetchInput): Int32Array {
  const { steps, buffers, regions, budget } = input;
  const loads = [...steps.keys()].filter((index) => isLoad(buffers, input.indexOf, steps[index]));
  const wished = wishes(input, loads);
  const { live, first } = liveBytes(input);
  const times = unmoved(steps.length);
  const writes = new LastTouch(regions, buffers.length);
  const touches = new LastTouch(regions, buffers.length);
  const loading = new Set(loads);
  let previous = 0;
  for (const [index, uses] of regions.uses.entries()) {
    if (loading.has(index)) {
      const [out, ...sources] = uses;
      let earliest = Math.max(wished[index], previous, index - WINDOW, touches.visit(out));
      for (const source of sources) earliest = Math.max(earliest, writes.visit(source));
      const bytes = loweredBytes(buffers[out.buffer]);
      let place = first[out.buffer];
      if (place < index) place = Math.max(earliest, place);
      while (place > earliest && live[place - 1] + bytes <= budget) live[--place] += bytes;
      place = Math.min(place, index);
      first[out.buffer] = Math.min(first[out.buffer], place);
      times[index] = 2 * place;
      previous = place;
    }
    // A step placed at p runs before the original step p, so that what depends on it may be placed at p as well.
    const after = loading.has(index) ? previous : index + 1;
    for (const use of uses) {
      touches.visit(use, after);
      if (use.write) writes.visit(use, after);
    }
  }
  return times;
}
