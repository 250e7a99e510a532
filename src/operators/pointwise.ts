/** Pointwise operators: one table of name to formula. Operand order is the operator's; shapes broadcast. */
import { floatAttribute, intAttribute, stringAttribute } from "../graph/graph.js";
import { type DType, isFloat } from "../graph/tensor.js";
import type { ActivationFunction, AluOp } from "../program/program.js";
import type { Exactness } from "./exactness.js";
import {
  add,
  apply,
  cast,
  compare,
  divide,
  type Expression,
  maximum,
  minimum,
  multiply,
  operand,
  power,
  select,
  subtract,
  type Term,
} from "./expression.js";
import type { AttributeSpec, OperatorRecord, OperatorUse, Reason } from "./record.js";
import {
  attributeFault,
  broadcast,
  constantScalar,
  dtypeFromCode,
  dtypeOf,
  float,
  inputFault,
  int,
  outputCount,
  reason,
  required,
  requireSameType,
  text,
} from "./shapes.js";

export const floatTypes: readonly DType[] = ["float32", "float16", "bfloat16"];
const unsignedTypes: readonly DType[] = ["uint32", "uint16", "uint8"];
export const integerTypes: readonly DType[] = ["int32", "int16", "int8", ...unsignedTypes];
/** Integers that are computed as pairs of 32-bit words. */
const wideIntegers: readonly DType[] = ["int64", "uint64"];
const bitTypes: readonly DType[] = [...integerTypes, ...wideIntegers];
/** Arithmetic of integers wraps at their width; comparing and choosing is exact. */
export const numericTypes: readonly DType[] = [...floatTypes, ...integerTypes];
const signedTypes: readonly DType[] = [...floatTypes, "int32", "int16", "int8"];
export const elementTypes: readonly DType[] = [...numericTypes, "bool"];
const wholeTypes: readonly DType[] = [...numericTypes, ...wideIntegers];
/** Everything whose elements can be moved: 64-bit ones as pairs of words. */
export const movedTypes: readonly DType[] = [...elementTypes, ...wideIntegers, "float64"];

interface Entry {
  readonly since: number;
  /** Fewest and most inputs. */
  readonly inputs: readonly [number, number];
  readonly summary: string;
  /** The value from the operands; an operand that is a constant scalar comes as an immediate. */
  formula?(operands: readonly Term[], use: OperatorUse): Term;
  readonly attributes?: Readonly<Record<string, AttributeSpec>>;
  readonly types?: readonly DType[];
  /** As in the operator's record. */
  readonly inputTypes?: OperatorRecord["inputTypes"];
  readonly exactness?: Exactness;
  /** Type of the result; by default that of input 0, which all inputs then share. */
  result?(use: OperatorUse): DType;
  refuse?(use: OperatorUse): Reason | undefined;
}

type Options = Partial<Omit<Entry, "inputs" | "summary" | "formula">>;

const unary = (summary: string, formula: (x: Term, use: OperatorUse) => Term, options: Options = {}): Entry => ({
  since: 13,
  inputs: [1, 1],
  summary,
  types: floatTypes,
  formula: ([x], use) => formula(x, use),
  ...options,
});

const binary = (summary: string, formula: (a: Term, b: Term, use: OperatorUse) => Term, options: Options = {}): Entry => ({
  since: 13,
  inputs: [2, 2],
  summary,
  types: numericTypes,
  formula: ([a, b], use) => formula(a, b, use),
  ...options,
});

const scalarFunction = (name: ActivationFunction, since = 13, options: Options = {}): Entry =>
  unary(`${name}(x)`, (x) => apply(name, x), { since, ...options });

const exact: Options = { exactness: "exact" };
const toBool: Options = { exactness: "exact", result: () => "bool" };

const comparison = (op: AluOp, sign: string, types: readonly DType[]): Entry =>
  binary(`a ${sign} b`, (a, b) => compare(op, a, b), { ...toBool, types });
const logical = (op: AluOp, sign: string): Entry =>
  binary(`a ${sign} b`, (a, b) => compare(op, a, b), { ...toBool, since: 7, types: ["bool"] });
const bitwise = (op: AluOp, sign: string): Entry =>
  binary(`a ${sign} b`, (a, b) => compare(op, a, b), { ...exact, since: 18, types: bitTypes });

