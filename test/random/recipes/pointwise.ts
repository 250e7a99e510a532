/** Pointwise operators. */
import { elementTypeCodes } from "../../../src/frontend/onnx/tensor.js";
import type { Attributes } from "../../../src/graph/graph.js";
import { type DType, fromNumbers, isFloat } from "../../../src/graph/tensor.js";
import type { Draw } from "../draw.js";
import { type Bounds, float, floatTypes, type Grower, int, integerLimits, LIMIT, text, type Value } from "../grower.js";
import { jointShape, operandFor, productBounds, type Range, type Recipe, union } from "./recipe.js";

interface Unary {
  /** What a float operand has to be within. */
  readonly domain?: Range;
  /** The result's bounds from the operand's. */
  of(low: number, high: number): Range;
  /** Exact operands give an exact result. */
  readonly exact?: true;
  /** The function jumps: it is for exact operands only. */
  readonly jumps?: true;
  readonly types?: readonly DType[];
  attributes?(draw: Draw): Attributes;
}

const signedTypes: readonly DType[] = [...floatTypes, "int32", "int8", "int16"];
const truth: Bounds = { low: 0, high: 1, exact: true };

const rising =
  (f: (x: number) => number) =>
  (low: number, high: number): Range => [f(low), f(high)];
const falling =
  (f: (x: number) => number) =>
  (low: number, high: number): Range => [f(high), f(low)];
const always = (low: number, high: number) => (): Range => [low, high];
/** At least `bottom`, and at most as large as the operand. */
const from =
  (bottom: number) =>
  (low: number, high: number): Range => [bottom, Math.max(-low, high, 0)];
const positive = (name: string) => (draw: Draw) => ({ [name]: float(draw.real(0.1, 1.5)) });

const unaries: Readonly<Record<string, Unary>> = {
  Relu: { of: rising((x) => Math.max(x, 0)), exact: true, types: signedTypes },
  LeakyRelu: { of: rising((x) => (x < 0 ? 1.5 * x : x)), attributes: positive("alpha") },
  Sigmoid: { of: always(0, 1) },
  HardSigmoid: { of: always(0, 1), attributes: (draw) => ({ alpha: float(draw.real(0.1, 1)), beta: float(draw.real(0, 1)) }) },
  HardSwish: { of: from(-0.4) },
  Tanh: { of: rising(Math.tanh) },
  Elu: { of: from(-1.5), attributes: positive("alpha") },
  Selu: { of: (_, high) => [-1.8, Math.max(0, 1.1 * high)] },
  Celu: { of: from(-1.5), attributes: positive("alpha") },
  Softplus: { of: (_, high) => [0, Math.max(high, 0) + 1] },
  Softsign: { of: always(-1, 1) },
  ThresholdedRelu: { of: from(0), exact: true, jumps: true, attributes: (draw) => ({ alpha: float(draw.integer(1, 12) / 8) }) },
  Shrink: {
    of: (low, high) => [low - 2, high + 2],
    jumps: true,
    attributes: (draw) => ({ lambd: float(draw.integer(1, 12) / 8), bias: float(draw.real(0, 1.5)) }),
  },
  Mish: { of: from(-0.4) },
  Gelu: { of: from(-0.2), attributes: (draw) => ({ approximate: text(draw.pick(["none", "tanh"])) }) },
  Abs: {
    of: (low, high) => [Math.max(low, -high, 0), Math.max(-low, high)],
    exact: true,
    types: [...signedTypes, "int64", "uint8", "uint16", "uint32", "uint64"],
  },
  Neg: { of: falling((x) => -x), exact: true, types: [...signedTypes, "int64"] },
  Sign: { of: always(-1, 1), exact: true, jumps: true, types: [...signedTypes, "uint8", "uint16", "uint32"] },
  Floor: { of: rising(Math.floor), exact: true, jumps: true },
  Ceil: { of: rising(Math.ceil), exact: true, jumps: true },
  Round: { of: (low, high) => [Math.floor(low), Math.ceil(high)], exact: true, jumps: true },
  Sqrt: { domain: [0.1, LIMIT], of: rising(Math.sqrt) },
  Reciprocal: { domain: [0.25, LIMIT], of: falling((x) => 1 / x) },
  Exp: { domain: [-LIMIT, 3], of: rising(Math.exp) },
  Log: { domain: [0.1, LIMIT], of: rising(Math.log) },
  Erf: { of: always(-1, 1) },
  Sin: { of: always(-1, 1) },
  Cos: { of: always(-1, 1) },
  Tan: { domain: [-1, 1], of: rising(Math.tan) },
  Asin: { domain: [-0.9, 0.9], of: rising(Math.asin) },
  Acos: { domain: [-0.9, 0.9], of: falling(Math.acos) },
  Atan: { of: rising(Math.atan) },
  Sinh: { domain: [-2, 2], of: rising(Math.sinh) },
  Cosh: { domain: [-2, 2], of: (low, high) => [1, Math.cosh(Math.max(-low, high))] },
  Asinh: { of: rising(Math.asinh) },
  Acosh: { domain: [1.25, LIMIT], of: rising(Math.acosh) },
  Atanh: { domain: [-0.9, 0.9], of: rising(Math.atanh) },
  IsNaN: { of: always(0, 1), exact: true },
  IsInf: {
    of: always(0, 1),
    exact: true,
    types: floatTypes,
    attributes: (draw) => ({ detect_negative: int(draw.integer(0, 1)), detect_positive: int(1) }),
  },
  Not: { of: always(0, 1), types: ["bool"] },
  BitwiseNot: { of: falling((x) => -x - 1), types: ["int32", "int16", "int8", "int64", "uint8", "uint16", "uint32", "uint64"] },
  Identity: {
    of: rising((x) => x),
    exact: true,
    types: [...signedTypes, "bool", "int64", "uint8", "uint16", "uint32", "uint64", "float64"],
  },
  Dropout: { of: rising((x) => x), exact: true },
};

