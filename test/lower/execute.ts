/** Executes a lowered program step by step in plain JavaScript, each buffer an array of its own: what lowering means, without addresses. */
import { fromBfloat16Bits, fromFloat16Bits, toBfloat16Bits, toFloat16Bits } from "../../src/graph/tensor.js";
import type { LoweredProgram, Step } from "../../src/lower/lowered.js";
import type { Access, ActivationFunction, AluOp, DeviceType, Operation, Scalar } from "../../src/program/program.js";

const { fround } = Math;

function erf(x: number): number {
  // Series near 0, continued fraction of erfc beyond: double precision is more than the comparison needs.
  const a = Math.abs(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; n < 60; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 40; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + fraction) * Math.sqrt(Math.PI)));
}

export function activation(name: ActivationFunction, x: number, alpha: number): number {
  switch (name) {
    case "identity":
      return x;
    case "relu":
      return Math.max(x, 0);
    case "leaky_relu":
      return x >= 0 ? x : alpha * x;
    case "sigmoid":
      return 1 / (1 + Math.exp(-x));
    case "rsqrt":
      return 1 / Math.sqrt(x);
    case "reciprocal":
      return 1 / x;
    case "square":
      return x * x;
    case "round": {
      const low = Math.floor(x);
      const rest = x - low;
      return rest === 0.5 ? low + (low % 2 === 0 ? 0 : 1) : Math.round(x);
    }
    case "erf":
      return erf(x);
    case "gelu":
      return 0.5 * x * (1 + erf(x / Math.SQRT2));
    case "gelu_tanh":
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "silu":
      return x / (1 + Math.exp(-x));
    case "softplus":
      return x > 20 ? x : Math.log1p(Math.exp(x));
    case "is_nan":
      return Number.isNaN(x) ? 1 : 0;
    case "is_inf":
      return Math.abs(x) === Number.POSITIVE_INFINITY ? 1 : 0;
    default:
      return Math[name](x);
  }
}

export function alu(op: AluOp, a: number, b: number): number {
  switch (op) {
    case "add":
      return a + b;
    case "subtract":
      return a - b;
    case "multiply":
      return a * b;
    case "divide":
      return a / b;
    case "maximum":
      return Math.max(a, b);
    case "minimum":
      return Math.min(a, b);
    case "power":
      return a ** b;
    case "modulo":
      return a - Math.floor(a / b) * b;
    case "equal":
      return Number(a === b);
    case "not_equal":
      return Number(a !== b);
    case "less":
      return Number(a < b);
    case "less_equal":
      return Number(a <= b);
    case "greater":
      return Number(a > b);
    case "greater_equal":
      return Number(a >= b);
    case "logical_and":
      return Number(a !== 0 && b !== 0);
    case "logical_or":
      return Number(a !== 0 || b !== 0);
    case "logical_xor":
      return Number((a !== 0) !== (b !== 0));
    case "bitwise_and":
      return a & b;
    case "bitwise_or":
      return a | b;
    case "bitwise_xor":
      return a ^ b;
    case "shift_left":
      return a << b;
    case "shift_right":
      return a >> b;
  }
}

/** The value as its type holds it. */
export function convert(dtype: DeviceType, value: number): number {
  switch (dtype) {
    case "float32":
      return fround(value);
    case "bfloat16":
      return fromBfloat16Bits(toBfloat16Bits(value));
    case "float16":
      return fromFloat16Bits(toFloat16Bits(value));
    case "bool":
      return value === 0 ? 0 : 1;
    case "int32":
      return Math.trunc(value) | 0;
    case "uint32":
      return Math.trunc(value) >>> 0;
    case "int16":
      return (Math.trunc(value) << 16) >> 16;
    case "uint16":
      return Math.trunc(value) & 0xffff;
    case "int8":
      return (Math.trunc(value) << 24) >> 24;
    case "uint8":
      return Math.trunc(value) & 0xff;
  }
}

interface Memory {
  readonly dtype: DeviceType;
  readonly data: Float64Array;
  /** Elements of one partition; 0 in DRAM. */
  readonly pitch: number;
}

export class Execution {
  readonly #memories = new Map<string, Memory>();

  constructor(readonly program: LoweredProgram) {
    for (const buffer of program.buffers) {
      const count = buffer.space === "dram" ? buffer.shape.reduce((a, b) => a * b, 1) : buffer.partitions * buffer.elements;
      const data = new Float64Array(count).fill(Number.NaN);
      this.#memories.set(buffer.name, { dtype: buffer.dtype, data, pitch: buffer.space === "dram" ? 0 : buffer.elements });
    }
    for (const [name, bytes] of program.constants) this.#memory(name).data.set(decode(this.#memory(name).dtype, bytes));
    for (const step of program.load) this.#step(step);
  }