const variadic = (summary: string, join: (a: Term, b: Term) => Expression, options: Options = {}): Entry => ({
  since: 13,
  inputs: [1, Number.POSITIVE_INFINITY],
  summary,
  types: numericTypes,
  formula: (operands) => operands.reduce(join),
  ...options,
});

const attribute = (use: OperatorUse, name: string, fallback: number): number => floatAttribute(use.attributes, name, fallback);
const isInt = (use: OperatorUse): boolean => !isFloat(dtypeOf(use, 0));
const isUnsigned = (use: OperatorUse): boolean => dtypeOf(use, 0).startsWith("u");
const limit = (x: Term, low: Term, high: Term): Expression => minimum(maximum(x, low), high);
/** exp(x) - 1 for x < 0, else 0. */
const negativeExponential = (x: Term): Expression => subtract(apply("exp", minimum(x, 0)), 1);

function clip([x, low, high]: readonly Term[], use: OperatorUse): Term {
  const floor = use.inputs[1] === undefined ? x : maximum(x, low);
  return use.inputs[2] === undefined ? floor : minimum(floor, high);
}

function infinite(x: Term, use: OperatorUse): Term {
  const negative = intAttribute(use.attributes, "detect_negative", 1) !== 0;
  const positive = intAttribute(use.attributes, "detect_positive", 1) !== 0;
  if (negative && positive) return apply("is_inf", x);
  return compare("equal", x, positive ? Number.POSITIVE_INFINITY : negative ? Number.NEGATIVE_INFINITY : Number.NaN);
}

function absolute(x: Term, use: OperatorUse): Term {
  if (isUnsigned(use)) return x;
  return isInt(use) ? maximum(x, multiply(x, -1)) : apply("abs", x);
}

/** Remainder: with the sign of the divisor, or with `fmod` that of the dividend. */
function remainder(a: Term, b: Term, use: OperatorUse): Term {
  if (intAttribute(use.attributes, "fmod", 0) === 0 || isUnsigned(use)) return compare("modulo", a, b);
  if (isInt(use)) {
    // The least integer has no absolute value.
    const rest = compare("modulo", a, b);
    const opposite = compare("not_equal", compare("less", a, 0), compare("less", b, 0));
    return select(compare("logical_and", compare("not_equal", rest, 0), opposite), subtract(rest, b), rest);
  }
  const size = compare("modulo", absolute(a, use), absolute(b, use));
  return select(compare("less", a, 0), multiply(size, -1), size);
}

function gelu(x: Term, use: OperatorUse): Term {
  const form = stringAttribute(use.attributes, "approximate", "none");
  if (form !== "none" && form !== "tanh") throw attributeFault(use, "approximate", form, "use none or tanh");
  return apply(form === "none" ? "gelu" : "gelu_tanh", x);
}

/** The engines' type that a cast ends in. Refused uses (64-bit results) never come here. */
function castTo(x: Term, to: DType): Term {
  switch (to) {
    case "float32":
    case "float16":
    case "bfloat16":
    case "int32":
    case "uint32":
    case "int16":
    case "uint16":
    case "int8":
    case "uint8":
    case "bool":
      return cast(to, x);
    default:
      return x;
  }
}

const castTarget = (use: OperatorUse): DType => dtypeFromCode(use, "to", intAttribute(use.attributes, "to", 0));

/** 64-bit integers are pairs of words: integers convert to them and from them exactly. */
function refuseCast(use: OperatorUse): Reason | undefined {
  const [from, to] = [dtypeOf(use, 0), castTarget(use)];
  const wide = wideIntegers.find((type) => type === from || type === to);
  if (wide !== undefined) {
    const [other, label] = wide === from ? [to, "to"] : [from, "input 0"];
    const whole = [...integerTypes, ...wideIntegers, "bool"];
    return whole.includes(other) ? undefined : reason("dtype", label, `${other}, the other side being ${wide}`, whole.join(", "));
  }
  return elementTypes.includes(to) ? undefined : reason("dtype", "to", to, `a cast to ${[...elementTypes, ...wideIntegers].join(", ")}`);
}

/** Whole numbers to a power that is none may need more digits than FP32 has. */
function refusePower(use: OperatorUse): Reason | undefined {
  const types = [0, 1].map((index) => dtypeOf(use, index));
  return !isFloat(types[0]) && isFloat(types[1]) ? reason("dtype", "input 1 of an integer base", types[1], types[0]) : undefined;
}

