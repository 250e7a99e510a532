/** The rules that an instruction or a buffer can break by itself: operand shapes, types, limits of the machine, bounds. */
import type { Hardware } from "../hardware/hardware.js";
import {
  type Access,
  type Buffer,
  bufferBytes,
  deviceBytes,
  type Engine,
  freeCount,
  type Instruction,
  type Matmul,
  type Operation,
  type Reduce,
  reads,
  type Scalar,
  type Transpose,
} from "./program.js";

type Report = (message: string) => void;

function elementsOf(buffer: Buffer): number {
  return buffer.space === "dram" ? buffer.shape.reduce((product, extent) => product * extent, 1) : buffer.elements;
}

/** Names are unique, and each buffer on chip is inside its memory. */
export function checkBuffers(buffers: readonly Buffer[], hardware: Hardware, report: Report): void {
  const names = new Set<string>();
  const limits = {
    sbuf: { partitions: hardware.sbufPartitions, bytes: hardware.sbufBytesPerPartition },
    psum: { partitions: hardware.psumPartitions, bytes: hardware.psumBanks * hardware.psumBytesPerBank },
  };
  let bound = 0;
  let scratch = 0;
  for (const buffer of buffers) {
    const { name, space, address } = buffer;
    const bytes = bufferBytes(buffer);
    if (names.has(name)) report(`two buffers are named ${name}`);
    names.add(name);
    if (!Number.isSafeInteger(address) || address < 0) report(`buffer ${name} has address ${address}`);
    if (address % deviceBytes(buffer.dtype, space) !== 0) report(`buffer ${name} at ${address} is not aligned to its elements`);
    if (space === "dram") {
      if (buffer.kind === "scratch") scratch = Math.max(scratch, address + bytes);
      else bound += bytes;
      continue;
    }
    const limit = limits[space];
    if (buffer.partitions < 1 || buffer.partitions > limit.partitions) {
      report(`buffer ${name} has ${buffer.partitions} partitions; ${space} has ${limit.partitions}`);
    }
    if (address + bytes > limit.bytes) report(`buffer ${name} ends at byte ${address + bytes} of a partition; ${space} has ${limit.bytes}`);
  }
  if (bound + scratch > hardware.dramBytesPerChip) report(`the DRAM buffers take ${bound + scratch} bytes of ${hardware.dramBytesPerChip}`);
}

/** Lowest and highest element offset of an access. */
function range(access: Access): { low: number; high: number } {
  let low = access.offset;
  let high = access.offset;
  const add = (size: number, stride: number) => {
    if (stride < 0) low += (size - 1) * stride;
    else high += (size - 1) * stride;
  };
  for (let axis = 0; axis < access.sizes.length; axis++) add(access.sizes[axis], access.strides[axis]);
  add(access.partitionCount, access.partitionStride);
  return { low, high };
}

function describe(access: Access): string {
  return `${access.buffer}[${access.partitionStart}+${access.partitionCount}, offset ${access.offset}, sizes ${access.sizes.join("x")}]`;
}

/** The access names a buffer and stays inside it. */
function checkAccess(
  access: Access,
  buffers: ReadonlyMap<string, Buffer>,
  { accessDimensions: dimensions }: Hardware,
  report: Report,
): void {
  const { partitionStart, partitionCount, partitionStride, sizes, strides } = access;
  const buffer = buffers.get(access.buffer);
  if (!buffer) {
    report(`there is no buffer ${access.buffer}`);
    return;
  }
  if (sizes.length !== strides.length) {
    report(`${describe(access)} has ${strides.length} strides`);
    return;
  }
  if (sizes.length > dimensions) report(`${describe(access)} has more than ${dimensions} free dimensions`);
  const whole = [partitionStart, partitionCount, partitionStride, access.offset, ...sizes, ...strides];
  if (!whole.every(Number.isSafeInteger)) {
    report(`${describe(access)} has a figure that is not an integer`);
    return;
  }
  if (partitionCount < 1 || sizes.some((size) => size < 1)) {
    report(`${describe(access)} is empty`);
    return;
  }
  if (buffer.space === "dram") {
    if (partitionStart !== 0) report(`${describe(access)}: an access to DRAM starts at partition 0`);
  } else {
    if (partitionStride !== 0) report(`${describe(access)} has a partition stride on chip`);
    if (partitionStart < 0 || partitionStart + partitionCount > buffer.partitions) {
      report(`${describe(access)} leaves the ${buffer.partitions} partitions of its buffer`);
    }
  }
  const { low, high } = range(access);
  if (low < 0 || high >= elementsOf(buffer)) report(`${describe(access)} leaves the ${elementsOf(buffer)} elements of its buffer`);
}

