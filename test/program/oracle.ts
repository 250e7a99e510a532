/**
 * Brute force over small programs, as the judge of the checker: memory element by element, order by reachability. It shares nothing with
 * the checker but the program's types. All accesses of a sample start at partition 0, so that a memory is one row of bytes.
 */
import {
  type Access,
  type Buffer,
  deviceBytes,
  freeCount,
  type Instruction,
  type Operation,
  type Program,
  reads,
} from "../../src/program/program.js";

/** Where each memory begins in one long row of 2-byte places; inputs and constants, which nobody writes, have none. */
function layOut(buffers: readonly Buffer[]): Map<string, number> {
  const begin = new Map<string, number>([
    ["sbuf", 0],
    ["psum", 100_000],
    ["scratch", 110_000],
  ]);
  let next = 400_000;
  for (const buffer of buffers) {
    if (buffer.space !== "dram" || buffer.kind !== "output") continue;
    begin.set(buffer.name, next);
    next += 100_000;
  }
  return begin;
}

/** The places that an access touches, of a buffer that is written; undefined if it leaves the buffer. */
function places(access: Access, buffer: Buffer, begin: ReadonlyMap<string, number>): Set<number> | undefined {
  const bytes = deviceBytes(buffer.dtype, buffer.space);
  const elements = buffer.space === "dram" ? buffer.shape.reduce((a, b) => a * b, 1) : buffer.elements;
  const dims = access.sizes.map((size, axis) => [size, access.strides[axis]]);
  if (buffer.space === "dram") dims.unshift([access.partitionCount, access.partitionStride]);
  else if (access.partitionStart !== 0) throw new Error("the oracle sees accesses from partition 0 on only");
  let offsets = [access.offset];
  for (const [size, stride] of dims) offsets = offsets.flatMap((offset) => Array.from({ length: size }, (_, k) => offset + k * stride));
  if (offsets.some((offset) => offset < 0 || offset >= elements)) return undefined;
  const memory = buffer.space !== "dram" ? buffer.space : buffer.kind === "scratch" ? "scratch" : buffer.name;
  const first = begin.get(memory)! + (memory === buffer.name ? 0 : buffer.address / 2);
  const found = new Set<number>();
  for (const offset of offsets) for (let byte = 0; byte < bytes; byte += 2) found.add(first + (offset * bytes + byte) / 2);
  return found;
}

interface Ran {
  readonly instruction: Instruction;
  /** Instructions certain to be complete before this one starts. */
  readonly before: Uint8Array;
}

/** Instructions of a section in a possible order with what precedes each; undefined on a deadlock. One stream signals a semaphore. */
function execute(streams: Program["infer"]): Ran[] | undefined {
  const total = streams.reduce((sum, { instructions }) => sum + instructions.length, 0);
  const next = streams.map(() => 0);
  const last: (number | undefined)[] = streams.map(() => undefined);
  const signals = new Map<number, number[]>();
  const ran: Ran[] = [];
  for (let progress = true; progress; ) {
    progress = false;
    for (const [stream, { instructions }] of streams.entries()) {
      const instruction = instructions[next[stream]];
      if (!instruction?.waits.every(({ semaphore, value }) => (signals.get(semaphore)?.length ?? 0) >= value)) continue;
      const before = new Uint8Array(total);
      const waited = instruction.waits.filter(({ value }) => value > 0).map(({ semaphore, value }) => signals.get(semaphore)![value - 1]);
      for (const from of [...waited, ...(last[stream] === undefined ? [] : [last[stream]])]) {
        before[from] = 1;
        for (let k = 0; k < total; k++) before[k] |= ran[from].before[k];
      }
      last[stream] = ran.push({ instruction, before }) - 1;
      next[stream]++;
      if (instruction.signal !== undefined) {
        const list = signals.get(instruction.signal) ?? [];
        signals.set(instruction.signal, [...list, ran.length - 1]);
      }
      progress = true;
    }
  }
  return ran.length === total ? ran : undefined;
}

/** Whether an operation's operands have the extents that it needs. */
function fitsTogether(operation: Operation): boolean {
  const { out } = operation;
  if (operation.kind === "matmul") {
    const { stationary, moving } = operation;
    return (
      stationary.partitionCount === moving.partitionCount &&
      freeCount(stationary) === out.partitionCount &&
      freeCount(moving) === freeCount(out)
    );
  }
  const total = (access: Access) => access.partitionCount * freeCount(access);
  if (operation.kind === "dma") return total(out) === total(operation.in);
  return reads(operation).every(
    (access) => access.partitionCount === out.partitionCount && [1, freeCount(out)].includes(freeCount(access)),
  );
}

/** What was last written to each place, and which places are kept for good. */
interface Memory {
  readonly writer: Map<number, string>;
  readonly kept: Set<number>;
}

/** Whether a section lets two conflicting accesses run in either order, or reads what its buffer was not given, or writes what is kept. */
function isBrokenSection(
  ran: readonly Ran[],
  buffers: ReadonlyMap<string, Buffer>,
  begin: ReadonlyMap<string, number>,
  memory: Memory,
): boolean {
  const touches = new Map<number, { by: number; write: boolean }[]>();
  for (const [by, { instruction, before }] of ran.entries()) {
    const { operation } = instruction;
    if (!fitsTogether(operation)) return true;
    for (const access of [...reads(operation), operation.out]) {
      const buffer = buffers.get(access.buffer)!;
      const write = access === operation.out;
      if (buffer.space === "dram" && (buffer.kind === "input" || buffer.kind === "constant")) {
        if (write) return true;
        const last = access.sizes.reduce((sum, size, axis) => sum + (size - 1) * access.strides[axis], access.offset);
        const end = last + (access.partitionCount - 1) * access.partitionStride;
        if (access.offset < 0 || end >= buffer.shape.reduce((a, b) => a * b, 1)) return true;
        continue;
      }
      const touched = places(access, buffer, begin);
      if (!touched) return true;
      for (const place of touched) {
        if (!write && memory.writer.get(place) !== access.buffer) return true;
        if (write && memory.kept.has(place)) return true;
        if (write) memory.writer.set(place, access.buffer);
        const earlier = touches.get(place) ?? [];
        if (earlier.some((other) => other.by !== by && (other.write || write) && !before[other.by])) return true;
        if (earlier.at(-1)?.by !== by || write) earlier.push({ by, write });
        touches.set(place, earlier);
      }
    }
  }
  return false;
}

/** Whether the program is wrong in what it orders or where it writes: some order of execution would give other results, or it never ends. */
export function isBroken(program: Program): boolean {
  const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
  const limits = { sbuf: 98304, psum: 8192 };
  for (const buffer of program.buffers) {
    if (buffer.space === "dram") continue;
    if (buffer.address + buffer.elements * deviceBytes(buffer.dtype, buffer.space) > limits[buffer.space]) return true;
  }
  const begin = layOut(program.buffers);
  const memory: Memory = { writer: new Map(), kept: new Set() };
  for (const section of ["load", "infer"] as const) {
    const ran = execute(program[section]);
    if (!ran || isBrokenSection(ran, buffers, begin, memory)) return true;
    if (section === "load") for (const place of memory.writer.keys()) memory.kept.add(place);
  }
  return program.buffers.some(({ name, ...buffer }) => {
    if (buffer.space !== "dram" || buffer.kind !== "output") return false;
    const first = begin.get(name)!;
    const count = (buffer.shape.reduce((a, b) => a * b, 1) * deviceBytes(buffer.dtype, "dram")) / 2;
    return Array.from({ length: count }, (_, k) => first + k).some((place) => !memory.writer.has(place));
  });
}