function unary(op: string, entry: Unary): Recipe {
  const { domain = [-LIMIT, LIMIT], of, exact = false, jumps = false, types = floatTypes, attributes } = entry;
  return (grower) => {
    const found = grower.find((value) => types.includes(value.dtype) && (!jumps || value.exact));
    const x = found && isFloat(found.dtype) ? grower.fit(found, ...domain) : found;
    if (x === undefined || (jumps && !x.exact)) return undefined;
    const [low, high] = of(x.low, x.high);
    return grower.node(op, [x], attributes?.(grower.draw) ?? {}, { low, high, exact: exact && x.exact });
  };
}

const arithmeticTypes: readonly DType[] = [
  ...floatTypes,
  ...(["int32", "int64", "uint64", "uint32", "int16", "int8", "uint8", "uint16"] as const),
];

/** The bounds of a result from those of two operands. */
const arithmetic: Readonly<Record<string, (a: Bounds, b: Bounds) => Range>> = {
  Add: (a, b) => [a.low + b.low, a.high + b.high],
  Sub: (a, b) => [a.low - b.high, a.high - b.low],
  Mul: productBounds,
  PRelu: (a, b) => {
    const [low, high] = productBounds({ ...a, high: Math.min(a.high, 0), low: Math.min(a.low, 0) }, b);
    return [Math.min(low, 0), Math.max(high, a.high)];
  },
};

function binary(op: string, bounds: (a: Bounds, b: Bounds) => Range): Recipe {
  return (grower) => {
    const types = op === "PRelu" ? floatTypes : arithmeticTypes;
    const found = grower.find((value) => types.includes(value.dtype));
    if (found === undefined) return undefined;
    const pair = [found, operandFor(grower, found)].map((value) => (isFloat(value.dtype) ? grower.fit(value, -LIMIT, LIMIT) : value));
    // A slope broadcasts to x, not x to it.
    const [a, b] = op !== "PRelu" && grower.draw.chance(0.5) ? pair.reverse() : pair;
    if (op === "PRelu" && !fits(b.shape, a.shape)) return undefined;
    const [low, high] = bounds(a, b);
    return grower.node(op, [a, b], {}, { low, high, exact: false });
  };
}

/** Whether `small` broadcasts to `shape` without widening it. */
function fits(small: readonly number[], shape: readonly number[]): boolean {
  return (
    small.length <= shape.length && small.every((extent, axis) => extent === 1 || extent === shape[axis - small.length + shape.length])
  );
}

