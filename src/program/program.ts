/**
 * NeuronCore programs: what `lower` and `schedule` make, the artifact stores, and the simulator executes. Plain data.
 *
 * Memory. SBUF has 128 partitions and PSUM 64; an address there is a byte offset that holds for every partition. An element of an
 * 8-bit type takes `elementAlignment` bytes on chip. A DRAM buffer is a row of elements in its own dtype.
 * An operand names a buffer and an access pattern within it; offsets and strides count elements of the buffer's dtype.
 */
import { bytesPerElement, type DType } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";

export type Space = "dram" | "sbuf" | "psum";

/** Types that the engines hold. float16 and bfloat16 values are exact in FP32, in which every float operation computes. */
export const deviceTypes = [
  "float32",
  "float16",
  "bfloat16",
  "int32",
  "uint32",
  "int16",
  "uint16",
  "int8",
  "uint8",
  "bool",
] as const satisfies readonly DType[];
export type DeviceType = (typeof deviceTypes)[number];

/** What a DRAM buffer is for. `input`/`output` are bound per request by name; `constant` is stored in the artifact by name; `scratch` is private. */
export type DramKind = "input" | "output" | "constant" | "scratch";

export interface DramBuffer {
  readonly name: string;
  readonly space: "dram";
  readonly kind: DramKind;
  readonly dtype: DeviceType;
  /** Row-major shape, for readers; addressing is linear. */
  readonly shape: readonly number[];
  /** Byte offset in the core's scratch region; 0 for the other kinds, which are regions of their own. */
  readonly address: number;
}

export interface ChipBuffer {
  readonly name: string;
  readonly space: "sbuf" | "psum";
  readonly dtype: DeviceType;
  /** Partitions from 0 that the buffer occupies. */
  readonly partitions: number;
  /** Elements in each partition. */
  readonly elements: number;
  /** Byte offset in each partition. */
  readonly address: number;
}

export type Buffer = DramBuffer | ChipBuffer;

/**
 * Elements of a buffer: for each partition p in [start, start + count), for each index of `sizes` (row-major), the element at
 * `offset + index . strides` of partition p; in DRAM, `offset + (p - start) * partitionStride + index . strides`, where start is 0.
 * At most `accessDimensions` free dimensions. A stride may be 0 (a broadcast read) or negative.
 */
export interface Access {
  readonly buffer: string;
  readonly partitionStart: number;
  readonly partitionCount: number;
  /** DRAM only; 0 on chip. */
  readonly partitionStride: number;
  readonly offset: number;
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
}

/** A scalar operand: an immediate, or one FP32 element a partition. */
export type Scalar = number | Access;

/** Two-operand functions of the vector engine. Comparisons give 1 or 0. Computed in FP32, or in int32 where every operand is integer or bool. */
export const aluOps = [
  "add",
  "subtract",
  "multiply",
  "divide",
  "maximum",
  "minimum",
  "power",
  "modulo",
  "equal",
  "not_equal",
  "less",
  "less_equal",
  "greater",
  "greater_equal",
  "logical_and",
  "logical_or",
  "logical_xor",
  "bitwise_and",
  "bitwise_or",
  "bitwise_xor",
  "shift_left",
  "shift_right",
] as const;
export type AluOp = (typeof aluOps)[number];

/** Functions of the scalar engine, of f(x * scale + bias); `alpha` is leaky_relu's slope. `modulo` above follows the sign of the divisor. */
export const activationFunctions = [
  "identity",
  "relu",
  "leaky_relu",
  "sigmoid",
  "tanh",
  "exp",
  "log",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "square",
  "abs",
  "sign",
  "floor",
  "ceil",
  "round",
  "erf",
  "gelu",
  "gelu_tanh",
  "silu",
  "softplus",
  "sin",
  "cos",
  "tan",
  "asin",
  "acos",
  "atan",
  "sinh",
  "cosh",
  "asinh",
  "acosh",
  "atanh",
  "is_nan",
  "is_inf",
] as const;
export type ActivationFunction = (typeof activationFunctions)[number];

export type ReduceOp = "add" | "maximum" | "minimum" | "multiply";

/**
 * out[m, n] (+)= sum over k, ascending, of stationary[k, m] * moving[k, n]: products of 16-bit inputs are exact in FP32, each add rounds
 * to FP32. `stationary`: K partitions x M free elements; `moving`: K partitions x N; `out`: PSUM (FP32), M partitions x N.
 * With `accumulate` the sum goes on from the value in PSUM.
 */
export interface Matmul {
  readonly kind: "matmul";
  readonly out: Access;
  readonly stationary: Access;
  readonly moving: Access;
  readonly accumulate: boolean;
}

/** out[n, k] = in[k, n], bit-exact: through the tensor engine. `in`: K <= 128 partitions x N <= 64; `out`: PSUM, N partitions x K. */
export interface Transpose {
  readonly kind: "transpose";
  readonly out: Access;
  readonly in: Access;
}

/** out = function(in * scale + bias). */
export interface Activation {
  readonly kind: "activation";
  readonly out: Access;
  readonly in: Access;
  readonly function: ActivationFunction;
  readonly scale: Scalar;
  readonly bias: Scalar;
  readonly alpha: number;
}

