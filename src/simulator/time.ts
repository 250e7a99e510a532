/**
 * The time model: event-driven, and independent of data. It knows programs and the machine's figures only.
 *
 * An engine starts an instruction when the one before it is complete and its waits hold. Compute instructions take the cycles of
 * `program/cost.ts`. A DMA takes its setup, then moves its bytes: the transfers of a chip that touch DRAM share its bandwidth fairly, each
 * at most as fast as one queue; transfers within SBUF share the core's own bandwidth.
 *
 * Requests. Semaphores start at 0 in each request, so that nothing orders one request's instructions against the next one's: a core starts
 * a request when it has completed the one before. In a pipeline, core c also waits for what core c - 1 gives for that request, and for core
 * c + 1 to have read what it gave two requests before. Between chips the values that any later stage reads pass a link. Copies of the
 * pipeline lie on cores one after the other and serve a request each; all cores of a chip share its DRAM. Latency is that of one request
 * to each copy; throughput is that of requests sent back to back, in the steady state, the copies' requests spread over time.
 */
import { linkSeconds } from "../hardware/cost.js";
import { type Hardware, hardware as inf1 } from "../hardware/hardware.js";
import { bufferBytes, type Program } from "../program/program.js";
import { type Core, Machine, type TimedStage, type TimedStream, type TimelineEntry, timedStream } from "./machine.js";

export type { TimelineEntry } from "./machine.js";

export interface TimeOptions {
  readonly hardware?: Hardware;
  /** Pipelines of these programs side by side; 1 if absent. */
  readonly copies?: number;
  /** Time for which a pipeline's first core is idle between two requests; 0 if absent. */
  readonly gapSeconds?: number;
  /** Also list when each instruction of a request sent alone ran. */
  readonly timeline?: boolean;
}

/** What one core of a pipeline does with a request. */
export interface StageTime {
  /** From its first instruction to its last, the request being alone on the machine. */
  readonly seconds: number;
  /** Seconds for which each engine is busy with a request that is alone. */
  readonly engines: Readonly<Record<string, number>>;
  /** Bytes from or to DRAM, as its bandwidth is charged for them. */
  readonly dramBytes: number;
  /** Bytes of the values that later stages read, which a link carries where a chip ends behind the stage. */
  readonly passedBytes: number;
  /** Share of the time for which it works on requests that are sent back to back, waits for DRAM included. */
  readonly utilisation: number;
}

export interface TimeReport {
  /** Of one request to each copy, links included: the time in which a pipeline fills. */
  readonly latencySeconds: number;
  /** Of all copies together. */
  readonly throughputPerSecond: number;
  /** By core of the first copy. */
  readonly stages: readonly StageTime[];
  readonly timeline?: readonly TimelineEntry[];
}

/** Requests over which throughput is taken, and those before them, after the pipeline is full. */
const STEADY_REQUESTS = 3;
const WARM_UP_REQUESTS = 2;

/** Requests a second of a core over `STEADY_REQUESTS`. */
function steadyRate(core: Core): number {
  const last = core.ends.length - 1;
  const seconds = core.ends[last] - core.ends[last - STEADY_REQUESTS];
  return seconds > 0 ? STEADY_REQUESTS / seconds : Number.POSITIVE_INFINITY;
}

/** Share of those requests' time in which the core worked on them. */
function steadyUse({ begins, ends }: Core): number {
  const last = ends.length - 1;
  const from = last - STEADY_REQUESTS;
  const busy = ends.slice(from + 1, last + 1).reduce((sum, end, index) => sum + end - begins[from + 1 + index], 0);
  return ends[last] > ends[from] ? busy / (ends[last] - ends[from]) : 1;
}

/** By stage: how many values, of how many bytes, the stages after it read of those before its end. */
function passedOn(programs: readonly Program[]): { count: number; bytes: number }[] {
  const buffers = programs.map((program) => program.buffers.flatMap((buffer) => (buffer.space === "dram" ? [buffer] : [])));
  return programs.map((_, stage) => {
    const read = new Set(buffers.slice(stage + 1).flatMap((list) => list.flatMap(({ kind, name }) => (kind === "input" ? [name] : []))));
    const given = buffers.slice(0, stage + 1).flatMap((list) => list.filter(({ kind, name }) => kind === "output" && read.has(name)));
    return { count: given.length, bytes: given.reduce((sum, buffer) => sum + bufferBytes(buffer), 0) };
  });
}

function dramBytes(streams: readonly TimedStream[]): number {
  return streams.reduce((sum, { bytes, onChip }) => sum + bytes.reduce((part, count, index) => part + (onChip[index] ? 0 : count), 0), 0);
}

/** Times the infer sections of a pipeline's programs, one to a core from core 0 on. Throws if a program's streams block each other. */
export function simulateTime(programs: readonly Program[], options: TimeOptions = {}): TimeReport {
  const { hardware = inf1, copies = 1, gapSeconds = 0, timeline = false } = options;
  const passed = passedOn(programs);
  const stages = programs.map((program, index): TimedStage => {
    const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
    const { count, bytes } = passed[index];
    return {
      streams: program.infer.map((stream) => timedStream(stream, buffers, hardware)),
      linkSeconds: linkSeconds(count, bytes, hardware),
    };
  });
  const run = { stages, copies, requests: 1, gapSeconds, staggerSeconds: 0, hardware, timeline };
  const alone = new Machine(run);
  alone.run();
  const latencySeconds = alone.cores.reduce((latest, core) => Math.max(latest, core.ends[0]), 0);
  let throughputPerSecond = 1 / (latencySeconds + gapSeconds);
  let utilisation = [latencySeconds * throughputPerSecond];
  if (programs.length * copies > 1) {
    const requests = programs.length + WARM_UP_REQUESTS + STEADY_REQUESTS;
    const streamed = new Machine({ ...run, requests, staggerSeconds: (latencySeconds + gapSeconds) / copies, timeline: false });
    streamed.run();
    throughputPerSecond = streamed.lastCores.reduce((sum, core) => sum + steadyRate(core), 0);
    utilisation = streamed.cores.map(steadyUse);
  }
  return {
    latencySeconds,
    throughputPerSecond,
    stages: alone.cores.slice(0, programs.length).map(({ begins, ends, streams, busy }, index) => ({
      seconds: ends[0] - begins[0],
      engines: Object.fromEntries(streams.map(({ engine }, stream) => [engine, busy[stream]])),
      dramBytes: dramBytes(streams),
      passedBytes: passed[index].bytes,
      utilisation: utilisation[index],
    })),
    ...(timeline ? { timeline: alone.timeline } : {}),
  };
}
