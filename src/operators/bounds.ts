/**
 * What is known of the numbers that a formula can give, NaN aside: intervals, through the engines' primitives. And which of its operands may turn
 * into NaN where they are infinite.
 */
import { type DType, isFloat, largestFinite } from "../graph/tensor.js";
import type { ActivationFunction, AluOp } from "../program/program.js";
import type { Expression } from "./expression.js";

export interface Bounds {
  readonly low: number;
  readonly high: number;
}

export const EVERY: Bounds = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
/** Of the integers that the engines hold. */
const WHOLE: Bounds = { low: -(2 ** 31), high: 2 ** 32 };
const TRUTH: Bounds = { low: 0, high: 1 };
const UNIT: Bounds = { low: -1, high: 1 };
const POSITIVE: Bounds = { low: 0, high: Number.POSITIVE_INFINITY };

export type FloatType = keyof typeof largestFinite;

export function isEngineFloat(dtype: DType | undefined): dtype is FloatType {
  return dtype !== undefined && dtype in largestFinite;
}

export function canBeInfinite({ low, high }: Bounds): boolean {
  return !(Number.isFinite(low) && Number.isFinite(high));
}

const hasZero = ({ low, high }: Bounds): boolean => low <= 0 && high >= 0;

/** Whether one may be infinite with one sign and the other with the other sign. */
export function canBeOpposite(a: Bounds, b: Bounds): boolean {
  const { POSITIVE_INFINITY: infinity } = Number;
  return (a.high === infinity && b.low === -infinity) || (a.low === -infinity && b.high === infinity);
}

export function hull(a: Bounds, b: Bounds): Bounds {
  return { low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
}

/** In FP32: rounding keeps order. */
function between(low: number, high: number): Bounds {
  return Number.isNaN(low) || Number.isNaN(high) ? EVERY : { low: Math.fround(low), high: Math.fround(high) };
}

/** Of such numbers in a type whose largest finite one is that of `limit`: what is beyond is infinite. */
export function storedBounds({ low, high }: Bounds, dtype: DType, limit: DType = dtype): Bounds {
  if (!isEngineFloat(limit)) return isFloat(dtype) ? EVERY : WHOLE;
  const most = largestFinite[limit];
  return { low: low < -most ? EVERY.low : low, high: high > most ? EVERY.high : high };
}

interface BinaryRule {
  bounds(a: Bounds, b: Bounds): Bounds;
  /** Whether an infinite left, or right, operand may give NaN. */
  risks?(a: Bounds, b: Bounds): readonly [boolean, boolean];
}

const negated = ({ low, high }: Bounds): Bounds => ({ low: -high, high: -low });
const sum = (a: Bounds, b: Bounds): Bounds => between(a.low + b.low, a.high + b.high);
const both = (risk: boolean) => [risk, risk] as const;

function product(a: Bounds, b: Bounds): Bounds {
  const corners = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high].map((value) => (Number.isNaN(value) ? 0 : value));
  return between(Math.min(...corners), Math.max(...corners));
}

const truth: BinaryRule = { bounds: () => TRUTH };
const bits: BinaryRule = { bounds: () => WHOLE };

const binaryRules: Readonly<Record<AluOp, BinaryRule>> = {
  add: { bounds: sum, risks: (a, b) => both(canBeOpposite(a, b)) },
  subtract: { bounds: (a, b) => sum(a, negated(b)), risks: (a, b) => both(canBeOpposite(a, negated(b))) },
  multiply: { bounds: product, risks: (a, b) => [canBeInfinite(a) && hasZero(b), canBeInfinite(b) && hasZero(a)] },
  divide: { bounds: () => EVERY, risks: (a, b) => both(canBeInfinite(a) && canBeInfinite(b)) },
  modulo: { bounds: () => EVERY, risks: (a) => [canBeInfinite(a), false] },
  power: { bounds: () => EVERY },
  maximum: { bounds: (a, b) => between(Math.max(a.low, b.low), Math.max(a.high, b.high)) },
  minimum: { bounds: (a, b) => between(Math.min(a.low, b.low), Math.min(a.high, b.high)) },
  equal: truth,
  not_equal: truth,
  less: truth,
  less_equal: truth,
  greater: truth,
  greater_equal: truth,
  logical_and: truth,
  logical_or: truth,
  logical_xor: truth,
  bitwise_and: bits,
  bitwise_or: bits,
  bitwise_xor: bits,
  shift_left: bits,
  shift_right: bits,
};

