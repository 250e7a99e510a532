/** When each buffer lives, in positions of a serial order of a program's steps: all of `load`, then `infer`. */
import type { LoweredBuffer, LoweredProgram, Step } from "../lower/lowered.js";
import { deviceBytes, reads } from "../program/program.js";

export interface Lifetimes {
  /** Position of a buffer's first use; `positions` where there is none. */
  readonly first: Int32Array;
  /** One after its last use; 0 where there is none. */
  readonly end: Int32Array;
  /** Written by `load`, and so alive for as long as the model is loaded. */
  readonly resident: Uint8Array;
  readonly positions: number;
}

/** Bytes of a DRAM buffer, or bytes in each partition of one on chip. */
export function loweredBytes(buffer: LoweredBuffer): number {
  const count = buffer.space === "dram" ? buffer.shape.reduce((product, extent) => product * extent, 1) : buffer.elements;
  return count * deviceBytes(buffer.dtype, buffer.space);
}

/** `infer` is the section's steps in the order to be run. PSUM does not outlive its section, so nothing in it is resident. */
export function findLifetimes(program: LoweredProgram, infer: readonly Step[], indexOf: ReadonlyMap<string, number>): Lifetimes {
  const positions = program.load.length + infer.length;
  const first = new Int32Array(program.buffers.length).fill(positions);
  const end = new Int32Array(program.buffers.length);
  const resident = new Uint8Array(program.buffers.length);
  let position = 0;
  const touch = (name: string) => {
    const buffer = indexOf.get(name);
    if (buffer === undefined) throw new Error(`a step uses buffer ${name}, which does not exist`);
    if (first[buffer] > position) first[buffer] = position;
    end[buffer] = position + 1;
    return buffer;
  };
  for (const steps of [program.load, infer]) {
    for (const { operation } of steps) {
      const out = touch(operation.out.buffer);
      if (steps === program.load && program.buffers[out].space !== "psum") resident[out] = 1;
      for (const access of reads(operation)) touch(access.buffer);
      position++;
    }
  }
  return { first, end, resident, positions };
}
