/**
 * From a serial list of steps over buffers without addresses to a program: loads are moved ahead of their use, every buffer gets its
 * place, DMAs get their queues, and semaphores keep the order that the serial list's data dependencies need.
 */
import { type Hardware, hardware as inf1 } from "../hardware/hardware.js";
import type { LoweredProgram, Step } from "../lower/lowered.js";
import type { Buffer, Engine, Program, Stream } from "../program/program.js";
import { type Allocation, allocate } from "./allocate.js";
import { findDependencies, type SerialSteps } from "./dependencies.js";
import { findLifetimes, type Lifetimes, loweredBytes } from "./lifetimes.js";
import { type AllocationItem, peakLive } from "./plan/items.js";
import { prefetch } from "./prefetch.js";
import { allocatePsum } from "./psum.js";
import { assignEngines } from "./queues.js";
import { findRegions } from "./regions.js";
import { synchronise } from "./synchronise.js";

export interface ScheduleOptions {
  readonly hardware?: Hardware;
}

export interface ScheduleReport {
  /** Instructions of `infer` by engine. */
  readonly instructions: Readonly<Record<string, number>>;
  /** SBUF bytes a partition: highest byte used, and the most that lives at once, below which no allocation can be. */
  readonly sbufPeakBytes: number;
  readonly sbufBoundBytes: number;
  /** SBUF bytes a partition that `load` fills. */
  readonly residentBytes: number;
  readonly psumPeakBytes: number;
  readonly dramScratchBytes: number;
  /** DMA loads that were moved ahead. */
  readonly prefetched: number;
  /** Wait entries in all of `infer`. */
  readonly waits: number;
}

export type ScheduleResult =
  | { readonly fits: true; readonly program: Program; readonly report: ScheduleReport }
  | {
      readonly fits: false;
      readonly memory: "sbuf" | "psum" | "dram";
      /** Bytes (a partition, on chip) that the best allocation found would take. */
      readonly neededBytes: number;
      readonly capacityBytes: number;
      readonly residentBytes: number;
    };

/** SBUF addresses are multiples of this: any element's. */
const SBUF_ALIGNMENT = 4;
const DRAM_ALIGNMENT = 64;
/** Shares of the SBUF that prefetch may fill, tried in turn: less leaves the allocator more room. 0 is no prefetch. */
const PREFETCH_SHARES = [0.92, 0.75, 0.6, 0.45, 0.3, 0];
/** Positions added on both sides of a buffer that lives for at most SHORT_LIFE, so that the tiles next to it lie elsewhere. */
const MAX_SLACK = 48;
const SHORT_LIFE = 384;

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** A buffer's size in its memory's allocation unit. */
function allocatedBytes(program: LoweredProgram): Float64Array {
  return Float64Array.from(program.buffers, (buffer) =>
    roundUp(loweredBytes(buffer), buffer.space === "dram" ? DRAM_ALIGNMENT : SBUF_ALIGNMENT),
  );
}

/** Order of the infer steps and where every SBUF buffer goes. */
interface SbufPlan {
  readonly infer: readonly Step[];
  readonly lifetimes: Lifetimes;
  readonly allocation: Allocation;
  /** Buffers of the allocation's items. */
  readonly buffers: readonly number[];
  readonly bound: number;
  readonly prefetched: number;
}

class Scheduler {
  readonly #program: LoweredProgram;
  readonly #hardware: Hardware;
  readonly #indexOf: ReadonlyMap<string, number>;
  readonly #sizes: Float64Array;
  readonly #addresses: Float64Array;

  constructor(program: LoweredProgram, hardware: Hardware) {
    this.#program = program;
    this.#hardware = hardware;
    this.#indexOf = new Map(program.buffers.map((buffer, index) => [buffer.name, index]));
    this.#sizes = allocatedBytes(program);
    this.#addresses = new Float64Array(program.buffers.length);
  }