/** out = in0 op in1. */
export interface TensorTensor {
  readonly kind: "tensor_tensor";
  readonly out: Access;
  readonly in0: Access;
  readonly in1: Access;
  readonly op: AluOp;
}

/** out = (in op0 scalar0) op1 scalar1; the second step may be absent. `reverse0` swaps the operands of the first step. */
export interface TensorScalar {
  readonly kind: "tensor_scalar";
  readonly out: Access;
  readonly in: Access;
  readonly op0: AluOp;
  readonly scalar0: Scalar;
  readonly reverse0: boolean;
  readonly op1?: AluOp;
  readonly scalar1?: Scalar;
}

/** out = (in0 op0 scalar) op1 in1. */
export interface ScalarTensorTensor {
  readonly kind: "scalar_tensor_tensor";
  readonly out: Access;
  readonly in0: Access;
  readonly in1: Access;
  readonly op0: AluOp;
  readonly scalar: Scalar;
  readonly op1: AluOp;
}

/** Reduces the last `axes` free dimensions of `in` in ascending order; `out` has the others. */
export interface Reduce {
  readonly kind: "reduce";
  readonly out: Access;
  readonly in: Access;
  readonly op: ReduceOp;
  readonly axes: number;
}

/** out = mask != 0 ? onTrue : onFalse. */
export interface Select {
  readonly kind: "select";
  readonly out: Access;
  readonly mask: Access;
  readonly onTrue: Access;
  readonly onFalse: Access;
}

/** out = in, converted to out's dtype (floats round to nearest even, float to integer truncates, to bool is != 0). */
export interface Copy {
  readonly kind: "copy";
  readonly out: Access;
  readonly in: Access;
}

/** out = value. */
export interface Memset {
  readonly kind: "memset";
  readonly out: Access;
  readonly value: number;
}

/** out = in, both of one dtype, between any two of DRAM and SBUF. Element order is partition, then free index, on both sides; their shapes may differ, their counts not. */
export interface Dma {
  readonly kind: "dma";
  readonly out: Access;
  readonly in: Access;
}

export type Operation =
  | Matmul
  | Transpose
  | Activation
  | TensorTensor
  | TensorScalar
  | ScalarTensorTensor
  | Reduce
  | Select
  | Copy
  | Memset
  | Dma;

export type ComputeEngine = "tensor" | "scalar" | "vector";
export type Engine = ComputeEngine | `dma${number}`;

/** Before an instruction starts, `semaphore` must have reached `value`. */
export interface Wait {
  readonly semaphore: number;
  readonly value: number;
}

export interface Instruction {
  readonly operation: Operation;
  /** The graph node that this instruction works for. */
  readonly origin: string;
  readonly waits: readonly Wait[];
  /** Incremented by one when the instruction has completed. */
  readonly signal?: number;
}

/** In order: an engine starts an instruction when the one before it has completed and its waits hold. */
export interface Stream {
  readonly engine: Engine;
  readonly instructions: readonly Instruction[];
}

/**
 * What one NeuronCore runs. `load` runs once when the model is loaded (resident weights), `infer` once a request; semaphores
 * start at 0 in each. What `load` leaves in SBUF stays there: `infer` writes none of it.
 */
export interface Program {
  readonly name: string;
  readonly buffers: readonly Buffer[];
  readonly load: readonly Stream[];
  readonly infer: readonly Stream[];
}

/** A program with the values of its constant buffers: raw little-endian elements in the buffer's dtype. */
export interface LoadedProgram {
  readonly program: Program;
  readonly constants: ReadonlyMap<string, Uint8Array>;
}

/** Bytes of one element on chip, where none takes less than `elementAlignment`, or in DRAM. */
export function deviceBytes(dtype: DeviceType, space: Space): number {
  const bytes = bytesPerElement[dtype];
  return space === "dram" ? bytes : Math.max(bytes, hardware.elementAlignment);
}

/** Bytes of a DRAM buffer, or bytes in each partition of one on chip. */
export function bufferBytes(buffer: Buffer): number {
  const count = buffer.space === "dram" ? buffer.shape.reduce((product, extent) => product * extent, 1) : buffer.elements;
  return count * deviceBytes(buffer.dtype, buffer.space);
}

/** Elements in each partition of an access. */
export function freeCount(access: Access): number {
  return access.sizes.reduce((product, size) => product * size, 1);
}

/** Everything that an operation reads. */
export function reads(operation: Operation): Access[] {
  const scalars = (...list: (Scalar | undefined)[]) => list.filter((scalar): scalar is Access => typeof scalar === "object");
  switch (operation.kind) {
    case "matmul":
      return [operation.stationary, operation.moving, ...(operation.accumulate ? [operation.out] : [])];
    case "activation":
      return [operation.in, ...scalars(operation.scale, operation.bias)];
    case "tensor_tensor":
      return [operation.in0, operation.in1];
    case "tensor_scalar":
      return [operation.in, ...scalars(operation.scalar0, operation.scalar1)];
    case "scalar_tensor_tensor":
      return [operation.in0, operation.in1, ...scalars(operation.scalar)];
    case "select":
      return [operation.mask, operation.onTrue, operation.onFalse];
    case "memset":
      return [];
    default:
      return [operation.in];
  }
}