function divide(grower: Grower): unknown {
  const found = grower.find((value) => [...floatTypes, "int32", "uint8", "int16", "uint32"].includes(value.dtype));
  if (found === undefined) return undefined;
  if (!isFloat(found.dtype)) {
    const most = Math.max(-found.low, found.high);
    return grower.node(
      "Div",
      [found, grower.scalar(found.dtype, grower.draw.integer(1, 9))],
      {},
      { low: -most * Number(found.low < 0), high: most, exact: true },
    );
  }
  const a = grower.fit(found, -LIMIT, LIMIT);
  const b = grower.fit(operandFor(grower, a), 0.5, 4);
  const most = Math.max(-a.low, a.high) / b.low;
  return grower.node("Div", [a, b], {}, { low: -most, high: most, exact: false });
}

function power(grower: Grower): unknown {
  const found = grower.find((value) => floatTypes.includes(value.dtype));
  if (found === undefined) return undefined;
  if (grower.draw.chance(0.3)) {
    const x = grower.fit(found, -LIMIT, LIMIT);
    return grower.node("Pow", [x, grower.scalar(x.dtype, 2)], {}, { low: 0, high: LIMIT ** 2, exact: false });
  }
  const x = grower.fit(found, 0.25, 4);
  const exponent = grower.draw.chance(0.5)
    ? grower.scalar(x.dtype, grower.draw.pick([-1, 0.5, 1, 1.5, 2, 3]))
    : grower.fit(operandFor(grower, x), -2, 2);
  return grower.node("Pow", [x, exponent], {}, { low: 0, high: 64, exact: false });
}

function remainder(grower: Grower): unknown {
  const found = grower.find((value) => value.exact && arithmeticTypes.includes(value.dtype));
  if (found === undefined) return undefined;
  const divisor = isFloat(found.dtype) ? grower.draw.integer(2, 24) / 8 : grower.draw.integer(2, 11);
  const signed = isFloat(found.dtype) || grower.draw.chance(0.3);
  return grower.node(
    "Mod",
    [found, grower.scalar(found.dtype, divisor)],
    { fmod: int(signed ? 1 : 0) },
    {
      low: signed ? -divisor : 0,
      high: divisor,
      exact: true,
    },
  );
}

function compare(op: string, types: readonly DType[]): Recipe {
  return (grower) => {
    const a = grower.find((value) => value.exact && types.includes(value.dtype));
    if (a === undefined) return undefined;
    const b = operandFor(grower, a, { exact: true });
    return grower.node(op, grower.draw.shuffle([a, b]), {}, truth);
  };
}

function bitwise(op: string): Recipe {
  return (grower) => {
    const a = grower.find((value) => ["int32", "int16", "int8", "uint8", "int64", "uint64", "uint32", "uint16"].includes(value.dtype));
    if (a === undefined) return undefined;
    const b = operandFor(grower, a);
    const most = 2 ** Math.ceil(Math.log2(Math.max(2, -a.low, a.high, -b.low, b.high) + 1));
    return grower.node(op, [a, b], {}, { low: Math.min(a.low, b.low) < 0 ? -most : 0, high: most, exact: true });
  };
}

function shift(grower: Grower): unknown {
  const a = grower.find((value) => ["uint8", "uint16", "uint32"].includes(value.dtype));
  if (a === undefined) return undefined;
  const direction = grower.draw.pick(["LEFT", "RIGHT"]);
  const by = direction === "LEFT" ? 1 : grower.draw.integer(1, 4);
  const factor = direction === "LEFT" ? 2 : 1;
  return grower.node(
    "BitShift",
    [a, grower.scalar(a.dtype, by)],
    { direction: text(direction) },
    { low: 0, high: factor * a.high, exact: true },
  );
}

function variadic(op: string, types: readonly DType[], bounds: (values: readonly Value[]) => Bounds): Recipe {
  return (grower) => {
    const first = grower.find((value) => types.includes(value.dtype));
    if (first === undefined) return undefined;
    const values = [isFloat(first.dtype) ? grower.fit(first, -LIMIT, LIMIT) : first];
    for (let count = grower.draw.integer(0, 3); count > 0; count--) values.push(operandFor(grower, values[0], { exact: values[0].exact }));
    return jointShape(values) && grower.node(op, values, {}, bounds(values));
  };
}

const summed = (values: readonly Bounds[]): Bounds => ({
  low: values.reduce((sum, { low }) => sum + low, 0),
  high: values.reduce((sum, { high }) => sum + high, 0),
  exact: false,
});

