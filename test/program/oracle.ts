/**
 * Brute force over small programs of 16 and 32-bit elements, as the judge of the checker: memory place by place (2 bytes each), order by
 * reachability. It shares nothing with the checker but the program's types and the memories' sizes.
 */
import { hardware } from "../../src/hardware/hardware.js";
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

const sizes = {
  sbuf: { partitions: hardware.sbufPartitions, bytes: hardware.sbufBytesPerPartition },
  psum: { partitions: hardware.psumPartitions, bytes: hardware.psumBanks * hardware.psumBytesPerBank },
};

/** More places than any memory here has. */
const REGION = 1 << 26;

/** Where each memory begins in one long row of places; inputs and constants, which nobody writes, have none. */
function layOut(buffers: readonly Buffer[]): Map<string, number> {
  const outputs = buffers.filter((buffer) => buffer.space === "dram" && buffer.kind === "output").map(({ name }) => name);
  return new Map(["sbuf", "psum", "scratch", ...outputs].map((name, index) => [name, index * REGION]));
}

/** Where the written memories lie, and the partitions at which some access on chip begins or ends: between them all partitions fare alike. */
interface Layout {
  readonly begin: ReadonlyMap<string, number>;
  readonly partitions: readonly number[];
}

function layoutOf({ buffers, load, infer }: Program): Layout {
  const onChip = new Set(buffers.filter(({ space }) => space !== "dram").map(({ name }) => name));
  const edges = new Set<number>();
  for (const { operation } of [...load, ...infer].flatMap(({ instructions }) => instructions)) {
    for (const { buffer, partitionStart, partitionCount } of [...reads(operation), operation.out]) {
      if (onChip.has(buffer)) edges.add(partitionStart).add(partitionStart + partitionCount);
    }
  }
  return { begin: layOut(buffers), partitions: [...edges].sort((a, b) => a - b) };
}

/**
 * The places that an access touches, of a buffer that is written, on chip in the first of each run of partitions that fare alike;
 * undefined if it leaves the buffer.
 */
function places(access: Access, buffer: Buffer, { begin, partitions }: Layout): Set<number> | undefined {
  const bytes = deviceBytes(buffer.dtype, buffer.space);
  const onChip = buffer.space !== "dram";
  const elements = onChip ? buffer.elements : buffer.shape.reduce((a, b) => a * b, 1);
  if (onChip && access.partitionStart + access.partitionCount > buffer.partitions) return undefined;
  const memory = onChip ? buffer.space : buffer.kind === "scratch" ? "scratch" : buffer.name;
  let free = [0];
  for (const [axis, size] of access.sizes.entries()) {
    free = free.flatMap((offset) => Array.from({ length: size }, (_, k) => offset + k * access.strides[axis]));
  }
  const found = new Set<number>();
  const { partitionStart: start, partitionCount: count } = access;
  const rows = onChip ? partitions.filter((each) => each >= start && each < start + count) : Array.from({ length: count }, (_, k) => k);
  for (const partition of rows) {
    const first = access.offset + partition * access.partitionStride;
    const row = onChip ? partition * sizes[buffer.space].bytes : 0;
    for (const offset of free) {
      const element = first + offset;
      if (element < 0 || element >= elements) return undefined;
      const byte = row + buffer.address + element * bytes;
      for (let at = 0; at < bytes; at += 2) found.add(begin.get(memory)! + (byte + at) / 2);
    }
  }
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
  if (operation.kind === "transpose") {
    const source = operation.in;
    return freeCount(source) === out.partitionCount && source.partitionCount === freeCount(out);
  }
  if (operation.kind === "reduce") {
    const kept = operation.in.sizes.slice(0, -operation.axes).reduce((a, b) => a * b, 1);
    return operation.in.partitionCount === out.partitionCount && kept === freeCount(out);
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
function isBrokenSection(ran: readonly Ran[], buffers: ReadonlyMap<string, Buffer>, layout: Layout, memory: Memory): boolean {
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
      const touched = places(access, buffer, layout);
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
  for (const buffer of program.buffers) {
    if (buffer.space === "dram") continue;
    if (buffer.address + buffer.elements * deviceBytes(buffer.dtype, buffer.space) > sizes[buffer.space].bytes) return true;
  }
  const layout = layoutOf(program);
  const memory: Memory = { writer: new Map(), kept: new Set() };
  for (const section of ["load", "infer"] as const) {
    const ran = execute(program[section]);
    if (!ran || isBrokenSection(ran, buffers, layout, memory)) return true;
    if (section === "load") for (const place of memory.writer.keys()) memory.kept.add(place);
  }
  return program.buffers.some(({ name, ...buffer }) => {
    if (buffer.space !== "dram" || buffer.kind !== "output") return false;
    const first = layout.begin.get(name)!;
    const count = (buffer.shape.reduce((a, b) => a * b, 1) * deviceBytes(buffer.dtype, "dram")) / 2;
    return Array.from({ length: count }, (_, k) => first + k).some((place) => !memory.writer.has(place));
  });
}