  /** One request: FP64 arrays hold the values of any type. */
  run(inputs: ReadonlyMap<string, ArrayLike<number>>): Map<string, Float64Array> {
    for (const [name, values] of inputs) this.#memory(name).data.set(values);
    for (const step of this.program.infer) this.#step(step);
    const outputs = this.program.buffers.filter((buffer) => buffer.space === "dram" && buffer.kind === "output");
    return new Map(outputs.map((buffer) => [buffer.name, this.#memory(buffer.name).data]));
  }

  #memory(name: string): Memory {
    const memory = this.#memories.get(name);
    if (!memory) throw new Error(`no buffer ${name}`);
    return memory;
  }

  /** Element positions of an access, partition by partition. Throws where it leaves its buffer. */
  #positions(access: Access): number[] {
    const memory = this.#memory(access.buffer);
    const positions: number[] = [];
    const { sizes, strides } = access;
    const total = sizes.reduce((a, b) => a * b, 1);
    for (let p = 0; p < access.partitionCount; p++) {
      const base = memory.pitch ? (access.partitionStart + p) * memory.pitch : p * access.partitionStride;
      for (let flat = 0; flat < total; flat++) {
        let rest = flat;
        let offset = access.offset;
        for (let axis = sizes.length - 1; axis >= 0; axis--) {
          offset += (rest % sizes[axis]) * strides[axis];
          rest = Math.floor(rest / sizes[axis]);
        }
        if (offset < 0 || (memory.pitch && offset >= memory.pitch) || base + offset >= memory.data.length) {
          throw new Error(`access leaves ${access.buffer}: ${JSON.stringify(access)}`);
        }
        positions.push(base + offset);
      }
    }
    return positions;
  }

  #read(access: Access): number[] {
    const { data } = this.#memory(access.buffer);
    return this.#positions(access).map((position) => data[position]);
  }

  #write(access: Access, values: (index: number) => number): void {
    const { data, dtype } = this.#memory(access.buffer);
    for (const [index, position] of this.#positions(access).entries()) data[position] = convert(dtype, values(index));
  }

  #scalar(scalar: Scalar, free: number): (index: number) => number {
    if (typeof scalar === "number") return () => fround(scalar);
    const column = this.#read(scalar);
    return (index) => column[Math.floor(index / free)];
  }

  #step(step: Step): void {
    this.#operation(step.operation);
  }

  #operation(operation: Operation): void {
    const free = operation.out.sizes.reduce((a, b) => a * b, 1);
    switch (operation.kind) {
      case "matmul":
        return this.#matmul(operation);
      case "transpose": {
        const values = this.#read(operation.in);
        const rows = operation.in.partitionCount;
        const columns = values.length / rows;
        return this.#write(operation.out, (index) => values[(index % rows) * columns + Math.floor(index / rows)]);
      }
      case "activation": {
        const values = this.#read(operation.in);
        const scale = this.#scalar(operation.scale, free);
        const bias = this.#scalar(operation.bias, free);
        return this.#write(operation.out, (i) =>
          activation(operation.function, fround(fround(values[i] * scale(i)) + bias(i)), operation.alpha),
        );
      }
      case "tensor_tensor": {
        const [a, b] = [this.#read(operation.in0), this.#read(operation.in1)];
        return this.#write(operation.out, (i) => fround(alu(operation.op, a[i], b[i])));
      }
      case "tensor_scalar": {
        const values = this.#read(operation.in);
        const first = this.#scalar(operation.scalar0, free);
        const second = operation.scalar1 === undefined ? undefined : this.#scalar(operation.scalar1, free);
        return this.#write(operation.out, (i) => {
          const [a, b] = operation.reverse0 ? [first(i), values[i]] : [values[i], first(i)];
          const once = fround(alu(operation.op0, a, b));
          return operation.op1 && second ? fround(alu(operation.op1, once, second(i))) : once;
        });
      }
      case "scalar_tensor_tensor": {
        const [a, b] = [this.#read(operation.in0), this.#read(operation.in1)];
        const scalar = this.#scalar(operation.scalar, free);
        return this.#write(operation.out, (i) => fround(alu(operation.op1, fround(alu(operation.op0, a[i], scalar(i))), b[i])));
      }
      case "reduce": {
        const values = this.#read(operation.in);
        const count = operation.in.sizes.slice(operation.in.sizes.length - operation.axes).reduce((a, b) => a * b, 1);
        return this.#write(operation.out, (i) => {
          const part = values.slice(i * count, (i + 1) * count);
          return part.reduce((a, b) => fround(alu(operation.op, a, b)));
        });
      }
      case "select": {
        const [mask, a, b] = [this.#read(operation.mask), this.#read(operation.onTrue), this.#read(operation.onFalse)];
        return this.#write(operation.out, (i) => (mask[i] !== 0 ? a[i] : b[i]));
      }
      case "memset":
        return this.#write(operation.out, () => operation.value);
      default: {
        const values = this.#read(operation.in);
        return this.#write(operation.out, (i) => values[i]);
      }
    }
  }

  #matmul(operation: Extract<Operation, { kind: "matmul" }>): void {
    const weights = this.#read(operation.stationary);
    const moving = this.#read(operation.moving);
    const before = operation.accumulate ? this.#read(operation.out) : undefined;
    const k = operation.stationary.partitionCount;
    const m = operation.out.partitionCount;
    const n = moving.length / k;
    if (weights.length !== k * m || operation.moving.partitionCount !== k) throw new Error("matmul: operands disagree");
    this.#write(operation.out, (index) => {
      const row = Math.floor(index / n);
      let sum = before ? before[index] : 0;
      for (let i = 0; i < k; i++) sum = fround(sum + fround(weights[i * m + row] * moving[i * n + (index % n)]));
      return sum;
    });
  }
}

function decode(dtype: DeviceType, bytes: Uint8Array): ArrayLike<number> {
  const { buffer } = bytes.slice();
  switch (dtype) {
    case "float32":
      return new Float32Array(buffer);
    case "bfloat16":
      return Array.from(new Uint16Array(buffer), fromBfloat16Bits);
    case "float16":
      return Array.from(new Uint16Array(buffer), fromFloat16Bits);
    case "int32":
      return new Int32Array(buffer);
    case "uint32":
      return new Uint32Array(buffer);
    case "int16":
      return new Int16Array(buffer);
    case "uint16":
      return new Uint16Array(buffer);
    case "int8":
      return new Int8Array(buffer);
    default:
      return new Uint8Array(buffer);
  }
}
