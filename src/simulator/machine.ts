/** The machine of the time model: cores whose streams take turns on engines, DRAM and links, and requests that pass them one after the other. */
import type { Hardware } from "../hardware/hardware.js";
import { computeCycles, dmaCost } from "../program/cost.js";
import type { Buffer, Engine, Instruction, Operation, Stream } from "../program/program.js";
import { EventQueue, SharedBandwidth } from "./events.js";

export interface TimelineEntry {
  readonly core: number;
  readonly engine: Engine;
  /** Index in its stream. */
  readonly instruction: number;
  readonly startSeconds: number;
  readonly endSeconds: number;
}

/** A stream with its costs worked out. */
export interface TimedStream {
  readonly engine: Engine;
  readonly instructions: readonly Instruction[];
  /** Seconds of computing, or of a DMA's setup. */
  readonly seconds: Float64Array;
  /** Bytes to move after that; 0 for compute. */
  readonly bytes: Float64Array;
  /** 1 where the bytes stay in SBUF. */
  readonly onChip: Uint8Array;
}

export function timedStream({ engine, instructions }: Stream, buffers: ReadonlyMap<string, Buffer>, hardware: Hardware): TimedStream {
  const seconds = new Float64Array(instructions.length);
  const bytes = new Float64Array(instructions.length);
  const onChip = new Uint8Array(instructions.length);
  let previous: Operation | undefined;
  for (const [index, { operation }] of instructions.entries()) {
    if (operation.kind === "dma") {
      const cost = dmaCost(operation, buffers.get(operation.out.buffer)!, buffers.get(operation.in.buffer)!, hardware);
      seconds[index] = hardware.dmaSetupSeconds;
      bytes[index] = cost.chargedBytes;
      onChip[index] = Number(cost.onChip);
    } else {
      const kind = engine === "tensor" || engine === "scalar" ? engine : "vector";
      seconds[index] = computeCycles(operation, previous, kind, hardware) / hardware.clockHz;
      previous = operation;
    }
  }
  return { engine, instructions, seconds, bytes, onChip };
}

/** One core: how far its streams are in the request that it works on. */
export class Core {
  readonly next: Int32Array;
  readonly running: Uint8Array;
  readonly started: Float64Array;
  readonly busy: Float64Array;
  readonly semaphores: Int32Array;
  readonly sbuf: SharedBandwidth;
  /** Instructions of the current request that are not complete; 0 between requests. */
  left = 0;
  /** When the core began each request, and when it was complete. */
  readonly begins: number[] = [];
  readonly ends: number[] = [];
  /** Requests whose inputs are there. */
  arrived = 0;
  /** When the core may begin its next request at the earliest. */
  idleUntil = 0;

  constructor(
    readonly number: number,
    /** Which core of the machine it is. */
    readonly place: number,
    readonly streams: readonly TimedStream[],
    readonly dram: SharedBandwidth,
    hardware: Hardware,
  ) {
    this.next = new Int32Array(streams.length);
    this.running = new Uint8Array(streams.length);
    this.started = new Float64Array(streams.length);
    this.busy = new Float64Array(streams.length);
    this.semaphores = new Int32Array(hardware.semaphores);
    this.sbuf = new SharedBandwidth(hardware.sbufDmaBandwidth, hardware.sbufDmaBandwidth);
  }

  /** Whether a stream can start its next instruction. */
  ready(stream: number): boolean {
    if (this.running[stream]) return false;
    const { instructions } = this.streams[stream];
    const next = this.next[stream];
    if (next >= instructions.length) return false;
    for (const { semaphore, value } of instructions[next].waits) if (this.semaphores[semaphore] < value) return false;
    return true;
  }

  reset(): void {
    this.next.fill(0);
    this.semaphores.fill(0);
    this.left = this.streams.reduce((sum, { instructions }) => sum + instructions.length, 0);
  }
}

export interface TimedStage {
  /** Whether its requests come from the host, as to the first stage of each Neuron subgraph, or from the core before it. */
  readonly fromHost: boolean;
  readonly streams: readonly TimedStream[];
  /** Time for which the values that later stages read occupy the link behind this one, where a chip ends there. */
  readonly linkSeconds: number;
}

/** What a machine is to do. */
interface Run {
  /** Stages of the model, one a core. */
  readonly stages: readonly TimedStage[];
  /** The first core of each copy, ascending. */
  readonly copies: readonly number[];
  /** Requests that each copy is to complete; more follow them meanwhile. */
  readonly requests: number;
  readonly gapSeconds: number;
  /** How much later than the copy before it each copy starts. */
  readonly staggerSeconds: number;
  readonly hardware: Hardware;
  readonly timeline: boolean;
}

/** What a stage gives has room for so many requests: one that the next stage reads, one that is being written; behind a link or the host one more. */
const BUFFERED_REQUESTS = 2;

/** Runs a number of requests through each copy of a model. */
export class Machine {
  readonly cores: readonly Core[];
  readonly timeline: TimelineEntry[] = [];
  readonly #events = new EventQueue();
  readonly #bandwidths: readonly SharedBandwidth[];
  readonly #run: Run;
  /** When the link behind each core is free again. */
  readonly #linkFree: Float64Array;
  #now = 0;

