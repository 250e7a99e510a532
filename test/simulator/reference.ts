/**
 * A plain interpreter of NeuronCore programs: loops over numbers, `Math.fround` after every FP32 step. It shares no code with the
 * simulator. Transcendental functions are JavaScript's, rounded once to FP32.
 */
import { allocateData, fromBfloat16Bits, fromFloat16Bits, type TensorData, toBfloat16Bits, toFloat16Bits } from "../../src/graph/tensor.js";
import {
  type Access,
  type ActivationFunction,
  type AluOp,
  type Buffer,
  type DeviceType,
  deviceBytes,
  type Instruction,
  type LoadedProgram,
  type Operation,
  type Scalar,
  type Stream,
} from "../../src/program/program.js";

const { fround } = Math;
const isFloat = (dtype: DeviceType) => dtype === "float32" || dtype === "float16" || dtype === "bfloat16";

/** A number as `dtype` holds it; `fromFloat`: the value is an FP32 result, else an integer. */
export function asType(value: number, dtype: DeviceType, fromFloat: boolean): number {
  switch (dtype) {
    case "float32":
      return fround(value);
    case "bfloat16":
      return fromBfloat16Bits(toBfloat16Bits(fround(value)));
    case "float16":
      return fromFloat16Bits(toFloat16Bits(fround(value)));
    case "bool":
      return value !== 0 ? 1 : 0;
    default: {
      const [low, high] = dtype === "uint32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
      const whole = fromFloat ? Math.min(high, Math.max(low, Math.trunc(value) || 0)) : value;
      const array = allocateData(dtype, 1);
      array[0] = whole;
      return Number(array[0]);
    }
  }
}

function erfc(z: number): number {
  const x = Math.abs(z);
  let value: number;
  if (x < 2.5) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 80; n++) {
      term *= -(x * x) / n;
      sum += term / (2 * n + 1);
    }
    value = 1 - (2 / Math.sqrt(Math.PI)) * sum;
  } else {
    let fraction = 0;
    for (let n = 80; n >= 1; n--) fraction = n / 2 / (x + fraction);
    value = Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
  }
  return z < 0 ? 2 - value : value;
}

function roundHalfEven(x: number): number {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 23) return x;
  const floor = Math.floor(x);
  const rest = x - floor;
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0);
  const value = up ? floor + 1 : floor;
  return value === 0 && (x < 0 || Object.is(x, -0)) ? -0 : value;
}

const relu = (x: number) => (Number.isNaN(x) ? x : Math.max(x, 0));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

