/** Matrix products, and products that graph optimisers fused with what follows them. */

import { type Conversion, float, type Rule, type Rules, range, text } from "./rule.js";
import { addBias, channelsAt, convolution, depthwise } from "./spatial.js";

/** The matrix's rows as columns; its leading axes stay. */
function swapped(node: Conversion, value: string): string {
  const rank = node.rank(value);
  return node.transpose(value, [...range(0, rank - 2), rank - 1, rank - 2]);
}

/** A product whose operands may be given transposed, as the two attributes tell. */
const product =
  (first: string, second: string): Rule =>
  (node) => {
    const result = node.dtype("Tout", node.dtype("T", node.dtypeOf(node.inputs[0])));
    const operands = [first, second].map((attribute, index) => {
      const value = node.bool(attribute) ? swapped(node, node.inputs[index]) : node.inputs[index];
      const known = node.type(value)?.dtype;
      return known === undefined || known === result ? value : node.cast(value, result);
    });
    return [node.emit("MatMul", operands)];
  };

const matrixProduct = product("transpose_a", "transpose_b");
const batchProduct = product("adj_x", "adj_y");

/** Operands whose types the attributes Ta and Tb tell are multiplied in FP32. */
const sparseHintProduct: Rule = (node) => {
  const operands = [0, 1].map((index) => {
    const value = node.cast(node.inputs[index], "float32");
    return node.bool(index === 0 ? "transpose_a" : "transpose_b") ? swapped(node, value) : value;
  });
  return [node.emit("MatMul", operands)];
};

const einsum: Rule = (node) => [node.emit("Einsum", node.inputs, { equation: text(node.text("equation", "")) })];

/** What graph optimisers fuse into a product that takes no operand. */
export const fusedActivations: Readonly<Record<string, (node: Conversion, value: string) => string>> = {
  Elu: (node, value) => node.emit("Elu", [value]),
  GeluApproximate: (node, value) => node.emit("Gelu", [value], { approximate: text("tanh") }),
  GeluExact: (node, value) => node.emit("Gelu", [value]),
  Identity: (_, value) => value,
  LeakyRelu: (node, value) => node.emit("LeakyRelu", [value], { alpha: float(node.float("leakyrelu_alpha", 0.2)) }),
  Relu: (node, value) => node.emit("Relu", [value]),
  Relu6: (node, value) => node.emit("Clip", [value, node.scalar(0), node.scalar(6)]),
  Sigmoid: (node, value) => node.emit("Sigmoid", [value]),
  Softmax: (node, value) => node.emit("Softmax", [value]),
  Tanh: (node, value) => node.emit("Tanh", [value]),
  _FusedHardSwish: (node, value) => node.emit("HardSwish", [value]),
};

/** Inputs of a fused batch normalisation: scale, offset, mean, variance. */
function normalised(node: Conversion, value: string, statistics: readonly string[]): string {
  const epsilon = float(node.float("epsilon", 1e-4));
  const isLast = channelsAt(node) === "last";
  const rank = node.rank(value);
  const first = isLast ? node.transpose(value, [0, rank - 1, ...range(1, rank - 1)]) : value;
  const result = node.emit("BatchNormalization", [first, ...statistics], { epsilon });
  return isLast ? node.transpose(result, [0, ...range(2, rank), 1]) : result;
}

/** A product and then the steps of `fused_ops`; those with an operand take the inputs after the product's two, in order. */
const fused =
  (multiply: Rule): Rule =>
  (node) => {
    const operands = node.inputs.slice(2);
    const next = (): string => {
      const operand = operands.shift();
      if (operand === undefined) throw node.refusal("it has too few inputs for its fused operators");
      return operand;
    };
    let [value] = multiply(node);
    for (const step of node.texts("fused_ops")) {
      const activation = fusedActivations[step];
      if (activation !== undefined) value = activation(node, value);
      else if (step === "BiasAdd") value = addBias(node, value, next());
      else if (step === "Add" || step === "BinaryAdd") value = node.emit("Add", [value, next()]);
      else if (step === "Prelu") value = node.emit("PRelu", [value, next()]);
      else if (step === "FusedBatchNorm") value = normalised(node, value, [next(), next(), next(), next()]);
      else throw node.refusal(`its fused operator ${step} is not supported`);
    }
    return [value];
  };

export const productRules: Rules = {
  BatchMatMul: batchProduct,
  BatchMatMulV2: batchProduct,
  BatchMatMulV3: batchProduct,
  Einsum: einsum,
  MatMul: matrixProduct,
  SparseMatMul: sparseHintProduct,
  FusedDepthwiseConv2dNative: fused(depthwise),
  _FusedConv2D: fused(convolution),
  _FusedDepthwiseConv2dNative: fused(depthwise),
  _FusedMatMul: fused(matrixProduct),
};
