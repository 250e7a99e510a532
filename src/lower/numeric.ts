/** Compile-time arithmetic with the engines' rounding. */
import type { AluOp } from "../program/program.js";

const functions: Partial<Record<AluOp, (left: number, right: number) => number>> = {
  add: (left, right) => left + right,
  subtract: (left, right) => left - right,
  multiply: (left, right) => left * right,
  divide: (left, right) => left / right,
  maximum: Math.max,
  minimum: Math.min,
  power: (left, right) => left ** right,
};

/** left op right in FP32. Throws (an internal invariant) for functions that constant folding has removed. */
export function fround(op: AluOp, left: number, right: number): number {
  const compute = functions[op];
  if (!compute) throw new Error(`${op} of two constants should have been folded`);
  return Math.fround(compute(left, right));
}
