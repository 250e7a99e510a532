/**
 * Small values computed in plain JavaScript from the records' own formulas, movements and reductions. It serves shape inference (shapes
 * that a model computes); results are exact for integers up to 2^53 and near FP32 for floats. Folding proper is ONNX Runtime's.
 */
import { type Dim, intAttribute, type TensorType } from "../graph/graph.js";
import { type DType, elementCount, fromNumbers, isFloat, isInteger, rowMajorStrides, type Tensor, toNumbers } from "../graph/tensor.js";
import type { ActivationFunction, AluOp, ReduceOp } from "../program/program.js";
import type { Expression } from "./expression.js";
import { applyMovement } from "./pieces.js";
import type { Lowering, OperatorRecord, OperatorUse } from "./record.js";
import { constantValue, shapeRange } from "./reshape.js";
import { dtypeFromCode } from "./shapes.js";

/** Most elements of a value that is computed. */
const MOST_ELEMENTS = 1024;

/** Error function, to 1.2e-7 relative in the complement (W. H. Press et al., Numerical Recipes, erfc by Chebyshev fit). */
function erf(x: number): number {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const terms = [
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223,
  ];
  const series = terms.reduce((sum, term) => sum * t + term, 0);
  const complement = t * Math.exp(-x * x + series);
  return x >= 0 ? 1 - complement : complement - 1;
}

function roundHalfEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

const functions: Readonly<Record<ActivationFunction, (x: number, alpha: number) => number>> = {
  identity: (x) => x,
  relu: (x) => Math.max(x, 0),
  leaky_relu: (x, alpha) => (x >= 0 ? x : alpha * x),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  square: (x) => x * x,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  erf,
  gelu: (x) => (x * (1 + erf(x * Math.SQRT1_2))) / 2,
  gelu_tanh: (x) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2,
  silu: (x) => x / (1 + Math.exp(-x)),
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
  is_nan: (x) => Number(Number.isNaN(x)),
  is_inf: (x) => Number(Math.abs(x) === Number.POSITIVE_INFINITY),
};

const operators: Readonly<Record<AluOp, (a: number, b: number, integer: boolean) => number>> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b, integer) => (integer ? Math.trunc(a / b) : a / b),
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
  power: (a, b) => a ** b,
  modulo: (a, b) => (a % b !== 0 && a % b < 0 !== b < 0 ? (a % b) + b : a % b),
  equal: (a, b) => Number(a === b),
  not_equal: (a, b) => Number(a !== b),
  less: (a, b) => Number(a < b),
  less_equal: (a, b) => Number(a <= b),
  greater: (a, b) => Number(a > b),
  greater_equal: (a, b) => Number(a >= b),
  logical_and: (a, b) => Number(a !== 0 && b !== 0),
  logical_or: (a, b) => Number(a !== 0 || b !== 0),
  logical_xor: (a, b) => Number((a !== 0) !== (b !== 0)),
  bitwise_and: (a, b) => a & b,
  bitwise_or: (a, b) => a | b,
  bitwise_xor: (a, b) => a ^ b,
  shift_left: (a, b) => a << b,
  shift_right: (a, b) => a >> b,
};

const reducers: Readonly<Record<ReduceOp, { readonly start: number; readonly join: (a: number, b: number) => number }>> = {
  add: { start: 0, join: (a, b) => a + b },
  multiply: { start: 1, join: (a, b) => a * b },
  maximum: { start: Number.NEGATIVE_INFINITY, join: (a, b) => Math.max(a, b) },
  minimum: { start: Number.POSITIVE_INFINITY, join: (a, b) => Math.min(a, b) },
};

/** A formula's value; `operandValue` gives the operands. Integers stay integers, floats round to FP32 after every step. */
export function evaluateExpression(expression: Expression, operandValue: (index: number | null) => number, integer: boolean): number {
  const round = (value: number): number => (integer ? value : Math.fround(value));
  const value = (part: Expression): number => {
    switch (part.kind) {
      case "operand":
        return operandValue(part.index);
      case "immediate":
        return round(part.value);
      case "binary":
        return round(operators[part.op](value(part.left), value(part.right), integer));
      case "function":
        return round(functions[part.function](value(part.argument), part.alpha));
      case "select":
        return value(part.mask) !== 0 ? value(part.onTrue) : value(part.onFalse);
      case "cast":
        return convert(value(part.argument), part.dtype);
    }
  };
  return value(expression);
}

function convert(value: number, dtype: DType): number {
  if (dtype === "bool") return Number(value !== 0);
  return isInteger(dtype) ? Math.trunc(value) : Math.fround(value);
}

/** For each element of `shape` (row-major), the index of the element of `from` that broadcasting shows there. */
export function broadcastIndices(from: readonly number[], shape: readonly number[]): number[] {
  const strides = rowMajorStrides(from);
  const offset = shape.length - from.length;
  let indices = [0];
  for (const [axis, size] of shape.entries()) {
    const stride = axis < offset || from[axis - offset] === 1 ? 0 : strides[axis - offset];
    indices = indices.flatMap((index) => Array.from({ length: size }, (_, step) => index + step * stride));
  }
  return indices;
}

