/**
 * The time model: event-driven, and independent of data. It knows programs and the machine's figures only.
 *
 * An engine starts an instruction when the one before it is complete and its waits hold. Compute instructions take the cycles of
 * `program/cost.ts`. A DMA takes its setup, then moves its bytes: the transfers of a chip that touch DRAM share its bandwidth fairly, each
 * at most as fast as one queue; transfers within SBUF share the core's own bandwidth.
 *
 * Requests. Semaphores start at 0 in each request, so that nothing orders one request's instructions against the next one's: a core starts
 * a request when it has completed the one before. In a pipeline, core c also waits for core c - 1 to complete that request. Latency is
 * that of a request alone; throughput is that of requests sent back to back, in the steady state, with all cores of a chip sharing its DRAM.
 */
import { type Hardware, hardware as inf1 } from "../hardware/hardware.js";
import { computeCycles, dmaCost } from "../program/cost.js";
import type { Buffer, Engine, Instruction, Operation, Program, Stream } from "../program/program.js";
import { EventQueue, SharedBandwidth } from "./events.js";

export interface TimeOptions {
  readonly hardware?: Hardware;
  /** How the programs work together: stages of one request (the default), or copies that serve a request each. */
  readonly arrangement?: "pipeline" | "replicas";
  /** Also list when each instruction of a request sent alone ran. */
  readonly timeline?: boolean;
}

export interface TimelineEntry {
  readonly core: number;
  readonly engine: Engine;
  /** Index in its stream. */
  readonly instruction: number;
  readonly startSeconds: number;
  readonly endSeconds: number;
}

export interface TimeReport {
  readonly latencySeconds: number;
  readonly throughputPerSecond: number;
  /** For each core the seconds that each of its engines is busy with one request sent alone. */
  readonly engines: readonly Readonly<Record<string, number>>[];
  readonly timeline?: readonly TimelineEntry[];
}

/** Requests over which throughput is taken, after the pipeline is full. */
const STEADY_REQUESTS = 3;

/** A stream with its costs worked out. */
interface TimedStream {
  readonly engine: Engine;
  readonly instructions: readonly Instruction[];
  /** Seconds of computing, or of a DMA's setup. */
  readonly seconds: Float64Array;
  /** Bytes to move after that; 0 for compute. */
  readonly bytes: Float64Array;
  /** 1 where the bytes stay in SBUF. */
  readonly onChip: Uint8Array;
}