function shifted(a: Term, b: Term, use: OperatorUse): Expression {
  const direction = stringAttribute(use.attributes, "direction", "");
  if (direction !== "LEFT" && direction !== "RIGHT") throw attributeFault(use, "direction", direction, "use LEFT or RIGHT");
  return compare(direction === "LEFT" ? "shift_left" : "shift_right", a, b);
}

const table: Readonly<Record<string, Entry>> = {
  // Activations.
  Relu: unary("max(x, 0)", (x, use) => (isInt(use) ? maximum(x, 0) : apply("relu", x)), { since: 14, types: signedTypes, ...exact }),
  LeakyRelu: unary("x >= 0 ? x : alpha x", (x, use) => apply("leaky_relu", x, attribute(use, "alpha", 0.01)), {
    since: 16,
    attributes: { alpha: float(0.01) },
  }),
  PRelu: binary("x >= 0 ? x : slope x", (x, slope) => add(maximum(x, 0), multiply(slope, minimum(x, 0))), { since: 16 }),
  Clip: { since: 13, inputs: [1, 3], summary: "min(max(x, low), high)", types: wholeTypes, formula: clip, ...exact },
  Sigmoid: scalarFunction("sigmoid"),
  HardSigmoid: unary(
    "min(max(alpha x + beta, 0), 1)",
    (x, use) => limit(add(multiply(x, attribute(use, "alpha", 0.2)), attribute(use, "beta", 0.5)), 0, 1),
    { since: 22, attributes: { alpha: float(0.2), beta: float(0.5) } },
  ),
  HardSwish: unary("x min(max(x / 6 + 0.5, 0), 1)", (x) => multiply(x, limit(add(multiply(x, 1 / 6), 0.5), 0, 1)), { since: 22 }),
  Tanh: scalarFunction("tanh"),
  Elu: unary(
    "x > 0 ? x : alpha (exp(x) - 1)",
    (x, use) => add(maximum(x, 0), multiply(negativeExponential(x), attribute(use, "alpha", 1))),
    {
      since: 22,
      attributes: { alpha: float(1) },
    },
  ),
  Selu: unary(
    "gamma (x > 0 ? x : alpha (exp(x) - 1))",
    (x, use) => {
      const gamma = attribute(use, "gamma", 1.0507010221481323);
      const alpha = attribute(use, "alpha", 1.6732631921768188);
      return add(multiply(maximum(x, 0), gamma), multiply(negativeExponential(x), gamma * alpha));
    },
    { since: 22, attributes: { alpha: float(1.6732631921768188), gamma: float(1.0507010221481323) } },
  ),
  Celu: unary(
    "max(x, 0) + min(0, alpha (exp(x / alpha) - 1))",
    (x, use) => {
      const alpha = attribute(use, "alpha", 1);
      return add(maximum(x, 0), minimum(0, multiply(subtract(apply("exp", multiply(x, 1 / alpha)), 1), alpha)));
    },
    { since: 12, attributes: { alpha: float(1) } },
  ),
  Softplus: scalarFunction("softplus", 22),
  Softsign: unary("x / (1 + |x|)", (x) => divide(x, add(apply("abs", x), 1)), { since: 22 }),
  ThresholdedRelu: unary("x > alpha ? x : 0", (x, use) => select(compare("greater", x, attribute(use, "alpha", 1)), x, 0), {
    since: 22,
    attributes: { alpha: float(1) },
    ...exact,
  }),
  Shrink: unary(
    "x < -lambd ? x + bias : x > lambd ? x - bias : 0",
    (x, use) => {
      const [lambda, bias] = [attribute(use, "lambd", 0.5), attribute(use, "bias", 0)];
      const above = select(compare("greater", x, lambda), subtract(x, bias), 0);
      return select(compare("less", x, -lambda), add(x, bias), above);
    },
    { since: 9, attributes: { bias: float(0), lambd: float(0.5) } },
  ),
  Mish: unary("x tanh(softplus(x))", (x) => multiply(x, apply("tanh", apply("softplus", x))), { since: 22 }),
  Swish: unary(
    "x sigmoid(alpha x)",
    (x, use) => {
      const alpha = attribute(use, "alpha", 1);
      return alpha === 1 ? apply("silu", x) : multiply(x, apply("sigmoid", multiply(x, alpha)));
    },
    { since: 24, attributes: { alpha: float(1) } },
  ),
  Gelu: unary("x (1 + erf(x / sqrt 2)) / 2, or its tanh form", gelu, { since: 20, attributes: { approximate: text("none") } }),

  // Mathematics of one operand.
  Abs: unary("|x|", absolute, { types: wholeTypes, ...exact }),
  Neg: unary("-x", (x) => multiply(x, -1), { types: [...signedTypes, "int64"], ...exact }),
  Sign: unary("-1, 0 or 1", (x, use) => (isUnsigned(use) ? minimum(x, 1) : isInt(use) ? limit(x, -1, 1) : apply("sign", x)), {
    types: numericTypes,
    ...exact,
  }),
  Floor: scalarFunction("floor", 13, exact),
  Ceil: scalarFunction("ceil", 13, exact),
  Round: scalarFunction("round", 22, exact),
  Sqrt: scalarFunction("sqrt"),
  Reciprocal: unary("1 / x", (x) => apply("reciprocal", x)),
  Exp: scalarFunction("exp"),
  Log: scalarFunction("log"),
  Erf: scalarFunction("erf"),
  Sin: scalarFunction("sin", 22),
  Cos: scalarFunction("cos", 22),
  Tan: scalarFunction("tan", 22),
  Asin: scalarFunction("asin", 22),
  Acos: scalarFunction("acos", 22),
  Atan: scalarFunction("atan", 22),
  Sinh: scalarFunction("sinh", 22),
  Cosh: scalarFunction("cosh", 22),
  Asinh: scalarFunction("asinh", 22),
  Acosh: scalarFunction("acosh", 22),
  Atanh: scalarFunction("atanh", 22),
  IsNaN: scalarFunction("is_nan", 20, toBool),
  IsInf: unary("x is infinite", infinite, { since: 20, attributes: { detect_negative: int(1), detect_positive: int(1) }, ...toBool }),

  // Arithmetic with broadcasting.
  Add: binary("a + b", add, { since: 14, types: wholeTypes }),
  Sub: binary("a - b", subtract, { since: 14, types: wholeTypes }),
  Mul: binary("a b", multiply, { since: 14, types: wholeTypes }),
  Div: binary("a / b", divide, { since: 14 }),
  Pow: binary("a to the power of b", power, { since: 15, result: (use) => dtypeOf(use, 0), refuse: refusePower }),
  Mod: binary("a - floor(a / b) b, or C's fmod", remainder, {
    attributes: { fmod: int(0) },
  }),
  Sum: variadic("the sum of the inputs", add),
  Mean: {
    ...variadic("the mean of the inputs", add, { types: floatTypes }),
    formula: (operands) =>
      divide(
        operands.reduce((a, b) => add(a, b)),
        operands.length,
      ),
  },
  Max: variadic("the largest of the inputs", maximum, { types: wholeTypes, ...exact }),
  Min: variadic("the smallest of the inputs", minimum, { types: wholeTypes, ...exact }),

  // Comparisons, logic, choice.
  Equal: comparison("equal", "=", [...wholeTypes, "bool"]),
  Greater: comparison("greater", ">", wholeTypes),
  GreaterOrEqual: comparison("greater_equal", ">=", wholeTypes),
  Less: comparison("less", "<", wholeTypes),
  LessOrEqual: comparison("less_equal", "<=", wholeTypes),
  And: logical("logical_and", "and"),
  Or: logical("logical_or", "or"),
  Xor: logical("logical_xor", "xor"),
  Not: unary("not x", (x) => compare("equal", x, 0), { ...toBool, since: 1, types: ["bool"] }),
  BitwiseAnd: bitwise("bitwise_and", "and"),
  BitwiseOr: bitwise("bitwise_or", "or"),
  BitwiseXor: bitwise("bitwise_xor", "xor"),
  BitwiseNot: unary("the complement of x", (x, use) => compare("bitwise_xor", x, dtypeOf(use, 0) === "uint32" ? 2 ** 32 - 1 : -1), {
    ...exact,
    since: 18,
    types: bitTypes,
  }),
  BitShift: binary("a shifted by b bits, as `direction` says", shifted, {
    ...exact,
    since: 11,
    attributes: { direction: required(text()) },
    types: integerTypes,
  }),
  Where: {
    since: 16,
    inputs: [3, 3],
    summary: "condition ? a : b",
    types: movedTypes,
    inputTypes: { 0: ["bool"] },
    formula: ([condition, a, b]) => select(condition, a, b),
    result: (use) => dtypeOf(use, 1),
    ...exact,
  },
  Cast: unary("x as another type; to integers truncating", (x, use) => castTo(x, castTarget(use)), {
    since: 21,
    attributes: { to: required(int()), saturate: int(1) },
    types: [...elementTypes, ...wideIntegers],
    result: castTarget,
    refuse: refuseCast,
    ...exact,
  }),
  CastLike: {
    since: 21,
    inputs: [2, 2],
    summary: "x as the type of the other input",
    attributes: { saturate: int(1) },
    types: [...elementTypes, ...wideIntegers],
    result: (use) => dtypeOf(use, 1),
    ...exact,
  },
};

