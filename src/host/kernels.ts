/**
 * Element types that onnxruntime-node 1.30 has no CPU kernel for although the standard defines the operator on them, measured by loading
 * one-node models. What it lacks is computed in a wider type.
 */
import type { DType } from "../graph/tensor.js";

const noDouble = `Acos Acosh Asin Asinh Atan Atanh Cosh Elu Erf Gelu HardSigmoid HardSwish Hardmax LeakyRelu Mish Selu Sinh Softplus Softsign Tan
  ThresholdedRelu Det MeanVarianceNormalization GlobalAveragePool GlobalMaxPool Mean Conv AveragePool Celu`;

const lists: Readonly<Record<string, string>> = {
  ArgMax: "int16 uint16 uint32 uint64",
  ArgMin: "int16 uint16 uint32 uint64",
  BitShift: "uint16",
  Celu: "float16 float64",
  Clip: "int16 uint16",
  CumSum: "uint32 uint64",
  DepthToSpace: "bool int16 uint16 int32 uint32 int64 uint64",
  EyeLike: "int8 uint8 int16 uint16 uint32 bool",
  Gemm: "int32 uint32 int64 uint64",
  GridSample: "float64 int8 uint8 int16 uint16 int32",
  Max: "int16 uint16",
  Min: "int16 uint16",
  NonZero: "float64 int8 int16 uint16 uint32 uint64",
  PRelu: "float64 int32 uint32 int64 uint64",
  Pad: "int16 uint16",
  Range: "float16",
  ReduceLogSumExp: "uint32 uint64",
  ReduceMax: "uint32 uint64",
  ReduceMean: "uint32 uint64",
  ReduceMin: "uint32 uint64",
  ReduceProd: "uint32 uint64",
  ReduceSum: "uint32 uint64",
  ReduceSumSquare: "uint32 uint64",
  Relu: "int16 int64",
  Resize: "float64 int16 uint16 uint32 int64 uint64 bool",
  SpaceToDepth: "bool int16 uint16 int32 uint32 int64 uint64",
  TopK: "uint16 uint32 uint64",
  Trilu: "int8 uint8 int16 uint16 uint32 uint64",
  Unique: "uint8 int16 uint16 int32 uint32 uint64 bool",
  Where: "int8 int16 uint16 uint32 uint64 bool",
};

const missing = new Map<string, Set<string>>();
for (const [op, types] of Object.entries(lists)) missing.set(op, new Set(types.split(" ")));
for (const op of noDouble.split(/\s+/)) missing.set(op, new Set([...(missing.get(op) ?? []), "float64"]));

/** Operators that move or look at bfloat16 values as they are; no other has a kernel for them. */
const bfloat16Kernels = new Set(
  `Cast CastLike Concat ConstantOfShape Gather GatherElements GatherND Identity IsInf IsNaN ScatterElements ScatterND Shape Sign Slice Transpose Reshape
  Flatten Squeeze Unsqueeze Split If Loop Scan QuantizeLinear DequantizeLinear BitCast`.split(/\s+/),
);

/** Types that hold every value of a narrower one (float64 and 64-bit integers: the nearest there is), in order of preference. */
const wider: Readonly<Partial<Record<DType, readonly DType[]>>> = {
  bfloat16: ["float32"],
  float16: ["float32"],
  float64: ["float32"],
  int8: ["int32", "int64"],
  uint8: ["int32", "int64"],
  int16: ["int32", "int64", "float32"],
  uint16: ["uint32", "int32", "int64", "float32"],
  int32: ["int64", "float32"],
  uint32: ["int64", "float32"],
  int64: ["float64", "float32"],
  uint64: ["int64", "float32"],
  bool: ["uint8", "int32", "int64", "float32"],
};

/** Whether ONNX Runtime lacks an operator's kernel for an element type. */
export function lacksKernel(op: string, dtype: DType): boolean {
  return dtype === "bfloat16" ? !bfloat16Kernels.has(op) : (missing.get(op)?.has(dtype) ?? false);
}

/** Types that an operator is not defined on, though it has kernels for wider and narrower ones. */
const undefinedTypes: Readonly<Record<string, readonly DType[]>> = { BitShift: ["int32", "int64"], Clip: ["uint32"], Max: ["uint32"] };

/** The type to compute an operator in where its own has no kernel; undefined if there is none. */
export function kernelType(op: string, dtype: DType): DType | undefined {
  return (wider[dtype] ?? []).find((type) => !lacksKernel(op, type) && !undefinedTypes[op]?.includes(type));
}
