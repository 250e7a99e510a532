/** Operators that work element by element. */
import { float, type Rule, type Rules } from "./rule.js";

/** TensorFlow's name to ONNX's where inputs, outputs and attributes agree. */
const renamed: Readonly<Record<string, string>> = {
  Abs: "Abs",
  Add: "Add",
  AddV2: "Add",
  BiasAddV1: "Add",
  Ceil: "Ceil",
  Cos: "Cos",
  Equal: "Equal",
  Erf: "Erf",
  Exp: "Exp",
  Floor: "Floor",
  Greater: "Greater",
  GreaterEqual: "GreaterOrEqual",
  Identity: "Identity",
  IsInf: "IsInf",
  IsNan: "IsNaN",
  Less: "Less",
  LessEqual: "LessOrEqual",
  Log: "Log",
  LogicalAnd: "And",
  LogicalNot: "Not",
  LogicalOr: "Or",
  Maximum: "Max",
  Minimum: "Min",
  Mul: "Mul",
  Neg: "Neg",
  Pow: "Pow",
  PreventGradient: "Identity",
  RealDiv: "Div",
  Reciprocal: "Reciprocal",
  Relu: "Relu",
  Round: "Round",
  SelectV2: "Where",
  Sigmoid: "Sigmoid",
  Sign: "Sign",
  Sin: "Sin",
  Softplus: "Softplus",
  Softsign: "Softsign",
  Sqrt: "Sqrt",
  StopGradient: "Identity",
  Sub: "Sub",
  Tan: "Tan",
  Tanh: "Tanh",
};

const rename =
  (op: string): Rule =>
  (node) => [node.emit(op, node.inputs)];

const square: Rule = (node) => [node.emit("Mul", [node.inputs[0], node.inputs[0]])];

export const pointwiseRules: Rules = {
  ...Object.fromEntries(Object.entries(renamed).map(([source, op]) => [source, rename(op)])),
  AddN: (node) => [node.emit("Sum", node.inputs)],
  Cast: (node) => [node.cast(node.inputs[0], node.dtype("DstT"))],
  Elu: (node) => [node.emit("Elu", node.inputs)],
  Expm1: (node) => [node.emit("Sub", [node.emit("Exp", node.inputs), node.scalar(1)])],
  LeakyRelu: (node) => [node.emit("LeakyRelu", node.inputs, { alpha: float(node.float("alpha", 0.2)) })],
  Log1p: (node) => [node.emit("Log", [node.emit("Add", [node.inputs[0], node.scalar(1)])])],
  LogSoftmax: (node) => [node.emit("LogSoftmax", node.inputs)],
  NotEqual: (node) => [node.emit("Not", [node.emit("Equal", node.inputs)])],
  Relu6: (node) => [node.emit("Clip", [node.inputs[0], node.scalar(0), node.scalar(6)])],
  Rsqrt: (node) => [node.emit("Reciprocal", [node.emit("Sqrt", node.inputs)])],
  Selu: (node) => [node.emit("Selu", node.inputs)],
  Softmax: (node) => [node.emit("Softmax", node.inputs)],
  Square: square,
  SquaredDifference: (node) => {
    const difference = node.emit("Sub", node.inputs);
    return [node.emit("Mul", [difference, difference])];
  },
};
