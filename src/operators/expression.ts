/** Pointwise formulas over the engines' primitives: what an elementwise operator computes, as data that lowering turns into instructions. */
import type { ActivationFunction, AluOp, DeviceType } from "../program/program.js";

export type Expression =
  /** Input `index` of the node, broadcast to the output; null is the running value of an epilogue. */
  | { readonly kind: "operand"; readonly index: number | null }
  | { readonly kind: "immediate"; readonly value: number }
  | { readonly kind: "binary"; readonly op: AluOp; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "function"; readonly function: ActivationFunction; readonly argument: Expression; readonly alpha: number }
  | { readonly kind: "select"; readonly mask: Expression; readonly onTrue: Expression; readonly onFalse: Expression }
  | { readonly kind: "cast"; readonly dtype: DeviceType; readonly argument: Expression };

/** Anything that stands for an expression in a formula: numbers are immediates. */
export type Term = Expression | number;

function expression(term: Term): Expression {
  return typeof term === "number" ? { kind: "immediate", value: term } : term;
}

const binary =
  (op: AluOp) =>
  (left: Term, right: Term): Expression => ({ kind: "binary", op, left: expression(left), right: expression(right) });

export const add = binary("add");
export const subtract = binary("subtract");
export const multiply = binary("multiply");
export const divide = binary("divide");
export const maximum = binary("maximum");
export const minimum = binary("minimum");
export const power = binary("power");

export function operand(index: number | null): Expression {
  return { kind: "operand", index };
}

export function apply(name: ActivationFunction, argument: Term, alpha = 0): Expression {
  return { kind: "function", function: name, argument: expression(argument), alpha };
}

export function compare(op: AluOp, left: Term, right: Term): Expression {
  return binary(op)(left, right);
}

export function select(mask: Term, onTrue: Term, onFalse: Term): Expression {
  return { kind: "select", mask: expression(mask), onTrue: expression(onTrue), onFalse: expression(onFalse) };
}

export function cast(dtype: DeviceType, argument: Term): Expression {
  return { kind: "cast", dtype, argument: expression(argument) };
}
