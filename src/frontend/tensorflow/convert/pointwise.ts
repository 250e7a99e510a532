/** Operators that work element by element. */
import { isFloat, isInteger } from "../../../graph/tensor.js";
import { type Conversion, float, int, type Rule, type Rules } from "./rule.js";

/** TensorFlow's name to ONNX's where inputs, outputs and attributes agree. */
const renamed: Readonly<Record<string, string>> = {
  Abs: "Abs",
  Acos: "Acos",
  Acosh: "Acosh",
  Add: "Add",
  AddV2: "Add",
  Asin: "Asin",
  Asinh: "Asinh",
  Atan: "Atan",
  Atanh: "Atanh",
  BitwiseAnd: "BitwiseAnd",
  BitwiseOr: "BitwiseOr",
  BitwiseXor: "BitwiseXor",
  Ceil: "Ceil",
  Cos: "Cos",
  Cosh: "Cosh",
  Div: "Div",
  Elu: "Elu",
  Equal: "Equal",
  Erf: "Erf",
  Exp: "Exp",
  Floor: "Floor",
  Greater: "Greater",
  GreaterEqual: "GreaterOrEqual",
  Inv: "Reciprocal",
  Invert: "BitwiseNot",
  IsInf: "IsInf",
  IsNan: "IsNaN",
  Less: "Less",
  LessEqual: "LessOrEqual",
  Log: "Log",
  LogSoftmax: "LogSoftmax",
  LogicalAnd: "And",
  LogicalNot: "Not",
  LogicalOr: "Or",
  Maximum: "Max",
  Minimum: "Min",
  Mul: "Mul",
  Neg: "Neg",
  Pow: "Pow",
  // Of TF.js's converter.
  Prelu: "PRelu",
  RealDiv: "Div",
  Reciprocal: "Reciprocal",
  Relu: "Relu",
  Rint: "Round",
  SelectV2: "Where",
  Selu: "Selu",
  Sigmoid: "Sigmoid",
  Sign: "Sign",
  Sin: "Sin",
  Sinh: "Sinh",
  Softmax: "Softmax",
  Softplus: "Softplus",
  Softsign: "Softsign",
  Sqrt: "Sqrt",
  Sub: "Sub",
  Tan: "Tan",
  Tanh: "Tanh",
  TruncateDiv: "Div",
};

/** Operators that hand their first input on; what they do beside (checks, gradients, printing) is nothing to an inference. */
const transparent = [
  "CheckNumerics",
  "CheckNumericsV2",
  "EnsureShape",
  "Identity",
  "LoopCond",
  "OptimizationBarrier",
  "PlaceholderWithDefault",
  "PreventGradient",
  "Print",
  "Snapshot",
  "StopGradient",
  "_EagerConst",
];

const rename =
  (op: string): Rule =>
  (node) => [node.emit(op, node.inputs)];

/** 0 where the operand at `index` is 0, whatever the formula gives there. */
const guarded =
  (index: number, formula: (node: Conversion) => string): Rule =>
  (node) => {
    const isZero = node.emit("Equal", [node.inputs[index], node.scalar(0)]);
    return [node.emit("Where", [isZero, node.scalar(0), formula(node)])];
  };

const onePlus = (node: Conversion, value: string): string => node.emit("Add", [value, node.scalar(1)]);

/** Round to the even neighbour; integers are round already. */
const round: Rule = (node) => [
  isFloat(node.dtypeOf(node.inputs[0])) ? node.emit("Round", node.inputs) : node.emit("Identity", node.inputs),
];

/** The remainder with the sign of the dividend. */
const truncatedRemainder: Rule = (node) => [node.emit("Mod", node.inputs, { fmod: int(1) })];