function timedStream({ engine, instructions }: Stream, buffers: ReadonlyMap<string, Buffer>, hardware: Hardware): TimedStream {
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
class Core {
  readonly next: Int32Array;
  readonly running: Uint8Array;
  readonly started: Float64Array;
  readonly busy: Float64Array;
  readonly semaphores: Int32Array;
  readonly sbuf: SharedBandwidth;
  /** Instructions of the current request that are not complete; 0 between requests. */
  left = 0;
  /** When each request was complete. */
  readonly ends: number[] = [];

  constructor(
    readonly number: number,
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

/** Runs a number of requests through the cores. */
class Machine {
  readonly cores: readonly Core[];
  readonly timeline: TimelineEntry[] = [];
  readonly #events = new EventQueue();
  readonly #bandwidths: readonly SharedBandwidth[];
  readonly #pipeline: boolean;
  readonly #requests: number;
  readonly #keepTimeline: boolean;
  #now = 0;

  constructor(
    programs: readonly (readonly TimedStream[])[],
    requests: number,
    pipeline: boolean,
    hardware: Hardware,
    keepTimeline: boolean,
  ) {
    const chips = Array.from(
      { length: Math.ceil(programs.length / hardware.coresPerChip) },
      () => new SharedBandwidth(hardware.dramBandwidthPerChip, hardware.dmaBandwidthPerQueue),
    );
    this.cores = programs.map((streams, index) => new Core(index, streams, chips[Math.floor(index / hardware.coresPerChip)], hardware));
    this.#bandwidths = [...chips, ...this.cores.map((core) => core.sbuf)];
    this.#pipeline = pipeline;
    this.#requests = requests;
    this.#keepTimeline = keepTimeline;
  }

  /** Starts a core's next request if it may. An empty program completes at once. */
  #begin(core: Core): void {
    while (core.left === 0 && core.ends.length < this.#requests) {
      const before = this.#pipeline && core.number > 0 ? this.cores[core.number - 1] : undefined;
      if (before && before.ends.length <= core.ends.length) return;
      core.reset();
      if (core.left > 0) this.#startReady(core);
      else this.#end(core);
    }
  }

  #end(core: Core): void {
    core.ends.push(this.#now);
    const after = this.#pipeline ? this.cores[core.number + 1] : undefined;
    if (after) this.#begin(after);
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
    if (this.#keepTimeline) {
      this.timeline.push({ core: core.number, engine, instruction: index, startSeconds: core.started[stream], endSeconds: this.#now });
    }
    if (core.left === 0) {
      this.#end(core);
      this.#begin(core);
    } else this.#startReady(core);
  }

  /** What an event was: the end of an instruction, or of the setup of a DMA that now moves its bytes. */
  #event(token: number): void {
    const core = this.cores[token % this.cores.length];
    const stream = Math.floor(token / this.cores.length);
    const { bytes, onChip } = core.streams[stream];
    const index = core.next[stream];
    if (bytes[index] > 0) (onChip[index] ? core.sbuf : core.dram).join(this.#now, bytes[index], token);
    else this.#complete(core, stream);
  }

  run(): void {
    for (const core of this.cores) this.#begin(core);
    for (;;) {
      let time = this.#events.time;
      let from: SharedBandwidth | undefined;
      for (const bandwidth of this.#bandwidths) {
        if (bandwidth.time >= time) continue;
        time = bandwidth.time;
        from = bandwidth;
      }
      if (time === Number.POSITIVE_INFINITY) break;
      this.#now = time;
      if (!from) this.#event(this.#events.pop());
      else {
        const token = from.complete();
        this.#complete(this.cores[token % this.cores.length], Math.floor(token / this.cores.length));
      }
    }
    if (this.cores.some((core) => core.ends.length < this.#requests)) throw new Error("the program's streams wait for each other");
  }
}

/** Requests a second over the last `STEADY_REQUESTS` of a core. */
function steadyRate(core: Core): number {
  const last = core.ends.length - 1;
  const seconds = core.ends[last] - core.ends[last - STEADY_REQUESTS];
  return seconds > 0 ? STEADY_REQUESTS / seconds : Number.POSITIVE_INFINITY;
}

/** Times the infer sections of programs, one to a core from core 0 on. Throws if a program's streams block each other. */
export function simulateTime(programs: readonly Program[], options: TimeOptions = {}): TimeReport {
  const hardware = options.hardware ?? inf1;
  const pipeline = options.arrangement !== "replicas";
  const timed = programs.map((program) => {
    const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
    return program.infer.map((stream) => timedStream(stream, buffers, hardware));
  });
  const alone = new Machine(timed, 1, pipeline, hardware, options.timeline === true);
  alone.run();
  const latencySeconds = alone.cores.reduce((latest, core) => Math.max(latest, core.ends[0]), 0);
  let throughputPerSecond = 1 / latencySeconds;
  if (programs.length > 1) {
    const streamed = new Machine(timed, programs.length + STEADY_REQUESTS, pipeline, hardware, false);
    streamed.run();
    const counted = pipeline ? streamed.cores.slice(-1) : streamed.cores;
    throughputPerSecond = counted.reduce((sum, core) => sum + steadyRate(core), 0);
  }
  const engines = alone.cores.map((core) => Object.fromEntries(core.streams.map(({ engine }, index) => [engine, core.busy[index]])));
  return { latencySeconds, throughputPerSecond, engines, ...(options.timeline ? { timeline: alone.timeline } : {}) };
}