function clip(grower: Grower): unknown {
  const x = grower.find((value) => arithmeticTypes.includes(value.dtype));
  if (x === undefined) return undefined;
  const unit = isFloat(x.dtype) ? 8 : 1;
  const [low, high] = [grower.draw.integer(isFloat(x.dtype) || !x.dtype.startsWith("u") ? -8 : 0, 4), grower.draw.integer(5, 16)].map(
    (bound) => bound / unit,
  );
  const [hasLow, hasHigh] = grower.draw.pick([
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ]);
  const inputs = [x, hasLow ? grower.scalar(x.dtype, low) : undefined, hasHigh ? grower.scalar(x.dtype, high) : undefined];
  const floor = hasLow ? Math.max(low, x.low) : x.low;
  return grower.node(
    "Clip",
    inputs,
    {},
    {
      low: hasHigh ? Math.min(high, floor) : floor,
      high: hasHigh ? Math.min(high, Math.max(x.high, floor)) : Math.max(x.high, floor),
      exact: x.exact,
    },
  );
}

function choose(grower: Grower): unknown {
  const a = grower.find((value) => [...arithmeticTypes, "float64", "bool"].includes(value.dtype));
  if (a === undefined) return undefined;
  const b = operandFor(grower, a);
  const condition = operandFor(grower, a, { dtype: "bool" });
  if (jointShape([a, b, condition]) === undefined) return undefined;
  return grower.node("Where", [condition, ...grower.draw.shuffle([a, b])], {}, union([a, b]));
}

/** Bounds of a value as another type; undefined where it does not hold the value. */
function converted({ dtype, low, high, exact }: Value, to: DType): Bounds | undefined {
  if (to === "bool") return exact ? truth : undefined;
  if (!isFloat(to)) {
    const held = high <= (integerLimits[to] ?? 0) && low >= (to.startsWith("u") ? 0 : -(integerLimits[to] ?? 0));
    return exact && held ? { low: Math.min(0, low), high: Math.max(0, high), exact: true } : undefined;
  }
  const most = Math.max(-low, high);
  if (most > 1000) return undefined;
  return { low, high, exact: exact && (isFloat(dtype) || most <= 128) };
}

const castTypes: readonly DType[] = [
  ...floatTypes,
  ...(["int32", "int64", "int8", "uint8", "int16", "uint16", "uint32", "uint64", "bool"] as const),
];

function cast(like: boolean): Recipe {
  return (grower) => {
    const x = grower.find((value) => castTypes.includes(value.dtype));
    if (x === undefined) return undefined;
    const to = grower.draw.pick(castTypes);
    const bounds = converted(x, to);
    if (bounds === undefined) return undefined;
    if (!like) return grower.node("Cast", [x], { to: int(elementTypeCodes[to]) }, bounds);
    return grower.node("CastLike", [x, grower.fixed(fromNumbers(to, [1], [0]), truth)], {}, bounds);
  };
}

export const pointwise: Readonly<Record<string, Recipe>> = {
  ...Object.fromEntries(Object.entries(unaries).map(([op, entry]) => [op, unary(op, entry)])),
  ...Object.fromEntries(Object.entries(arithmetic).map(([op, bounds]) => [op, binary(op, bounds)])),
  Div: divide,
  Pow: power,
  Mod: remainder,
  Sum: variadic("Sum", floatTypes, summed),
  Mean: variadic("Mean", floatTypes, (values) => ({ ...union(values), exact: false })),
  Max: variadic("Max", arithmeticTypes, union),
  Min: variadic("Min", arithmeticTypes, union),
  Clip: clip,
  Where: choose,
  Cast: cast(false),
  CastLike: cast(true),
  Equal: compare("Equal", [...arithmeticTypes, "bool"]),
  ...Object.fromEntries(["Greater", "GreaterOrEqual", "Less", "LessOrEqual"].map((op) => [op, compare(op, arithmeticTypes)])),
  ...Object.fromEntries(["And", "Or", "Xor"].map((op) => [op, compare(op, ["bool"])])),
  ...Object.fromEntries(["BitwiseAnd", "BitwiseOr", "BitwiseXor"].map((op) => [op, bitwise(op)])),
  BitShift: shift,
};
