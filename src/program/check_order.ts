/** Which instruction of a section is certain to be complete before which other starts: vector clocks over streams and semaphores. */
import type { Hardware } from "../hardware/hardware.js";
import type { Faults } from "./check.js";
import type { Instruction, Stream } from "./program.js";

export interface SectionOrder {
  readonly section: "load" | "infer";
  readonly streams: readonly Stream[];
  /** Every instruction in one possible order of execution: its stream, and its index there. */
  readonly stream: Int32Array;
  readonly index: Int32Array;
  /**
   * `clocks[n * streams.length + t]`: how many instructions of stream t are certain to be complete before the n-th instruction of that
   * order starts. Its own stream counts those before it.
   */
  readonly clocks: Int32Array;
}

/** Signals of one semaphore: for each stream that gives any, which instructions did so, in order. */
class Semaphores {
  /** given[semaphore][stream]: places in the order of execution of the signals so far. */
  readonly #given: number[][][];
  /** How many signals a stream gives in all. */
  readonly #total: number[][];
  readonly #streams: number;
  readonly count: Int32Array;

  constructor(streams: readonly Stream[], semaphores: number) {
    this.#streams = streams.length;
    this.#given = Array.from({ length: semaphores }, () => streams.map(() => []));
    this.#total = Array.from({ length: semaphores }, () => streams.map(() => 0));
    this.count = new Int32Array(semaphores);
    for (const [stream, { instructions }] of streams.entries()) {
      for (const { signal } of instructions) if (signal !== undefined) this.#total[signal][stream]++;
    }
  }

  give(semaphore: number, stream: number, place: number): void {
    this.#given[semaphore][stream].push(place);
    this.count[semaphore]++;
  }

  /**
   * Places of the signals that are certain when `semaphore` has reached `value`: of a stream at least `value` less all that the other
   * streams could have given. Only the last of each stream: its clock covers those before it.
   */
  certain(semaphore: number, value: number): number[] {
    const all = this.#total[semaphore].reduce((sum, count) => sum + count, 0);
    const places: number[] = [];
    for (let stream = 0; stream < this.#streams; stream++) {
      const least = value - (all - this.#total[semaphore][stream]);
      if (least > 0 && this.#given[semaphore][stream].length >= least) places.push(this.#given[semaphore][stream][least - 1]);
    }
    return places;
  }
}

/** Runs the semaphores; undefined where the streams block each other, which is reported. */
export function orderSection(
  section: "load" | "infer",
  streams: readonly Stream[],
  hardware: Hardware,
  faults: Faults,
): SectionOrder | undefined {
  const total = streams.reduce((sum, { instructions }) => sum + instructions.length, 0);
  const order: SectionOrder = {
    section,
    streams,
    stream: new Int32Array(total),
    index: new Int32Array(total),
    clocks: new Int32Array(total * streams.length),
  };
  const semaphores = new Semaphores(streams, hardware.semaphores);
  const next = new Int32Array(streams.length);
  const current = streams.map(() => new Int32Array(streams.length));
  const ready = (instruction: Instruction) => instruction.waits.every(({ semaphore, value }) => semaphores.count[semaphore] >= value);
  let place = 0;
  const run = (stream: number, instruction: Instruction) => {
    const clock = current[stream];
    for (const { semaphore, value } of instruction.waits) {
      for (const from of semaphores.certain(semaphore, value)) {
        for (let other = 0; other < streams.length; other++) {
          clock[other] = Math.max(clock[other], order.clocks[from * streams.length + other]);
        }
        clock[order.stream[from]] = Math.max(clock[order.stream[from]], order.index[from] + 1);
      }
    }
    order.stream[place] = stream;
    order.index[place] = next[stream];
    order.clocks.set(clock, place * streams.length);
    clock[stream] = ++next[stream];
    if (instruction.signal !== undefined) semaphores.give(instruction.signal, stream, place);
    place++;
  };
  for (let progress = true; progress; ) {
    progress = false;
    for (const [stream, { instructions }] of streams.entries()) {
      while (next[stream] < instructions.length && ready(instructions[next[stream]])) {
        run(stream, instructions[next[stream]]);
        progress = true;
      }
    }
  }
  if (place === total) return order;
  for (const [stream, { engine, instructions }] of streams.entries()) {
    if (next[stream] === instructions.length) continue;
    const stuck = instructions[next[stream]].waits.filter(({ semaphore, value }) => semaphores.count[semaphore] < value);
    const list = stuck.map(
      ({ semaphore, value }) => `semaphore ${semaphore} to reach ${value} (it stays at ${semaphores.count[semaphore]})`,
    );
    faults.add({ message: `waits for ever for ${list.join(", ")}`, section, stream: engine, instruction: next[stream] });
  }
  return undefined;
}