  constructor(run: Run) {
    const { hardware, stages, copies } = run;
    const places = copies.flatMap((first) => stages.map((_, stage) => first + stage));
    const chipOf = (place: number) => Math.floor(place / hardware.coresPerChip);
    const chips = new Map(
      places.map((place) => [chipOf(place), new SharedBandwidth(hardware.dramBandwidthPerChip, hardware.dmaBandwidthPerQueue)]),
    );
    this.cores = places.map(
      (place, index) => new Core(index, place, stages[index % stages.length].streams, chips.get(chipOf(place))!, hardware),
    );
    this.#bandwidths = [...chips.values(), ...this.cores.map((core) => core.sbuf)];
    this.#run = run;
    this.#linkFree = new Float64Array(places.length);
    for (const core of this.cores) if (this.#isFirst(core)) core.arrived = run.requests === 1 ? 1 : Number.POSITIVE_INFINITY;
  }

  #isFirst(core: Core): boolean {
    return core.number % this.#run.stages.length === 0;
  }

  #stage(core: Core): TimedStage {
    return this.#run.stages[core.number % this.#run.stages.length];
  }

  /** The cores that a model's results come from, one a copy. */
  get lastCores(): Core[] {
    return this.cores.filter((_, index) => (index + 1) % this.#run.stages.length === 0);
  }

  /** The stage after a core's own in the same copy. */
  #after(core: Core): Core | undefined {
    const after = this.cores[core.number + 1];
    return after && !this.#isFirst(after) ? after : undefined;
  }

  /** Whether what a core gets from the one before it passes a link, as a chip begins there. */
  #hasLinkBefore(after: Core): boolean {
    return after.place % this.#run.hardware.coresPerChip === 0 && !this.#stage(after).fromHost;
  }

  #roomBefore(after: Core): number {
    return BUFFERED_REQUESTS + Number(this.#hasLinkBefore(after) || this.#stage(after).fromHost);
  }

  /** Starts a core's next request if it may: its inputs are there, and what it gives has a place. */
  #begin(core: Core): void {
    const request = core.ends.length;
    if (core.left > 0 || request >= core.arrived || this.#now < core.idleUntil) return;
    const after = this.#after(core);
    if (after && request - after.ends.length >= this.#roomBefore(after)) return;
    core.reset();
    core.begins.push(this.#now);
    if (core.left > 0) this.#startReady(core);
    else this.#end(core);
  }

  #end(core: Core): void {
    core.ends.push(this.#now);
    const after = this.#after(core);
    if (after && this.#hasLinkBefore(after)) {
      const free = Math.max(this.#now, this.#linkFree[core.number]) + this.#stage(core).linkSeconds;
      this.#linkFree[core.number] = free;
      this.#events.push(free, this.#arrivalOf(after));
    } else if (after) {
      after.arrived++;
      this.#begin(after);
    }
    if (!this.#isFirst(core)) this.#begin(this.cores[core.number - 1]);
    if (this.#stage(core).fromHost) this.#beginAt(core, this.#now + this.#run.gapSeconds);
    else this.#begin(core);
  }

  /** Tokens below 0: first starts of requests, by core, then arrivals of requests over a link. */
  #beginAt(core: Core, time: number): void {
    core.idleUntil = time;
    this.#events.push(time, -1 - core.number);
  }

  #arrivalOf(core: Core): number {
    return -1 - this.cores.length - core.number;
  }

  #startReady(core: Core): void {
    for (let stream = 0; stream < core.streams.length; stream++) {
      if (!core.ready(stream)) continue;
      core.running[stream] = 1;
      core.started[stream] = this.#now;
      this.#events.push(this.#now + core.streams[stream].seconds[core.next[stream]], stream * this.cores.length + core.number);
    }
  }

  #complete(core: Core, stream: number): void {
    const index = core.next[stream]++;
    const { engine, instructions } = core.streams[stream];
    core.running[stream] = 0;
    core.busy[stream] += this.#now - core.started[stream];
    core.left--;
    const { signal } = instructions[index];
    if (signal !== undefined) core.semaphores[signal]++;
    if (this.#run.timeline) {
      this.timeline.push({ core: core.number, engine, instruction: index, startSeconds: core.started[stream], endSeconds: this.#now });
    }
    if (core.left === 0) this.#end(core);
    else this.#startReady(core);
  }

  /** What an event was: the start or arrival of a request, the end of an instruction, or of the setup of a DMA that now moves its bytes. */
  #event(token: number): void {
    if (token < 0) {
      const number = -1 - token;
      const core = this.cores[number % this.cores.length];
      if (number >= this.cores.length) core.arrived++;
      return this.#begin(core);
    }
    const core = this.cores[token % this.cores.length];
    const stream = Math.floor(token / this.cores.length);
    const { bytes, onChip } = core.streams[stream];
    const index = core.next[stream];
    if (bytes[index] > 0) (onChip[index] ? core.sbuf : core.dram).join(this.#now, bytes[index], token);
    else this.#complete(core, stream);
  }

  run(): void {
    const { stages, staggerSeconds, requests } = this.#run;
    for (const core of this.cores) if (this.#isFirst(core)) this.#beginAt(core, (core.number / stages.length) * staggerSeconds);
    const last = this.lastCores;
    while (last.some((core) => core.ends.length < requests)) {
      let time = this.#events.time;
      let from: SharedBandwidth | undefined;
      for (const bandwidth of this.#bandwidths) {
        if (bandwidth.time >= time) continue;
        time = bandwidth.time;
        from = bandwidth;
      }
      if (time === Number.POSITIVE_INFINITY) throw new Error("the program's streams wait for each other");
      this.#now = time;
      if (!from) this.#event(this.#events.pop());
      else {
        const token = from.complete();
        this.#complete(this.cores[token % this.cores.length], Math.floor(token / this.cores.length));
      }
    }
  }
}