/** A write touches each of its elements once: strides that fold elements onto each other are refused. */
function checkWrite(access: Access, buffer: Buffer, report: Report): void {
  const dims = access.sizes.map((size, axis) => ({ size, stride: Math.abs(access.strides[axis]) }));
  if (buffer.space === "dram") dims.push({ size: access.partitionCount, stride: Math.abs(access.partitionStride) });
  const real = dims.filter(({ size }) => size > 1).sort((a, b) => a.stride - b.stride);
  let reach = 0;
  for (const { size, stride } of real) {
    if (stride <= reach) {
      report(`${describe(access)} writes an element twice`);
      return;
    }
    reach += (size - 1) * stride;
  }
  if (buffer.space === "dram" && (buffer.kind === "input" || buffer.kind === "constant"))
    report(`${describe(access)} writes ${buffer.kind} DRAM`);
}

/** What the rules below need of an operand. */
interface Operand {
  readonly access: Access;
  readonly buffer: Buffer;
}

class Rules {
  readonly #buffers: ReadonlyMap<string, Buffer>;
  readonly #hardware: Hardware;
  readonly #report: Report;

  constructor(buffers: ReadonlyMap<string, Buffer>, hardware: Hardware, report: Report) {
    this.#buffers = buffers;
    this.#hardware = hardware;
    this.#report = report;
  }

  #operand(access: Access): Operand {
    return { access, buffer: this.#buffers.get(access.buffer)! };
  }

  #require(holds: boolean, message: string): void {
    if (!holds) this.#report(message);
  }

  #atMost(value: number, limit: number, what: string): void {
    this.#require(value <= limit, `${what} is ${value}, at most ${limit} is possible`);
  }

  #equal(a: number, b: number, what: string): void {
    this.#require(a === b, `${what} differ: ${a} and ${b}`);
  }

  /** In PSUM, and within one bank. */
  #inBank({ access, buffer }: Operand): void {
    if (buffer.space !== "psum") {
      this.#report(`the result goes to ${buffer.space}, not to PSUM`);
      return;
    }
    const { low, high } = range(access);
    const bytes = deviceBytes(buffer.dtype, "psum");
    const bank = (byte: number) => Math.floor((buffer.address + byte) / this.#hardware.psumBytesPerBank);
    this.#require(bank(low * bytes) === bank(high * bytes + bytes - 1), `${describe(access)} crosses a PSUM bank`);
  }

  #inSbuf({ access, buffer }: Operand): void {
    this.#require(buffer.space === "sbuf", `${describe(access)} is in ${buffer.space}, not in SBUF`);
  }

  matmul(operation: Matmul): void {
    const [out, stationary, moving] = [operation.out, operation.stationary, operation.moving].map((access) => this.#operand(access));
    this.#inBank(out);
    this.#require(out.buffer.dtype === "float32", `a matmul adds up in float32, not in ${out.buffer.dtype}`);
    for (const input of [stationary, moving]) {
      this.#inSbuf(input);
      const { dtype } = input.buffer;
      this.#require(dtype === "float16" || dtype === "bfloat16", `a matmul takes 16-bit floats, not ${dtype}`);
    }
    this.#equal(stationary.access.partitionCount, moving.access.partitionCount, "the contracted extents (K)");
    this.#equal(out.access.partitionCount, freeCount(stationary.access), "the rows (M) of result and stationary operand");
    this.#equal(freeCount(out.access), freeCount(moving.access), "the columns (N) of result and moving operand");
    this.#atMost(moving.access.partitionCount, this.#hardware.tensorRows, "K");
    this.#atMost(out.access.partitionCount, this.#hardware.tensorColumns, "M");
    this.#atMost(freeCount(out.access), this.#hardware.movingColumnsMax, "N");
  }

  transpose(operation: Transpose): void {
    const out = this.#operand(operation.out);
    const source = this.#operand(operation.in);
    this.#inBank(out);
    this.#inSbuf(source);
    this.#require(out.buffer.dtype === source.buffer.dtype, `a transpose keeps the type: ${out.buffer.dtype} and ${source.buffer.dtype}`);
    this.#equal(out.access.partitionCount, freeCount(source.access), "result's partitions and source's elements");
    this.#equal(freeCount(out.access), source.access.partitionCount, "result's elements and source's partitions");
    this.#atMost(source.access.partitionCount, this.#hardware.tensorRows, "K");
    this.#atMost(freeCount(source.access), this.#hardware.tensorColumns, "N");
  }

  dma(out: Access, source: Access): void {
    const [to, from] = [this.#operand(out), this.#operand(source)];
    this.#require(to.buffer.space !== "psum" && from.buffer.space !== "psum", "DMA does not reach PSUM");
    this.#require(to.buffer.dtype === from.buffer.dtype, `DMA keeps the type: ${to.buffer.dtype} and ${from.buffer.dtype}`);
    this.#equal(out.partitionCount * freeCount(out), source.partitionCount * freeCount(source), "the element counts of a DMA's ends");
  }

  reduce(operation: Reduce): void {
    const { in: source, out, axes } = operation;
    if (axes < 1 || axes > source.sizes.length) {
      this.#report(`reduces ${axes} of ${source.sizes.length} free dimensions`);
      return;
    }
    const kept = source.sizes.slice(0, source.sizes.length - axes).reduce((product, size) => product * size, 1);
    this.#equal(kept, freeCount(out), "the elements that are kept and those of the result");
    this.#equal(source.partitionCount, out.partitionCount, "the partitions of the operands");
  }

  /** Operands with the result's shape, lane by lane. */
  lanes(out: Access, inputs: readonly Access[]): void {
    for (const input of inputs) {
      this.#equal(input.partitionCount, out.partitionCount, "the partitions of the operands");
      this.#equal(freeCount(input), freeCount(out), "the elements of the operands");
    }
  }

  scalars(out: Access, list: readonly (Scalar | undefined)[]): void {
    for (const scalar of list) {
      if (typeof scalar !== "object") continue;
      const { dtype } = this.#operand(scalar).buffer;
      this.#require(dtype === "float32", `a scalar operand is float32, not ${dtype}`);
      this.#equal(freeCount(scalar), 1, "the elements of a scalar operand and one");
      this.#equal(scalar.partitionCount, out.partitionCount, "the partitions of a scalar operand and of the result");
    }
  }

  /** Bit operations see integers only. */
  integers(op: string | undefined, operands: readonly Access[]): void {
    if (op === undefined || !/^(bitwise|shift)_/.test(op)) return;
    for (const access of operands) {
      const { dtype } = this.#operand(access).buffer;
      this.#require(/int|bool/.test(dtype), `${op} takes integers, not ${dtype}`);
    }
  }

  /** Where an engine reaches its operands: on chip, from the first partition of a quadrant on. */
  reached(accesses: readonly Access[]): void {
    const { partitionQuadrant: quadrant } = this.#hardware;
    for (const access of accesses) {
      this.#require(this.#operand(access).buffer.space !== "dram", `an engine does not reach ${access.buffer} in DRAM`);
      this.#require(
        access.partitionStart % quadrant === 0,
        `${describe(access)}: an engine starts at a multiple of ${quadrant} partitions`,
      );
    }
  }
}