  run(): ScheduleResult {
    const residentBytes = this.#placeResidents();
    const refuse = (memory: "sbuf" | "psum" | "dram", neededBytes: number, capacityBytes: number) =>
      ({ fits: false, memory, neededBytes, capacityBytes, residentBytes }) as const;
    const { sbufBytesPerPartition, psumBanks, psumBytesPerBank, dramBytesPerChip } = this.#hardware;
    const plan = this.#planSbuf(residentBytes);
    if (!plan.allocation.fits) return refuse("sbuf", residentBytes + plan.allocation.peak, sbufBytesPerPartition);
    for (const [index, buffer] of plan.buffers.entries()) this.#addresses[buffer] = residentBytes + plan.allocation.offsets[index];
    const psum = this.#placePsum(plan.lifetimes);
    if (!psum.fits) return refuse("psum", psum.neededBytes, psumBanks * psumBytesPerBank);
    const scratch = this.#placeScratch(plan.lifetimes);
    const dram = scratch.peak + this.#boundDramBytes();
    if (dram > dramBytesPerChip) return refuse("dram", dram, dramBytesPerChip);
    const load = this.#section(this.#program.load);
    const infer = this.#section(plan.infer);
    const report = {
      instructions: Object.fromEntries(infer.map(({ engine, instructions }) => [engine, instructions.length])),
      sbufPeakBytes: residentBytes + plan.allocation.peak,
      sbufBoundBytes: residentBytes + plan.bound,
      residentBytes,
      psumPeakBytes: psum.neededBytes,
      dramScratchBytes: scratch.peak,
      prefetched: plan.prefetched,
      waits: infer.reduce((sum, { instructions }) => sum + instructions.reduce((count, { waits }) => count + waits.length, 0), 0),
    };
    return { fits: true, program: { name: this.#program.name, buffers: this.#placedBuffers(), load, infer }, report };
  }

  /** Residents lie at the low end of SBUF, in the order of the buffers; returns their bytes. */
  #placeResidents(): number {
    const lifetimes = findLifetimes(this.#program, [], this.#indexOf);
    let end = 0;
    for (const [index, buffer] of this.#program.buffers.entries()) {
      if (buffer.space !== "sbuf" || !lifetimes.resident[index]) continue;
      this.#addresses[index] = end;
      end += this.#sizes[index];
    }
    return end;
  }

  /** Items of the buffers that `choose` picks, of those that are used. */
  #items(lifetimes: Lifetimes, choose: (index: number) => boolean): { items: AllocationItem[]; buffers: number[] } {
    const buffers = [...this.#program.buffers.keys()].filter((index) => lifetimes.end[index] > 0 && choose(index));
    const items = buffers.map((index) => {
      const kept = lifetimes.resident[index];
      const { name } = this.#program.buffers[index];
      return {
        id: name,
        lower: kept ? 0 : lifetimes.first[index],
        upper: kept ? lifetimes.positions : lifetimes.end[index],
        size: this.#sizes[index],
      };
    });
    return { items, buffers };
  }

  /** The first of (prefetch share, with or without slack) that fits; else the one that needs the least. */
  #planSbuf(residentBytes: number): SbufPlan {
    const capacity = this.#hardware.sbufBytesPerPartition - residentBytes;
    const { buffers, infer } = this.#program;
    const regions = findRegions(infer, buffers, this.#indexOf);
    let best: SbufPlan | undefined;
    for (const share of PREFETCH_SHARES) {
      const input = { steps: infer, buffers, indexOf: this.#indexOf, regions, budget: capacity * share, hardware: this.#hardware };
      const order = share > 0 ? prefetch(input) : Int32Array.from(infer.keys());
      const steps = Array.from(order, (index) => infer[index]);
      const lifetimes = findLifetimes(this.#program, steps, this.#indexOf);
      const tight = this.#items(lifetimes, (index) => buffers[index].space === "sbuf" && !lifetimes.resident[index]);
      const bound = peakLive(tight.items);
      const prefetched = order.reduce((count, index, position) => count + Number(index > position), 0);
      for (const items of [tight.items.map(withSlack), tight.items]) {
        const allocation = allocate(items, { capacity });
        const plan = { infer: steps, lifetimes, allocation, buffers: tight.buffers, bound, prefetched };
        if (allocation.fits) return plan;
        if (!best || allocation.peak < best.allocation.peak) best = plan;
      }
    }
    return best!;
  }

  #placePsum(lifetimes: Lifetimes): { fits: boolean; neededBytes: number } {
    const { items, buffers } = this.#items(lifetimes, (index) => this.#program.buffers[index].space === "psum");
    const psum = allocatePsum(items, this.#hardware.psumBanks, this.#hardware.psumBytesPerBank);
    for (const [index, buffer] of buffers.entries()) this.#addresses[buffer] = psum.offsets[index];
    return psum;
  }

  #placeScratch(lifetimes: Lifetimes): Allocation {
    const isScratch = (index: number) => {
      const buffer = this.#program.buffers[index];
      return buffer.space === "dram" && buffer.kind === "scratch";
    };
    const { items, buffers } = this.#items(lifetimes, isScratch);
    const allocation = allocate(items);
    for (const [index, buffer] of buffers.entries()) this.#addresses[buffer] = allocation.offsets[index];
    return allocation;
  }

  /** DRAM bytes of inputs, outputs and constants. */
  #boundDramBytes(): number {
    return this.#program.buffers.reduce(
      (sum, buffer, index) => sum + (buffer.space === "dram" && buffer.kind !== "scratch" ? this.#sizes[index] : 0),
      0,
    );
  }

  #placedBuffers(): Buffer[] {
    return this.#program.buffers.map((buffer, index) => ({ ...buffer, address: this.#addresses[index] }));
  }

  /** The streams of a section from its steps in serial order. */
  #section(steps: readonly Step[]): Stream[] {
    if (steps.length === 0) return [];
    const { buffers } = this.#program;
    const perStep = assignEngines(steps, buffers, this.#indexOf, this.#hardware);
    const engines = engineOrder(new Set(perStep));
    if (engines.length > this.#hardware.semaphores) throw new Error(`${engines.length} streams need as many semaphores`);
    const numberOf = new Map(engines.map((engine, index) => [engine, index]));
    const serial: SerialSteps = {
      order: Int32Array.from(steps.keys()),
      stream: Int32Array.from(perStep, (engine) => numberOf.get(engine)!),
      streams: engines.length,
    };
    const regions = findRegions(steps, buffers, this.#indexOf);
    return synchronise(steps, serial, findDependencies(serial, regions, buffers, this.#addresses, this.#sizes), engines);
  }
}

/** Compute engines first, then DMA queues by number. */
function engineOrder(used: ReadonlySet<Engine>): Engine[] {
  const rank = (engine: Engine) =>
    engine.startsWith("dma") ? 3 + Number(engine.slice(3)) : ["tensor", "scalar", "vector"].indexOf(engine);
  return [...used].sort((a, b) => rank(a) - rank(b));
}

function withSlack(item: AllocationItem): AllocationItem {
  const length = item.upper - item.lower;
  if (length > SHORT_LIFE) return item;
  const slack = Math.min(MAX_SLACK, Math.ceil(length / 2) + 1);
  return { ...item, lower: Math.max(0, item.lower - slack), upper: item.upper + slack };
}

/** Schedules one core's program. Fails only for want of memory; a malformed step list throws (an internal invariant). */
export function schedule(program: LoweredProgram, options: ScheduleOptions = {}): ScheduleResult {
  return new Scheduler(program, options.hardware ?? inf1).run();
}