/** Of the functions that have any. */
const functionBounds: Partial<Readonly<Record<ActivationFunction, (x: Bounds) => Bounds>>> = {
  identity: (x) => x,
  relu: ({ low, high }) => ({ low: Math.max(low, 0), high: Math.max(high, 0) }),
  abs: ({ low, high }) => ({ low: 0, high: Math.max(-low, high) }),
  square: ({ low, high }) => between(0, Math.max(low * low, high * high)),
  exp: ({ high }) => between(0, Math.exp(high) * (1 + 2 ** -20)),
  sigmoid: () => TRUTH,
  is_nan: () => TRUTH,
  is_inf: () => TRUTH,
  tanh: () => UNIT,
  erf: () => UNIT,
  sign: () => UNIT,
  sin: () => UNIT,
  cos: () => UNIT,
  atan: () => ({ low: -2, high: 2 }),
  softplus: () => POSITIVE,
  cosh: () => POSITIVE,
  sqrt: () => POSITIVE,
  rsqrt: () => POSITIVE,
};

/** Those without a limit at an infinity, and those that multiply it with what is zero there. */
const riskyFunctions: ReadonlySet<ActivationFunction> = new Set(["sin", "cos", "tan", "silu", "gelu", "gelu_tanh"]);

/** The operand of a formula by its index; null is the running value of an epilogue. */
type Operand = number | null;

export interface FormulaBounds {
  readonly bounds: Bounds;
  /** Operands that may be infinite and then give NaN. */
  readonly atRisk: ReadonlySet<Operand>;
}

/** Of a formula over operands of such bounds. */
export function formulaBounds(formula: Expression, boundsOf: (operand: Operand) => Bounds): FormulaBounds {
  const atRisk = new Set<Operand>();
  const mark = (risk: boolean | undefined, operands: readonly Operand[]) => {
    if (risk) for (const operand of operands) atRisk.add(operand);
  };
  /** The bounds of a part, and the operands whose infinities may come through to it. */
  const examine = (part: Expression): readonly [Bounds, readonly Operand[]] => {
    switch (part.kind) {
      case "operand":
        return through(boundsOf(part.index), [part.index]);
      case "immediate":
        return [between(part.value, part.value), []];
      case "binary": {
        const [[left, fromLeft], [right, fromRight]] = [examine(part.left), examine(part.right)];
        const rule = binaryRules[part.op];
        const [leftRisk, rightRisk] = rule.risks?.(left, right) ?? both(false);
        mark(leftRisk, fromLeft);
        mark(rightRisk, fromRight);
        return through(rule.bounds(left, right), [...fromLeft, ...fromRight]);
      }
      case "function": {
        const [argument, from] = examine(part.argument);
        mark(riskyFunctions.has(part.function), from);
        return through(functionBounds[part.function]?.(argument) ?? EVERY, from);
      }
      case "select": {
        examine(part.mask);
        const [[yes, fromYes], [no, fromNo]] = [examine(part.onTrue), examine(part.onFalse)];
        return through(hull(yes, no), [...fromYes, ...fromNo]);
      }
      case "cast": {
        const [argument, from] = examine(part.argument);
        return through(storedBounds(argument, part.dtype), from);
      }
    }
  };
  const through = (bounds: Bounds, operands: readonly Operand[]) => [bounds, canBeInfinite(bounds) ? operands : []] as const;
  const [bounds] = examine(formula);
  return { bounds, atRisk };
}
