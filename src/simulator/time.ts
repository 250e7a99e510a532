/**
 * The time model: event-driven, and independent of data. It knows programs and the machine's figures only.
 *
 * An engine starts an instruction when the one before it is complete and its waits hold. Compute instructions take the cycles of
 * `program/cost.ts`. A DMA takes its setup, then moves its bytes: the transfers of a chip that touch DRAM share its bandwidth fairly, each
 * at most as fast as one queue; transfers within SBUF share the core's own bandwidth.
 *
 * Requests. Semaphores start at 0 in each request, so that nothing orders one request's instructions against the next one's: a core starts
 * a request when it has completed the one before. In a pipeline, core c also waits for what core c - 1 gives for that request, and for core
 * c + 1 to have read what it gave two requests before. Between chips the values that any later stage reads pass a link. A model's Neuron subgraphs
 * lie on cores one after the other and serve each request in that order, as if the host between them took no time; copies of the model begin at
 * cores of their own and serve a request each; all cores of a chip share its DRAM. Latency is that of one request to each copy; throughput is that
 * of requests sent back to back, in the steady state, the copies' requests spread over time.
 */

import { type Hardware, hardware as inf1 } from "../hardware/hardware.js";
import { linkSeconds } from "../hardware/link.js";
import { firstCores } from "../program/placement.js";
import { bufferBytes, type Program } from "../program/program.js";
import { type Core, Machine, type TimedStage, type TimedStream, type TimelineEntry, timedStream } from "./machine.js";

export type { TimelineEntry } from "./machine.js";

export interface TimeOptions {
  readonly hardware?: Hardware;
  /** Where each copy of the model begins; one at core 0 if absent. */
  readonly copies?: readonly number[];
  /** Time for which a subgraph's first core is idle between two requests; 0 if absent. */
  readonly gapSeconds?: number;
  /** Also list when each instruction of a request sent alone ran. */
  readonly timeline?: boolean;
}

/** What one core does with a request. */
export interface StageTime {
  /** From its first instruction to its last, the request being alone on the machine. */
  readonly seconds: number;
  /** The same of requests that are sent back to back. */
  readonly streamedSeconds: number;
  /** Seconds for which each engine is busy with a request that is alone. */
  readonly engines: Readonly<Record<string, number>>;
  /** Bytes from or to DRAM, as its bandwidth is charged for them. */
  readonly dramBytes: number;
  /** Bytes of the values that later stages read, which a link carries where a chip ends behind the stage. */
  readonly passedBytes: number;
  /** Share of the time for which it works on requests that are sent back to back, waits for DRAM included. */
  readonly utilisation: number;
}

/** A Neuron subgraph of the first copy. */
export interface SubgraphTime {
  /** Of one request to each copy, links included: the time in which its pipeline fills. */
  readonly latencySeconds: number;
  /** What its slowest core could take of the requests that are sent back to back, if it waited for no other. */
  readonly throughputPerSecond: number;
  readonly stages: readonly StageTime[];
}

export interface TimeReport {
  /** Of one request to each copy, through all subgraphs. */
  readonly latencySeconds: number;
  /** Of all copies together. */
  readonly throughputPerSecond: number;
  readonly subgraphs: readonly SubgraphTime[];
  readonly timeline?: readonly TimelineEntry[];
}

/** Requests over which throughput is taken, and those before them, after the pipeline is full. */
const STEADY_REQUESTS = 3;
const WARM_UP_REQUESTS = 2;

/** Requests a second of a core over `STEADY_REQUESTS`. */
function steadyRate({ ends }: Core): number {
  const last = ends.length - 1;
  const seconds = ends[last] - ends[last - STEADY_REQUESTS];
  return seconds > 0 ? STEADY_REQUESTS / seconds : Number.POSITIVE_INFINITY;
}

/** What the core took for each of those requests, in the mean. */
function steadySeconds({ begins, ends }: Core): number {
  const from = ends.length - STEADY_REQUESTS;
  return ends.slice(from).reduce((sum, end, index) => sum + end - begins[from + index], 0) / STEADY_REQUESTS;
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

/** A model's stages, those of all its subgraphs in a row. */
function timedStages(subgraphs: readonly (readonly Program[])[], hardware: Hardware) {
  return subgraphs.flatMap((programs) => {
    const passed = passedOn(programs);
    return programs.map((program, index): TimedStage & { readonly passedBytes: number } => {
      const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
      const { count, bytes } = passed[index];
      return {
        fromHost: index === 0,
        streams: program.infer.map((stream) => timedStream(stream, buffers, hardware)),
        linkSeconds: linkSeconds(count, bytes, hardware),
        passedBytes: bytes,
      };
    });
  });
}

/**
 * Times the infer sections of a model: of each Neuron subgraph, in the order in which they run, the program of each stage. Throws if a program's
 * streams block each other.
 */
export function simulateTime(subgraphs: readonly (readonly Program[])[], options: TimeOptions = {}): TimeReport {
  const { hardware = inf1, copies = [0], gapSeconds = 0, timeline = false } = options;
  const stages = timedStages(subgraphs, hardware);
  const run = { stages, copies, requests: 1, gapSeconds, staggerSeconds: 0, hardware, timeline };
  const alone = new Machine(run);
  alone.run();
  const latencySeconds = alone.lastCores.reduce((latest, core) => Math.max(latest, core.ends[0]), 0);
  const period = latencySeconds + gapSeconds;
  const requests = stages.length + WARM_UP_REQUESTS + STEADY_REQUESTS;
  const stream = { ...run, requests, staggerSeconds: period / copies.length, timeline: false };
  // A core that is alone takes each request as it took the first.
  const streamed = stages.length * copies.length > 1 ? new Machine(stream) : undefined;
  streamed?.run();
  const throughputPerSecond = streamed ? streamed.lastCores.reduce((sum, core) => sum + steadyRate(core), 0) : 1 / period;
  const stageTimes = stages.map(({ passedBytes }, index): StageTime => {
    const { begins, ends, streams, busy } = alone.cores[index];
    const seconds = ends[0] - begins[0];
    const streamedSeconds = streamed ? steadySeconds(streamed.cores[index]) : seconds;
    return {
      seconds,
      streamedSeconds,
      engines: Object.fromEntries(streams.map(({ engine }, stream) => [engine, busy[stream]])),
      dramBytes: dramBytes(streams),
      passedBytes,
      utilisation: (streamedSeconds * throughputPerSecond) / copies.length,
    };
  });
  const starts = firstCores(subgraphs.map((programs) => programs.length));
  return {
    latencySeconds,
    throughputPerSecond,
    subgraphs: subgraphs.map(({ length }, index): SubgraphTime => {
      const [first, after] = [starts[index], starts[index] + length];
      const own = stageTimes.slice(first, after);
      return {
        latencySeconds: alone.cores[after - 1].ends[0] - alone.cores[first].begins[0],
        throughputPerSecond: 1 / Math.max(...own.map(({ streamedSeconds }) => streamedSeconds)),
        stages: own,
      };
    }),
    ...(timeline ? { timeline: alone.timeline } : {}),
  };
}
