/**
 * Pointwise operations as formulas of `wasm/kernels/pointwise.ts`. Rules: `activation` computes in FP32, each step rounded, and an
 * immediate scale of 1 or bias of 0 is no step. Two-operand functions work in int32 (uint32 if a tensor operand is uint32) where every
 * tensor operand is integer or bool and every immediate is a whole number; otherwise in FP32. The result is then converted to the type of `out`.
 */
import type {
  Access,
  Activation,
  AluOp,
  Copy,
  DeviceType,
  Memset,
  Scalar,
  ScalarTensorTensor,
  Select,
  TensorScalar,
  TensorTensor,
} from "../program/program.js";
import { activationFunction, binary, isDouble } from "./wasm/alu.js";
import { type LaneClass, laneClass, toFloat } from "./wasm/dtype.js";
import { bitselect, f32x4, i32x4, type V128, vector } from "./wasm/emitter.js";
import type { PointwiseFormula } from "./wasm/kernels/pointwise.js";

export type Pointwise = Activation | TensorTensor | TensorScalar | ScalarTensorTensor | Select | Copy | Memset;

/** A scalar operand: a row of lanes in memory, or an immediate in the class in which the formula takes it. */
export type ScalarRow = { readonly value: number; readonly class: LaneClass } | Access;

export interface PointwiseForm {
  readonly formula: PointwiseFormula;
  readonly out: Access;
  readonly inputs: readonly Access[];
  readonly scalars: readonly ScalarRow[];
}

type TypeOf = (access: Access) => DeviceType;

/** The class in which a two-operand function works. */
function modeOf(tensors: readonly LaneClass[], scalars: readonly Scalar[]): LaneClass {
  const whole = (scalar: Scalar) => typeof scalar === "number" && Number.isInteger(scalar) && scalar >= -(2 ** 31) && scalar < 2 ** 32;
  if (tensors.includes("float") || !scalars.every(whole)) return "float";
  return tensors.includes("unsigned") ? "unsigned" : "signed";
}

const hasSeries = (...operations: (AluOp | undefined)[]) => operations.includes("power");
const inMode = (value: V128, from: LaneClass, mode: LaneClass) => (mode === "float" ? toFloat(value, from) : value);
const row = (scalar: Scalar, mode: LaneClass): ScalarRow => (typeof scalar === "number" ? { value: scalar, class: mode } : scalar);

function activation(operation: Activation, typeOf: TypeOf): PointwiseForm {
  const { function: name, scale, bias, alpha } = operation;
  const [from, out] = [laneClass(typeOf(operation.in)), typeOf(operation.out)];
  const [scaled, biased, sloped] = [scale !== 1, bias !== 0, name === "leaky_relu"];
  const scalars = [...(scaled ? [scale] : []), ...(biased ? [bias] : []), ...(sloped ? [alpha] : [])];
  const formula: PointwiseFormula = {
    key: `activation ${name} ${scaled} ${biased} ${from} ${out}`,
    inputs: 1,
    isLong: isDouble(name),
    scalars: scalars.length,
    out,
    result: "float",
    value(f, [input], rows) {
      const next = rows[Symbol.iterator]();
      const take = (): V128 => {
        const result = next.next();
        if (result.done) throw new Error("too few scalars");
        return result.value;
      };
      let value = toFloat(input, from);
      if (scaled) value = vector("f32x4.mul", value, take());
      if (biased) value = vector("f32x4.add", value, take());
      return activationFunction(f, name, value, sloped ? take() : f32x4(0), out);
    },
  };
  return { formula, out: operation.out, inputs: [operation.in], scalars: scalars.map((scalar) => row(scalar, "float")) };
}

function tensorTensor(operation: TensorTensor, typeOf: TypeOf): PointwiseForm {
  const { op, in0, in1 } = operation;
  const [class0, class1, out] = [laneClass(typeOf(in0)), laneClass(typeOf(in1)), typeOf(operation.out)];
  const mode = modeOf([class0, class1], []);
  const formula: PointwiseFormula = {
    key: `tensor_tensor ${op} ${class0} ${class1} ${out}`,
    inputs: 2,
    isLong: hasSeries(op),
    scalars: 0,
    out,
    result: mode,
    value: (f, [left, right]) => binary(f, op, mode, inMode(left, class0, mode), inMode(right, class1, mode)),
  };
  return { formula, out: operation.out, inputs: [in0, in1], scalars: [] };
}