function evaluatePointwise(
  lowering: Extract<Lowering, { kind: "pointwise" }>,
  use: OperatorUse,
  inputs: readonly Tensor[],
  shape: readonly number[],
) {
  const formula = lowering.formula(use);
  const values = inputs.map(toNumbers);
  const places = inputs.map((input) => broadcastIndices(input.shape, shape));
  const integer = inputs.every((input) => !isFloat(input.dtype));
  return Array.from({ length: elementCount(shape) }, (_, element) =>
    evaluateExpression(formula, (index) => (index === null ? Number.NaN : values[index][places[index][element]]), integer),
  );
}

function evaluateReduce(lowering: Extract<Lowering, { kind: "reduce" }>, use: OperatorUse, input: Tensor): number[] {
  const axes = lowering.axes(use);
  const integer = !isFloat(input.dtype);
  const { start, join } = reducers[lowering.op];
  const kept = input.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const strides = rowMajorStrides(kept).map((stride, axis) => (axes.includes(axis) ? 0 : stride));
  const inStrides = rowMajorStrides(input.shape);
  const results = new Array<number>(elementCount(kept)).fill(start);
  const one = (build: ((value: Expression) => Expression) | undefined, value: number): number =>
    build ? evaluateExpression(build({ kind: "operand", index: 0 }), () => value, integer) : value;
  for (const [index, value] of toNumbers(input).entries()) {
    const place = strides.reduce((sum, stride, axis) => sum + stride * (Math.floor(index / inStrides[axis]) % input.shape[axis]), 0);
    results[place] = join(results[place], one(lowering.pre, value));
  }
  const { post } = lowering;
  const count = elementCount(input.shape) / Math.max(1, results.length);
  return results.map((value) => one(post && ((operand) => post(operand, count)), value));
}

/** Shape and Size need their input's type only. */
function evaluateShape(use: OperatorUse): number[] | undefined {
  const shape = use.inputs[0]?.shape;
  if (shape === undefined) return undefined;
  const dims: readonly Dim[] = use.op === "Shape" ? shape.slice(...shapeRange(use, shape.length)) : shape;
  const known = dims.filter((dim) => typeof dim === "number");
  if (known.length < dims.length) return undefined;
  return use.op === "Shape" ? known : [elementCount(known)];
}

const evaluable = (dtype: DType): boolean => dtype === "float32" || dtype === "bool" || /^u?int(8|16|32|64)$/.test(dtype);

function valuesOf(record: OperatorRecord, use: OperatorUse, output: number, shape: readonly number[], inputs: readonly Tensor[]) {
  const { lowering } = record;
  if (use.op === "ConstantOfShape") {
    const value = use.attributes.value;
    return new Array<number>(elementCount(shape)).fill(value?.type === "tensor" ? toNumbers(value.value)[0] : 0);
  }
  if (use.op === "Range") {
    const [start, , delta] = inputs.map((input) => toNumbers(input)[0]);
    return Array.from({ length: shape[0] }, (_, index) => start + index * delta);
  }
  if (use.op === "Cast") {
    const to = dtypeFromCode(use, "to", intAttribute(use.attributes, "to", 0));
    return toNumbers(inputs[0]).map((value) => convert(value, to));
  }
  switch (lowering?.kind) {
    case "pointwise":
      return evaluatePointwise(lowering, use, inputs, shape);
    case "reduce":
      return evaluateReduce(lowering, use, inputs[0]);
    case "movement": {
      const movement = lowering.movements(use)[output];
      return applyMovement(movement, inputs.map(toNumbers), elementCount(shape), movement.fill ?? 0);
    }
    default:
      return undefined;
  }
}

/** The constant inputs, if all are constant and small. Absent ones leave gaps. */
function smallInputs(use: OperatorUse): Tensor[] | undefined {
  const inputs: Tensor[] = [];
  for (const [index, type] of use.inputs.entries()) {
    const constant = use.constants[index];
    if (type === undefined) continue;
    if (constant === undefined || !evaluable(constant.dtype) || elementCount(constant.shape) > MOST_ELEMENTS) return undefined;
    inputs[index] = constant;
  }
  return inputs;
}

function evaluateOutput(record: OperatorRecord, use: OperatorUse, output: number, { dtype, shape }: TensorType): Tensor | undefined {
  if (shape === undefined || !evaluable(dtype)) return undefined;
  const extents = shape.filter((dim) => typeof dim === "number");
  if (extents.length < shape.length || elementCount(extents) > MOST_ELEMENTS) return undefined;
  if (use.op === "Shape" || use.op === "Size") {
    const values = evaluateShape(use);
    return values && fromNumbers("int64", extents, values);
  }
  const inputs = smallInputs(use);
  const values = inputs && valuesOf(record, use, output, extents, inputs);
  if (values === undefined || values.length !== elementCount(extents)) return undefined;
  if (!isFloat(dtype) && values.some((value) => !Number.isFinite(value))) return undefined;
  return fromNumbers(dtype, extents, values);
}

/**
 * The values of a node's outputs, whose types `infer` gave, where they follow from `use.constants` (or, for Shape and Size, from types)
 * and are small. Undefined otherwise: never an error.
 */
export function evaluate(record: OperatorRecord, use: OperatorUse, types: readonly TensorType[]): (Tensor | undefined)[] {
  if (use.op === "Constant") return [constantValue(use)];
  if (use.outputCount > 1 && use.op !== "Split") return [];
  return types.map((type, output) => evaluateOutput(record, use, output, type));
}
