/** One legal serial order of a program's streams. */
import type { Instruction, Stream } from "../program/program.js";

/**
 * The streams' instructions in an order that every stream's own order and every semaphore allow: each stream in turn runs until it
 * has to wait. Deterministic. Throws when the streams wait for each other for ever.
 */
export function serialOrder(streams: readonly Stream[]): Instruction[] {
  const order: Instruction[] = [];
  const semaphores = new Map<number, number>();
  const next = streams.map(() => 0);
  const total = streams.reduce((sum, stream) => sum + stream.instructions.length, 0);
  const ready = (instruction: Instruction) => instruction.waits.every((wait) => (semaphores.get(wait.semaphore) ?? 0) >= wait.value);
  while (order.length < total) {
    const before = order.length;
    streams.forEach((stream, index) => {
      while (next[index] < stream.instructions.length && ready(stream.instructions[next[index]])) {
        const instruction = stream.instructions[next[index]++];
        order.push(instruction);
        if (instruction.signal !== undefined) semaphores.set(instruction.signal, (semaphores.get(instruction.signal) ?? 0) + 1);
      }
    });
    if (order.length === before) {
      const stuck = streams.filter((stream, index) => next[index] < stream.instructions.length).map((stream) => stream.engine);
      throw new Error(`deadlock: ${stuck.join(", ")} wait for semaphores that nothing will signal`);
    }
  }
  return order;
}
