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
import type { AllocationItem } from "./plan/items.js";
import { orderOf } from "./prefetch.js";
import { allocatePsum, type PsumAllocation } from "./psum.js";
import { assignEngines } from "./queues.js";
import { findRegions } from "./regions.js";
import { planSbuf } from "./sbuf.js";
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
  /** PSUM bytes a partition: of the banks in use at once, and the most that lives at once. */
  readonly psumPeakBytes: number;
  readonly psumBoundBytes: number;
  readonly dramScratchBytes: number;
  /** DMA loads that were moved ahead. */
  readonly prefetched: number;
  /** Wait entries in all of `infer`. */
  readonly waits: number;
}

/** What lies where, and when it lives, in positions of the program's steps in the order of scheduling; bytes of a partition. */
export interface MemoryPlan {
  readonly items: readonly AllocationItem[];
  /** In the order of the items. */
  readonly offsets: readonly number[];
}

export type ScheduleResult =
  | { readonly fits: true; readonly program: Program; readonly report: ScheduleReport; readonly sbuf: MemoryPlan }
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
function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

/** A buffer's size in its memory's allocation unit. */
function allocatedBytes(program: LoweredProgram): Float64Array {
  return Float64Array.from(program.buffers, (buffer) =>
    roundUp(loweredBytes(buffer), buffer.space === "dram" ? DRAM_ALIGNMENT : SBUF_ALIGNMENT),
  );
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
    const { resident } = findLifetimes(this.#program, [], this.#indexOf);
    const residentBytes = this.#placeResidents(resident);
    const refuse = (memory: "sbuf" | "psum" | "dram", neededBytes: number, capacityBytes: number) =>
      ({ fits: false, memory, neededBytes, capacityBytes, residentBytes }) as const;
    const { sbufBytesPerPartition, psumBanks, psumBytesPerBank, dramBytesPerChip } = this.#hardware;
    const [program, indexOf, sizes, hardware] = [this.#program, this.#indexOf, this.#sizes, this.#hardware];
    const plan = planSbuf({ program, indexOf, sizes, resident, residentBytes, hardware });
    if (!plan.fits) return refuse("sbuf", residentBytes + plan.peak, sbufBytesPerPartition);
    for (const [index, buffer] of plan.buffers.entries()) this.#addresses[buffer] = residentBytes + plan.offsets[index];
    const order = orderOf(plan.times);
    const steps = Array.from(order, (index) => this.#program.infer[index]);
    const lifetimes = findLifetimes(this.#program, steps, this.#indexOf);
    const psum = this.#placePsum(lifetimes);
    if (!psum.fits) return refuse("psum", psum.neededBytes, psumBanks * psumBytesPerBank);
    const scratch = this.#placeScratch(lifetimes);
    const dram = scratch.peak + this.#boundDramBytes();
    if (dram > dramBytesPerChip) return refuse("dram", dram, dramBytesPerChip);
    const load = this.#section(this.#program.load);
    const infer = this.#section(steps);
    const report = {
      instructions: Object.fromEntries(infer.map(({ engine, instructions }) => [engine, instructions.length])),
      sbufPeakBytes: residentBytes + plan.peak,
      sbufBoundBytes: residentBytes + plan.bound,
      residentBytes,
      psumPeakBytes: psum.neededBytes,
      psumBoundBytes: psum.bound,
      dramScratchBytes: scratch.peak,
      prefetched: order.reduce((count, index, position) => count + Number(index > position), 0),
      waits: infer.reduce((sum, { instructions }) => sum + instructions.reduce((count, { waits }) => count + waits.length, 0), 0),
    };
    const sbuf = this.#planOf(lifetimes);
    return { fits: true, program: { name: this.#program.name, buffers: this.#placedBuffers(), load, infer }, report, sbuf };
  }

  /** Residents lie at the low end of SBUF, in the order of the buffers; returns their bytes. */
  #placeResidents(resident: Uint8Array): number {
    let end = 0;
    for (const [index, buffer] of this.#program.buffers.entries()) {
      if (buffer.space !== "sbuf" || !resident[index]) continue;
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

  /** Of the SBUF, residents included. */
  #planOf(lifetimes: Lifetimes): MemoryPlan {
    const { items, buffers } = this.#items(lifetimes, (index) => this.#program.buffers[index].space === "sbuf");
    return { items, offsets: buffers.map((buffer) => this.#addresses[buffer]) };
  }

  #placePsum(lifetimes: Lifetimes): PsumAllocation {
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

/** Schedules one core's program. Fails only for want of memory; a malformed step list throws (an internal invariant). */
export function schedule(program: LoweredProgram, options: ScheduleOptions = {}): ScheduleResult {
  return new Scheduler(program, options.hardware ?? inf1).run();
}