/** Operators in the table that are decomposed. */
const withoutLowering = new Set(["CastLike"]);
/** Operators whose inputs may differ in type. */
const mixedTypes = new Set(["Pow", "CastLike"]);

/**
 * The operands of a formula: input i, or its value where it is a constant scalar and another input is data
 * (so that lowering gets immediates). A scalar of higher rank than the result stays an operand: it shapes the result.
 */
export function operandsOf(use: OperatorUse): Term[] {
  const data = use.inputs.findIndex((type, index) => type !== undefined && use.constants[index] === undefined);
  return use.inputs.map((_, index) => {
    const value = data < 0 || index === data ? undefined : constantScalar(use, index);
    const rank = use.constants[index]?.shape.length ?? 0;
    return value !== undefined && rank <= (use.inputs[data]?.shape?.length ?? 0) ? value : operand(index);
  });
}

function asExpression(term: Term): Expression {
  return typeof term === "number" ? { kind: "immediate", value: term } : term;
}

/** Operations of one element. */
export function expressionCost(expression: Expression): number {
  switch (expression.kind) {
    case "binary":
      return 1 + expressionCost(expression.left) + expressionCost(expression.right);
    case "function":
    case "cast":
      return (expression.kind === "cast" ? 0 : 1) + expressionCost(expression.argument);
    case "select":
      return 1 + expressionCost(expression.mask) + expressionCost(expression.onTrue) + expressionCost(expression.onFalse);
    default:
      return 0;
  }
}