/** The remainder with the sign of the divisor, which ONNX has for integers only. */
const floorRemainder: Rule = (node) => {
  const [dividend, divisor] = node.inputs;
  if (isInteger(node.dtypeOf(dividend))) return [node.emit("Mod", [dividend, divisor])];
  const [rest] = truncatedRemainder(node);
  const signs = [rest, divisor].map((value) => node.emit("Less", [value, node.scalar(0)]));
  const nonZero = node.emit("Not", [node.emit("Equal", [rest, node.scalar(0)])]);
  const isOff = node.emit("And", [nonZero, node.emit("Xor", signs)]);
  return [node.emit("Where", [isOff, node.emit("Add", [rest, divisor]), rest])];
};

/** The quotient rounded down; ONNX's integer quotients are rounded towards 0. */
const floorQuotient: Rule = (node) => {
  const [dividend, divisor] = node.inputs;
  if (!isInteger(node.dtypeOf(dividend))) return [node.emit("Floor", [node.emit("Div", node.inputs)])];
  return [node.emit("Div", [node.emit("Sub", [dividend, node.emit("Mod", node.inputs)]), divisor])];
};

/** The angle of a point: the arc tangent of y / x, in the other half plane turned by a half turn; 0 at the origin. */
const angle: Rule = (node) => {
  const [y, x] = node.inputs;
  const zero = node.scalar(0);
  const [yNegative, xNegative] = [y, x].map((value) => node.emit("Less", [value, zero]));
  const turn = node.emit("Where", [yNegative, node.scalar(-Math.PI), node.scalar(Math.PI)]);
  const half = node.emit("Atan", [node.emit("Div", [y, x])]);
  const full = node.emit("Add", [half, node.emit("Where", [xNegative, turn, zero])]);
  const isOrigin = node.emit("And", [node.emit("Equal", [y, zero]), node.emit("Equal", [x, zero])]);
  return [node.emit("Where", [isOrigin, zero, full])];
};

/** A condition of lower rank chooses whole rows (Select, of TensorFlow 1). */
const selectRows: Rule = (node) => {
  const [condition, ...choices] = node.inputs;
  const missing = node.rank(choices[0]) - node.rank(condition);
  const isList = node.rank(condition) === 1 && missing > 0;
  const axes = Array.from({ length: missing }, (_, index) => index + 1);
  return [node.emit("Where", [isList ? node.unsqueeze(condition, axes) : condition, ...choices])];
};

const square: Rule = (node) => [node.emit("Mul", [node.inputs[0], node.inputs[0]])];

const notEqual: Rule = (node) => [node.emit("Not", [node.emit("Equal", node.inputs)])];

/** x * 2^y, or x / 2^y rounded down. */
const shift =
  (isLeft: boolean): Rule =>
  (node) => {
    const dtype = node.dtypeOf(node.inputs[0]);
    const [value, count] = node.inputs.map((input) => node.cast(input, "int64"));
    const factor = node.emit("Pow", [node.scalar(2, "int64"), count]);
    if (isLeft) return [node.cast(node.emit("Mul", [value, factor]), dtype)];
    const below = node.emit("Sub", [value, node.emit("Mod", [value, factor])]);
    return [node.cast(node.emit("Div", [below, factor]), dtype)];
  };

/** The values that fake quantisation can give: `levels` steps from `low` on, moved so that 0 is one of them. */
function fakeQuantised(node: Conversion, low: string, high: string): string {
  const first = node.bool("narrow_range") ? 1 : 0;
  const last = 2 ** node.int("num_bits", 8) - 1;
  const [least, most] = [node.scalar(first, "float32"), node.scalar(last, "float32")];
  const step = node.emit("Div", [node.emit("Sub", [high, low]), node.scalar(last - first, "float32")]);
  const zeroPoint = node.emit("Sub", [least, node.emit("Div", [low, step])]);
  const half = node.scalar(0.5, "float32");
  const rounded = node.emit("Floor", [node.emit("Add", [zeroPoint, half])]);
  const nudged = node.emit("Min", [node.emit("Max", [rounded, least]), most]);
  const [bottom, top] = [least, most].map((end) => node.emit("Mul", [node.emit("Sub", [end, nudged]), step]));
  const clipped = node.emit("Min", [node.emit("Max", [node.inputs[0], bottom]), top]);
  const steps = node.emit("Floor", [node.emit("Add", [node.emit("Div", [node.emit("Sub", [clipped, bottom]), step]), half])]);
  return node.emit("Add", [node.emit("Mul", [steps, step]), bottom]);
}

