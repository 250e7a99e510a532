/** Semaphores: one for each stream, which counts those of its instructions that someone waits for. */
import type { Step } from "../lower/lowered.js";
import type { Engine, Instruction, Stream, Wait } from "../program/program.js";
import type { Dependencies, SerialSteps } from "./dependencies.js";

/**
 * The waits that are left when those that others imply are dropped: [stream, index within it] pairs for each step.
 * A step's clock says how much of each stream is known to be complete when it starts.
 */
function necessaryWaits(serial: SerialSteps, dependencies: Dependencies): (readonly [number, number])[][] {
  const { order, stream, streams } = serial;
  const { needs } = dependencies;
  const clocks = new Int32Array(order.length * streams);
  const current = Array.from({ length: streams }, () => new Int32Array(streams).fill(-1));
  const stepAt: number[][] = Array.from({ length: streams }, () => []);
  const waits = new Array<(readonly [number, number])[]>(order.length);
  for (const step of order) {
    const own = stream[step];
    const clock = current[own];
    const missing: number[] = [];
    for (let other = 0; other < streams; other++) {
      if (other !== own && needs[step * streams + other] > clock[other]) missing.push(other);
    }
    const clockOf = (other: number) => stepAt[other][needs[step * streams + other]] * streams;
    const kept = missing.filter(
      (other) => !missing.some((through) => through !== other && clocks[clockOf(through) + other] >= needs[step * streams + other]),
    );
    for (const other of kept) {
      const from = clockOf(other);
      for (let k = 0; k < streams; k++) clock[k] = Math.max(clock[k], clocks[from + k]);
    }
    waits[step] = kept.map((other) => [other, needs[step * streams + other]] as const);
    // The clock of a completed step includes itself.
    clock[own] = stepAt[own].push(step) - 1;
    clocks.set(clock, step * streams);
  }
  return waits;
}

/** The streams of a section. `engines` names stream s of the serial steps; a stream's semaphore has its number. */
export function synchronise(steps: readonly Step[], serial: SerialSteps, dependencies: Dependencies, engines: readonly Engine[]): Stream[] {
  const waits = necessaryWaits(serial, dependencies);
  const signals = engines.map(() => new Set<number>());
  for (const list of waits) for (const [stream, index] of list) signals[stream].add(index);
  const counts = signals.map((set) => new Map([...set].sort((a, b) => a - b).map((index, count) => [index, count + 1])));
  const instructions: Instruction[][] = engines.map(() => []);
  for (const step of serial.order) {
    const { operation, origin } = steps[step];
    const own = serial.stream[step];
    const list = waits[step].map(([stream, index]): Wait => ({ semaphore: stream, value: counts[stream].get(index)! }));
    const signalled = signals[own].has(dependencies.indexInStream[step]);
    instructions[own].push(signalled ? { operation, origin, waits: list, signal: own } : { operation, origin, waits: list });
  }
  return engines.map((engine, index) => ({ engine, instructions: instructions[index] }));
}