export const functions: Readonly<Record<ActivationFunction, (x: number, alpha: number) => number>> = {
  identity: (x) => x,
  relu,
  leaky_relu: (x, alpha) => (x < 0 ? fround(x * fround(alpha)) : x),
  sigmoid,
  tanh: Math.tanh,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / fround(Math.sqrt(x)),
  reciprocal: (x) => 1 / x,
  square: (x) => x * x,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  erf: (x) => (Math.abs(x) < 1 ? erfSmall(x) : 1 - erfc(x)),
  gelu: (x) => (x === Number.NEGATIVE_INFINITY ? -0 : 0.5 * x * erfc(-x * Math.SQRT1_2)),
  gelu_tanh: (x) => (x === Number.NEGATIVE_INFINITY ? -0 : x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => (x === Number.NEGATIVE_INFINITY ? -0 : x * sigmoid(x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  is_nan: (x) => (Number.isNaN(x) ? 1 : 0),
  is_inf: (x) => (Math.abs(x) === Number.POSITIVE_INFINITY ? 1 : 0),
};

function erfSmall(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 30; n++) {
    term *= -(x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

function modulo(x: number, y: number): number {
  const rest = x % y;
  return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
}

const common: Partial<Record<AluOp, (x: number, y: number) => number>> = {
  maximum: Math.max,
  minimum: Math.min,
  equal: (x, y) => Number(x === y),
  not_equal: (x, y) => Number(x !== y),
  less: (x, y) => Number(x < y),
  less_equal: (x, y) => Number(x <= y),
  greater: (x, y) => Number(x > y),
  greater_equal: (x, y) => Number(x >= y),
  logical_and: (x, y) => Number(x !== 0 && y !== 0),
  logical_or: (x, y) => Number(x !== 0 || y !== 0),
  logical_xor: (x, y) => Number((x !== 0) !== (y !== 0)),
};

function floatAlu(op: AluOp, x: number, y: number): number {
  const table: Partial<Record<AluOp, (x: number, y: number) => number>> = {
    ...common,
    add: (a, b) => a + b,
    subtract: (a, b) => a - b,
    multiply: (a, b) => a * b,
    divide: (a, b) => a / b,
    power: (a, b) => (a === 1 ? 1 : Math.abs(a) === 1 && Math.abs(b) === Number.POSITIVE_INFINITY ? 1 : a ** b),
    modulo,
  };
  const apply = table[op];
  if (!apply) throw new Error(`${op} in FP32`);
  return fround(apply(x, y));
}

/** Exact integer results, wrapped to 32 bits. */
function intAlu(op: AluOp, x: number, y: number, isUnsigned: boolean): number {
  const [a, b] = isUnsigned ? [BigInt(x >>> 0), BigInt(y >>> 0)] : [BigInt(x | 0), BigInt(y | 0)];
  const wrap = (value: bigint) => (isUnsigned ? Number(BigInt.asUintN(32, value)) : Number(BigInt.asIntN(32, value)));
  const shifts = b >= 0n && b < 32n;
  switch (op) {
    case "add":
      return wrap(a + b);
    case "subtract":
      return wrap(a - b);
    case "multiply":
      return wrap(a * b);
    case "divide":
      return b === 0n ? 0 : wrap(a / b);
    case "modulo":
      return b === 0n ? 0 : wrap(((a % b) + b) % b);
    case "power": {
      if (b < 0n) return a === 1n ? 1 : a === -1n ? (b % 2n ? -1 : 1) : 0;
      let [value, square] = [1n, a];
      for (let rest = b; rest > 0n; rest >>= 1n) {
        if (rest & 1n) value = BigInt.asUintN(32, value * square);
        square = BigInt.asUintN(32, square * square);
      }
      return wrap(value);
    }
    case "bitwise_and":
      return wrap(a & b);
    case "bitwise_or":
      return wrap(a | b);
    case "bitwise_xor":
      return wrap(a ^ b);
    case "shift_left":
      return shifts ? wrap(a << b) : 0;
    case "shift_right":
      return wrap(shifts ? a >> b : a < 0n ? -1n : 0n);
    default: {
      const apply = common[op];
      if (!apply) throw new Error(`${op} in int32`);
      return apply(Number(a), Number(b));
    }
  }
}

/** The whole of a core's memory: one number per SBUF/PSUM slot of 2 bytes, one array per DRAM buffer. */
class Machine {
  private readonly chip = { sbuf: new Map<number, number>(), psum: new Map<number, number>() };
  private readonly dram = new Map<string, number[]>();
  readonly buffers: ReadonlyMap<string, Buffer>;

  constructor(readonly loaded: LoadedProgram) {
    this.buffers = new Map(loaded.program.buffers.map((buffer) => [buffer.name, buffer]));
    for (const buffer of loaded.program.buffers) {
      if (buffer.space !== "dram") continue;
      const count = buffer.shape.reduce((product, extent) => product * extent, 1);
      const bytes = loaded.constants.get(buffer.name);
      this.dram.set(buffer.name, new Array<number>(count).fill(0));
      if (bytes) this.bind(buffer.name, typed(buffer.dtype, bytes, count));
    }
  }

  type(access: Access): DeviceType {
    return this.buffer(access.buffer).dtype;
  }

  buffer(name: string): Buffer {
    const buffer = this.buffers.get(name);
    if (!buffer) throw new Error(`no buffer ${name}`);
    return buffer;
  }

  bind(name: string, data: TensorData): void {
    const { dtype } = this.buffer(name);
    const decode = (value: number) =>
      dtype === "float16" ? fromFloat16Bits(value) : dtype === "bfloat16" ? fromBfloat16Bits(value) : value;
    this.dram.set(
      name,
      Array.from({ length: data.length }, (_, index) => decode(Number(data[index]))),
    );
  }

  output(name: string): TensorData {
    const { dtype } = this.buffer(name);
    const values = this.dram.get(name) ?? [];
    const data = allocateData(dtype, values.length);
    for (let index = 0; index < values.length; index++) {
      const value = values[index];
      if (dtype === "float16") data[index] = toFloat16Bits(value);
      else if (dtype === "bfloat16") data[index] = Number.isNaN(value) ? 0x7fc0 : toBfloat16Bits(value);
      else data[index] = value;
    }
    return data;
  }

  /** Getter and setter of the access's element in partition `p` (from its start) at free position `i`. */
  private cell(access: Access, p: number, i: number): [Map<number, number> | number[], number] {
    let [rest, element] = [i, access.offset];
    for (let axis = access.sizes.length - 1; axis >= 0; axis--) {
      element += (rest % access.sizes[axis]) * access.strides[axis];
      rest = Math.floor(rest / access.sizes[axis]);
    }
    const buffer = this.buffer(access.buffer);
    if (buffer.space === "dram") return [this.dram.get(buffer.name) ?? [], element + p * access.partitionStride];
    const byte = buffer.address + element * deviceBytes(buffer.dtype, buffer.space);
    return [this.chip[buffer.space], byte * 128 + access.partitionStart + p];
  }

  get(access: Access, p: number, i: number): number {
    const [cells, at] = this.cell(access, p, i);
    return (Array.isArray(cells) ? cells[at] : cells.get(at)) ?? 0;
  }

  set(access: Access, p: number, i: number, value: number): void {
    const [cells, at] = this.cell(access, p, i);
    if (Array.isArray(cells)) cells[at] = value;
    else cells.set(at, value);
  }
}

function typed(dtype: DeviceType, bytes: Uint8Array, count: number): TensorData {
  const data = allocateData(dtype, count);
  if (Array.isArray(data)) throw new Error("strings have no bytes");
  new Uint8Array(data.buffer).set(bytes);
  return data;
}

const countOf = (access: Access) => access.sizes.reduce((product, size) => product * size, 1);

function matmul(machine: Machine, { out, stationary, moving, accumulate }: Extract<Operation, { kind: "matmul" }>): void {
  for (let m = 0; m < out.partitionCount; m++) {
    for (let n = 0; n < countOf(out); n++) {
      let sum = accumulate ? machine.get(out, m, n) : 0;
      for (let k = 0; k < moving.partitionCount; k++) {
        sum = fround(sum + fround(machine.get(stationary, k, m) * machine.get(moving, k, n)));
      }
      machine.set(out, m, n, sum);
    }
  }
}

function reduce(machine: Machine, { out, in: source, op, axes }: Extract<Operation, { kind: "reduce" }>): void {
  const inner = source.sizes.slice(source.sizes.length - axes).reduce((product, size) => product * size, 1);
  const type = machine.type(source);
  for (let p = 0; p < out.partitionCount; p++) {
    for (let i = 0; i < countOf(out); i++) {
      let value = machine.get(source, p, i * inner);
      for (let j = 1; j < inner; j++) {
        const next = machine.get(source, p, i * inner + j);
        value = isFloat(type) ? floatAlu(op, value, next) : intAlu(op, value, next, type === "uint32");
      }
      machine.set(out, p, i, asType(value, machine.type(out), isFloat(type)));
    }
  }
}

/** Elements in one order on both sides: partition, then free index. */
function dma(machine: Machine, out: Access, source: Access): void {
  const [outCount, inCount] = [countOf(out), countOf(source)];
  const total = out.partitionCount * outCount;
  const values = Array.from({ length: total }, (_, e) => machine.get(source, Math.floor(e / inCount), e % inCount));
  values.forEach((value, e) => {
    machine.set(out, Math.floor(e / outCount), e % outCount, value);
  });
}

type Elementwise = Exclude<Operation, { kind: "matmul" | "reduce" | "dma" | "transpose" }>;

/** The value of one element, and whether it is a float. */
function element(machine: Machine, operation: Elementwise, p: number, i: number): [number, boolean] {
  const at = (access: Access) => machine.get(access, p, i);
  const scalar = (value: Scalar) => (typeof value === "number" ? value : machine.get(value, p, 0));
  const modes = (tensors: Access[], scalars: (Scalar | undefined)[]) => {
    const types = tensors.map((access) => machine.type(access));
    const float = types.some(isFloat) || scalars.some((value) => value !== undefined && !Number.isInteger(value));
    const apply = (op: AluOp, x: number, y: number) =>
      float ? floatAlu(op, fround(x), fround(y)) : intAlu(op, x, y, types.includes("uint32"));
    return { float, apply };
  };
  switch (operation.kind) {
    case "memset":
      return [operation.value, isFloat(machine.type(operation.out))];
    case "copy":
      return [at(operation.in), isFloat(machine.type(operation.in))];
    case "activation": {
      const { scale, bias, alpha } = operation;
      let x = fround(at(operation.in));
      if (scale !== 1) x = fround(x * fround(scalar(scale)));
      if (bias !== 0) x = fround(x + fround(scalar(bias)));
      return [fround(functions[operation.function](x, alpha)), true];
    }
    case "tensor_tensor": {
      const { float, apply } = modes([operation.in0, operation.in1], []);
      return [apply(operation.op, at(operation.in0), at(operation.in1)), float];
    }
    case "tensor_scalar": {
      const { op0, op1, scalar0, scalar1, reverse0 } = operation;
      const { float, apply } = modes([operation.in], [scalar0, scalar1]);
      const [x, s] = [at(operation.in), scalar(scalar0)];
      const first = reverse0 ? apply(op0, s, x) : apply(op0, x, s);
      return [op1 !== undefined && scalar1 !== undefined ? apply(op1, first, scalar(scalar1)) : first, float];
    }
    case "scalar_tensor_tensor": {
      const { float, apply } = modes([operation.in0, operation.in1], [operation.scalar]);
      return [apply(operation.op1, apply(operation.op0, at(operation.in0), scalar(operation.scalar)), at(operation.in1)), float];
    }
    case "select": {
      const { float } = modes([operation.onTrue, operation.onFalse], []);
      return [at(operation.mask) !== 0 ? at(operation.onTrue) : at(operation.onFalse), float];
    }
  }
}

function execute(machine: Machine, operation: Operation): void {
  if (operation.kind === "matmul") return matmul(machine, operation);
  if (operation.kind === "reduce") return reduce(machine, operation);
  if (operation.kind === "dma") return dma(machine, operation.out, operation.in);
  const { out } = operation;
  for (let p = 0; p < out.partitionCount; p++) {
    for (let i = 0; i < countOf(out); i++) {
      if (operation.kind === "transpose") machine.set(out, p, i, machine.get(operation.in, i, p));
      else {
        const [value, float] = element(machine, operation, p, i);
        machine.set(out, p, i, asType(value, machine.type(out), float));
      }
    }
  }
}

/** One instruction of one stream at a time, last stream first. */
function executeStreams(machine: Machine, streams: readonly Stream[]): void {
  const semaphores = new Map<number, number>();
  const queues = streams.map((stream) => [...stream.instructions]).reverse();
  const ready = ({ waits }: Instruction) => waits.every(({ semaphore, value }) => (semaphores.get(semaphore) ?? 0) >= value);
  while (queues.some((queue) => queue.length > 0)) {
    const queue = queues.find((candidate) => candidate.length > 0 && ready(candidate[0]));
    const instruction = queue?.shift();
    if (!instruction) throw new Error("deadlock");
    execute(machine, instruction.operation);
    if (instruction.signal !== undefined) semaphores.set(instruction.signal, (semaphores.get(instruction.signal) ?? 0) + 1);
  }
}

/** Loads the program and runs one request; the output buffers' elements by name. */
export function interpret(loaded: LoadedProgram, inputs: ReadonlyMap<string, TensorData>): Map<string, TensorData> {
  const machine = new Machine(loaded);
  executeStreams(machine, loaded.program.load);
  for (const [name, data] of inputs) machine.bind(name, data);
  executeStreams(machine, loaded.program.infer);
  const outputs = loaded.program.buffers.filter((buffer) => buffer.space === "dram" && buffer.kind === "output");
  return new Map(outputs.map((buffer) => [buffer.name, machine.output(buffer.name)]));
}