const fakeQuantArgs: Rule = (node) => [
  fakeQuantised(node, node.scalar(node.float("min", -6), "float32"), node.scalar(node.float("max", 6), "float32")),
];

/** Sum over all inputs. */
const addAll: Rule = (node) => [node.emit("Sum", node.inputs)];

export const pointwiseRules: Rules = {
  ...Object.fromEntries(Object.entries(renamed).map(([source, op]) => [source, rename(op)])),
  ...Object.fromEntries(transparent.map((source): [string, Rule] => [source, (node) => [node.emit("Identity", [node.inputs[0]])]])),
  AccumulateNV2: addAll,
  AddN: addAll,
  ApproximateEqual: (node) => [
    node.emit("Less", [node.emit("Abs", [node.emit("Sub", node.inputs)]), node.scalar(node.float("tolerance", 1e-5))]),
  ],
  Atan2: angle,
  Cast: (node) => [node.cast(node.inputs[0], node.dtype("DstT"))],
  ClipByValue: (node) => [node.emit("Min", [node.emit("Max", node.inputs.slice(0, 2)), node.inputs[2]])],
  DivNoNan: guarded(1, (node) => node.emit("Div", node.inputs)),
  Erfc: (node) => [node.emit("Sub", [node.scalar(1), node.emit("Erf", node.inputs)])],
  Expm1: (node) => [node.emit("Sub", [node.emit("Exp", node.inputs), node.scalar(1)])],
  FakeQuantWithMinMaxArgs: fakeQuantArgs,
  FakeQuantWithMinMaxVars: (node) => [fakeQuantised(node, node.inputs[1], node.inputs[2])],
  FakeQuantWithMinMaxVarsPerChannel: (node) => [fakeQuantised(node, node.inputs[1], node.inputs[2])],
  FloorDiv: floorQuotient,
  FloorMod: floorRemainder,
  IdentityN: (node) => node.inputs.map((input) => node.emit("Identity", [input])),
  IsFinite: (node) => [node.emit("Not", [node.emit("Or", [node.emit("IsInf", node.inputs), node.emit("IsNaN", node.inputs)])])],
  LeakyRelu: (node) => [node.emit("LeakyRelu", node.inputs, { alpha: float(node.float("alpha", 0.2)) })],
  LeftShift: shift(true),
  Log1p: (node) => [node.emit("Log", [onePlus(node, node.inputs[0])])],
  Mod: truncatedRemainder,
  MulNoNan: guarded(1, (node) => node.emit("Mul", node.inputs)),
  NotEqual: notEqual,
  Relu6: (node) => [node.emit("Clip", [node.inputs[0], node.scalar(0), node.scalar(6)])],
  RightShift: shift(false),
  Round: round,
  Rsqrt: (node) => [node.emit("Reciprocal", [node.emit("Sqrt", node.inputs)])],
  Select: selectRows,
  Square: square,
  SquaredDifference: (node) => {
    const difference = node.emit("Sub", node.inputs);
    return [node.emit("Mul", [difference, difference])];
  },
  TruncateMod: truncatedRemainder,
  Xdivy: guarded(0, (node) => node.emit("Div", node.inputs)),
  Xlog1py: guarded(0, (node) => node.emit("Mul", [node.inputs[0], node.emit("Log", [onePlus(node, node.inputs[1])])])),
  Xlogy: guarded(0, (node) => node.emit("Mul", [node.inputs[0], node.emit("Log", [node.inputs[1]])])),
};