function inferPointwise(name: string, entry: Entry, use: OperatorUse) {
  if (name === "Where" && dtypeOf(use, 0) !== "bool") throw inputFault(use, 0, "bool");
  const first = name === "Where" ? 1 : 0;
  if (!mixedTypes.has(name)) for (let index = first + 1; index < use.inputs.length; index++) requireSameType(use, first, index);
  const dtype = entry.result?.(use) ?? dtypeOf(use, 0);
  if (name === "Clip" || name === "CastLike") return [{ dtype, shape: use.inputs[0]?.shape }];
  const shape = broadcast(
    use,
    use.inputs.map((type) => (type === undefined ? [] : type.shape)),
  );
  const own = use.inputs[0]?.shape;
  if (name === "PRelu" && own && shape && shape.length !== own.length) throw inputFault(use, 1, `broadcast to ${own.length} dimensions`);
  return [{ dtype, shape }];
}

function pointwiseRecord(name: string, entry: Entry): OperatorRecord {
  const formula = (use: OperatorUse): Expression => asExpression(entry.formula?.(operandsOf(use), use) ?? operand(0));
  const infer = (use: OperatorUse) => inferPointwise(name, entry, use);
  return {
    name,
    domain: "",
    since: entry.since,
    minInputs: entry.inputs[0],
    maxInputs: entry.inputs[1],
    attributes: entry.attributes ?? {},
    types: entry.types,
    ...(entry.inputTypes ? { inputTypes: entry.inputTypes } : {}),
    summary: entry.summary,
    infer,
    ...(withoutLowering.has(name) ? {} : { lowering: { kind: "pointwise" as const, formula } }),
    ...(entry.refuse ? { refuse: entry.refuse } : {}),
    flops: (use) => outputCount(infer(use)) * expressionCost(formula(use)),
    exactness: entry.exactness ?? "fp32",
  };
}

export const pointwiseRecords: readonly OperatorRecord[] = Object.entries(table).map(([name, entry]) => pointwiseRecord(name, entry));