function tensorScalar(operation: TensorScalar, typeOf: TypeOf): PointwiseForm {
  const { op0, op1, scalar0, scalar1, reverse0 } = operation;
  const [from, out] = [laneClass(typeOf(operation.in)), typeOf(operation.out)];
  const scalars = op1 !== undefined && scalar1 !== undefined ? [scalar0, scalar1] : [scalar0];
  const mode = modeOf([from], scalars);
  const formula: PointwiseFormula = {
    key: `tensor_scalar ${op0} ${reverse0} ${scalars.length > 1 ? op1 : ""} ${mode} ${from} ${out}`,
    inputs: 1,
    isLong: hasSeries(op0, op1),
    scalars: scalars.length,
    out,
    result: mode,
    value(f, [input], [row0, row1]) {
      const operand = inMode(input, from, mode);
      const first = reverse0 ? binary(f, op0, mode, row0, operand) : binary(f, op0, mode, operand, row0);
      return op1 !== undefined && row1 !== undefined ? binary(f, op1, mode, first, row1) : first;
    },
  };
  return { formula, out: operation.out, inputs: [operation.in], scalars: scalars.map((scalar) => row(scalar, mode)) };
}

function scalarTensorTensor(operation: ScalarTensorTensor, typeOf: TypeOf): PointwiseForm {
  const { in0, in1, op0, op1, scalar } = operation;
  const [class0, class1, out] = [laneClass(typeOf(in0)), laneClass(typeOf(in1)), typeOf(operation.out)];
  const mode = modeOf([class0, class1], [scalar]);
  const formula: PointwiseFormula = {
    key: `scalar_tensor_tensor ${op0} ${op1} ${mode} ${class0} ${class1} ${out}`,
    inputs: 2,
    isLong: hasSeries(op0, op1),
    scalars: 1,
    out,
    result: mode,
    value: (f, [left, right], [row0]) =>
      binary(f, op1, mode, binary(f, op0, mode, inMode(left, class0, mode), row0), inMode(right, class1, mode)),
  };
  return { formula, out: operation.out, inputs: [in0, in1], scalars: [row(scalar, mode)] };
}

function selectForm(operation: Select, typeOf: TypeOf): PointwiseForm {
  const { mask, onTrue, onFalse } = operation;
  const [maskClass, trueClass, falseClass] = [mask, onTrue, onFalse].map((access) => laneClass(typeOf(access)));
  const out = typeOf(operation.out);
  const mode = modeOf([trueClass, falseClass], []);
  const formula: PointwiseFormula = {
    key: `select ${maskClass} ${trueClass} ${falseClass} ${out}`,
    inputs: 3,
    scalars: 0,
    out,
    result: mode,
    value(_, [test, left, right]) {
      const set = maskClass === "float" ? vector("f32x4.ne", test, f32x4(0)) : vector("i32x4.ne", test, i32x4(0));
      return bitselect(set, inMode(left, trueClass, mode), inMode(right, falseClass, mode));
    },
  };
  return { formula, out: operation.out, inputs: [mask, onTrue, onFalse], scalars: [] };
}

function copy(operation: Copy, typeOf: TypeOf): PointwiseForm {
  const [from, out] = [typeOf(operation.in), typeOf(operation.out)];
  // A value of the same type needs no rounding: it is held rounded already.
  const same = from === out;
  const formula: PointwiseFormula = {
    key: same ? "copy" : `copy ${laneClass(from)} ${out}`,
    inputs: 1,
    scalars: 0,
    out: same ? "int32" : out,
    result: same ? "signed" : laneClass(from),
    value: (_, [input]) => input,
  };
  return { formula, out: operation.out, inputs: [operation.in], scalars: [] };
}

/** Elements of one partition on every lane, bit by bit. */
export const repeatFormula: PointwiseFormula = {
  key: "repeat",
  inputs: 1,
  isRepeated: true,
  scalars: 0,
  out: "int32",
  result: "signed",
  value: (_, [input]) => input,
};

function memset(operation: Memset, typeOf: TypeOf): PointwiseForm {
  const out = typeOf(operation.out);
  const mode = laneClass(out);
  const formula: PointwiseFormula = { key: `memset ${out}`, inputs: 0, scalars: 1, out, result: mode, value: (_, __, [value]) => value };
  return { formula, out: operation.out, inputs: [], scalars: [{ value: operation.value, class: mode }] };
}

export function pointwiseForm(operation: Pointwise, typeOf: TypeOf): PointwiseForm {
  switch (operation.kind) {
    case "activation":
      return activation(operation, typeOf);
    case "tensor_tensor":
      return tensorTensor(operation, typeOf);
    case "tensor_scalar":
      return tensorScalar(operation, typeOf);
    case "scalar_tensor_tensor":
      return scalarTensorTensor(operation, typeOf);
    case "select":
      return selectForm(operation, typeOf);
    case "copy":
      return copy(operation, typeOf);
    case "memset":
      return memset(operation, typeOf);
  }
}
