/**
 * The time model: event-driven, and independent of data. It knows programs and the machine's figures only.
 *
 * An engine starts an instruction when the one before it is complete and its waits hold. Compute instructions take the cycles of
 * `program/cost.ts`. A DMA takes its setup, then moves its bytes: the transfers of a chip that touch DRAM share its bandwidth fairly, each
 * at most as fast as one queue; transfers within SBUF share the core's own bandwidth.
 *
 * Requests. Semaphores start at 0 in each request, so that nothing orders one request's instructions against the next one's: a core starts
 * a request when it has completed the one before. In a pipeline, core c also waits for core c - 1 to complete that request. Copies of the
 * pipeline lie on cores one after the other and serve a request each; all cores of a chip share its DRAM. Latency is that of one request
 * to each copy; throughput is that of requests sent back to back, in the steady state, the copies' requests spread over time.
 */
import { type Hardware, hardware as inf1 } from "../hardware/hardware.js";
import { computeCycles, dmaCost } from "../program/cost.js";
import type { Buffer, Engine, Instruction, Operation, Program, Stream } from "../program/program.js";
import { EventQueue, SharedBandwidth } from "./events.js";

export interface TimeOptions {
  readonly hardware?: Hardware;
  /** Pipelines of these programs side by side; 1 if absent. */
  readonly copies?: number;
  /** Time for which a pipeline's first core is idle between two requests; 0 if absent. */
  readonly gapSeconds?: number;
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
  /** Of all copies together. */
  readonly throughputPerSecond: number;
  /** For each core of the first copy the seconds that each of its engines is busy with one request. */
  readonly engines: readonly Readonly<Record<string, number>>[];
  /** For each core of a copy the bytes that one request moves from or to DRAM, as its bandwidth is charged for them. */
  readonly dramBytes: readonly number[];
  readonly timeline?: readonly TimelineEntry[];
}

/** Requests over which throughput is taken, and those before (after the pipeline is full) and after them. */
const STEADY_REQUESTS = 3;
const WARM_UP_REQUESTS = 1;
const TRAILING_REQUESTS = 1;

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

/** What a machine is to do. */
interface Run {
  /** Stages of the pipeline. */
  readonly stages: readonly (readonly TimedStream[])[];
  readonly copies: number;
  readonly requests: number;
  readonly gapSeconds: number;
  /** How much later than the copy before it each copy starts. */
  readonly staggerSeconds: number;
  readonly hardware: Hardware;
  readonly timeline: boolean;
}

/** Runs a number of requests through each copy of a pipeline. */
class Machine {
  readonly cores: readonly Core[];
  readonly timeline: TimelineEntry[] = [];
  readonly #events = new EventQueue();
  readonly #bandwidths: readonly SharedBandwidth[];
  readonly #run: Run;
  #now = 0;

  constructor(run: Run) {
    const { hardware, stages, copies } = run;
    const count = stages.length * copies;
    const chips = Array.from(
      { length: Math.ceil(count / hardware.coresPerChip) },
      () => new SharedBandwidth(hardware.dramBandwidthPerChip, hardware.dmaBandwidthPerQueue),
    );
    this.cores = Array.from(
      { length: count },
      (_, index) => new Core(index, stages[index % stages.length], chips[Math.floor(index / hardware.coresPerChip)], hardware),
    );
    this.#bandwidths = [...chips, ...this.cores.map((core) => core.sbuf)];
    this.#run = run;
  }

  #isFirst(core: Core): boolean {
    return core.number % this.#run.stages.length === 0;
  }

  /** The cores that a pipeline's results come from, one a copy. */
  get lastCores(): Core[] {
    return this.cores.filter((_, index) => (index + 1) % this.#run.stages.length === 0);
  }

  /** Starts a core's next request if it may. */
  #begin(core: Core): void {
    if (core.left > 0 || core.ends.length >= this.#run.requests) return;
    if (!this.#isFirst(core) && this.cores[core.number - 1].ends.length <= core.ends.length) return;
    core.reset();
    if (core.left > 0) this.#startReady(core);
    else this.#end(core);
  }

  #end(core: Core): void {
    core.ends.push(this.#now);
    const after = this.cores[core.number + 1];
    if (after && !this.#isFirst(after)) this.#begin(after);
    if (this.#isFirst(core)) this.#beginAt(core, this.#now + this.#run.gapSeconds);
    else this.#begin(core);
  }

  /** Tokens below 0 are starts of requests. */
  #beginAt(core: Core, time: number): void {
    this.#events.push(time, -1 - core.number);
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

  /** What an event was: the start of a request, the end of an instruction, or of the setup of a DMA that now moves its bytes. */
  #event(token: number): void {
    if (token < 0) return this.#begin(this.cores[-1 - token]);
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
    if (this.cores.some((core) => core.ends.length < requests)) throw new Error("the program's streams wait for each other");
  }
}

/** Requests a second of a core over `STEADY_REQUESTS`. */
function steadyRate(core: Core): number {
  const last = core.ends.length - 1 - TRAILING_REQUESTS;
  const seconds = core.ends[last] - core.ends[last - STEADY_REQUESTS];
  return seconds > 0 ? STEADY_REQUESTS / seconds : Number.POSITIVE_INFINITY;
}

function dramBytes(streams: readonly TimedStream[]): number {
  return streams.reduce((sum, { bytes, onChip }) => sum + bytes.reduce((part, count, index) => part + (onChip[index] ? 0 : count), 0), 0);
}

/** Times the infer sections of a pipeline's programs, one to a core from core 0 on. Throws if a program's streams block each other. */
export function simulateTime(programs: readonly Program[], options: TimeOptions = {}): TimeReport {
  const { hardware = inf1, copies = 1, gapSeconds = 0, timeline = false } = options;
  const stages = programs.map((program) => {
    const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
    return program.infer.map((stream) => timedStream(stream, buffers, hardware));
  });
  const run = { stages, copies, requests: 1, gapSeconds, staggerSeconds: 0, hardware, timeline };
  const alone = new Machine(run);
  alone.run();
  const latencySeconds = alone.cores.reduce((latest, core) => Math.max(latest, core.ends[0]), 0);
  let throughputPerSecond = 1 / (latencySeconds + gapSeconds);
  if (programs.length * copies > 1) {
    const requests = programs.length + WARM_UP_REQUESTS + STEADY_REQUESTS + TRAILING_REQUESTS;
    const streamed = new Machine({ ...run, requests, staggerSeconds: (latencySeconds + gapSeconds) / copies, timeline: false });
    streamed.run();
    throughputPerSecond = streamed.lastCores.reduce((sum, core) => sum + steadyRate(core), 0);
  }
  const engines = alone.cores
    .slice(0, programs.length)
    .map((core) => Object.fromEntries(core.streams.map(({ engine }, index) => [engine, core.busy[index]])));
  return {
    latencySeconds,
    throughputPerSecond,
    engines,
    dramBytes: stages.map(dramBytes),
    ...(timeline ? { timeline: alone.timeline } : {}),
  };
}