/** Which engines have an operation. */
function runsOn(kind: Operation["kind"], engine: Engine): boolean {
  if (kind === "matmul" || kind === "transpose") return engine === "tensor";
  if (kind === "dma") return engine.startsWith("dma");
  if (kind === "activation") return engine === "scalar";
  return engine === "vector" || (engine === "scalar" && (kind === "copy" || kind === "memset"));
}

function checkOperation(operation: Operation, rules: Rules): void {
  const { out } = operation;
  if (operation.kind !== "dma") rules.reached([out, ...reads(operation)]);
  switch (operation.kind) {
    case "matmul":
      rules.matmul(operation);
      break;
    case "transpose":
      rules.transpose(operation);
      break;
    case "dma":
      rules.dma(out, operation.in);
      break;
    case "reduce":
      rules.reduce(operation);
      break;
    case "activation":
      rules.lanes(out, [operation.in]);
      rules.scalars(out, [operation.scale, operation.bias]);
      break;
    case "tensor_tensor":
      rules.lanes(out, [operation.in0, operation.in1]);
      rules.integers(operation.op, [operation.in0, operation.in1]);
      break;
    case "tensor_scalar":
      rules.lanes(out, [operation.in]);
      rules.scalars(out, [operation.scalar0, operation.scalar1]);
      rules.integers(operation.op0, [operation.in]);
      rules.integers(operation.op1, [operation.in]);
      break;
    case "scalar_tensor_tensor":
      rules.lanes(out, [operation.in0, operation.in1]);
      rules.scalars(out, [operation.scalar]);
      rules.integers(operation.op0, [operation.in0]);
      rules.integers(operation.op1, [operation.in0, operation.in1]);
      break;
    case "select":
      rules.lanes(out, [operation.mask, operation.onTrue, operation.onFalse]);
      break;
    case "copy":
      rules.lanes(out, [operation.in]);
      break;
    case "memset":
      break;
  }
}

/** Reports what is wrong with one instruction by itself. */
export function checkInstruction(
  instruction: Instruction,
  engine: Engine,
  buffers: ReadonlyMap<string, Buffer>,
  hardware: Hardware,
  report: Report,
): void {
  const { operation, waits, signal } = instruction;
  let faults = 0;
  const counted = (message: string) => {
    faults++;
    report(message);
  };
  if (!runsOn(operation.kind, engine)) counted(`the ${engine} engine has no ${operation.kind}`);
  if (engine.startsWith("dma") && Number(engine.slice(3)) >= hardware.dmaQueues) counted(`there is no queue ${engine}`);
  for (const semaphore of [...waits.map((wait) => wait.semaphore), ...(signal === undefined ? [] : [signal])]) {
    if (!Number.isInteger(semaphore) || semaphore < 0 || semaphore >= hardware.semaphores) counted(`there is no semaphore ${semaphore}`);
  }
  for (const access of [operation.out, ...reads(operation)]) checkAccess(access, buffers, hardware, counted);
  if (faults > 0) return;
  checkWrite(operation.out, buffers.get(operation.out.buffer)!, report);
  checkOperation(operation, new Rules(buffers, hardware, report));
}
