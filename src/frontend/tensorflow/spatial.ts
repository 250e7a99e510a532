/** Convolutions, pools, normalisations and matrix products. TensorFlow's channels-last images become channels-first between transposes. */
import type { Attributes } from "../../graph/graph.js";
import { type Conversion, float, int, ints, type Rule, type Rules, text } from "./rule.js";

const toChannelsFirst = [0, 3, 1, 2];
const toChannelsLast = [0, 2, 3, 1];

function isChannelsLast(node: Conversion): boolean {
  return node.text("data_format", "NHWC") === "NHWC";
}

/** The height and width entries of a list that has one entry for each axis of the node's data format. */
function spatial(node: Conversion, list: readonly number[]): number[] {
  if (list.length === 0) return [1, 1];
  return isChannelsLast(node) ? list.slice(1, 3) : list.slice(2, 4);
}

/** Computes on the first input in channels-first order and puts the result into the node's own order. */
function channelsFirst(node: Conversion, compute: (image: string) => string): string {
  if (!isChannelsLast(node)) return compute(node.inputs[0]);
  const image = node.emit("Transpose", [node.inputs[0]], { perm: ints(toChannelsFirst) });
  return node.emit("Transpose", [compute(image)], { perm: ints(toChannelsLast) });
}

/** ONNX's SAME_UPPER is TensorFlow's SAME: the odd row of padding comes last. */
function padding(node: Conversion): Attributes {
  const kind = node.text("padding", "VALID");
  if (kind === "SAME") return { auto_pad: text("SAME_UPPER") };
  if (kind === "VALID") return {};
  const pads = node.list("explicit_paddings");
  const [top, bottom, left, right] = isChannelsLast(node) ? pads.slice(2, 6) : pads.slice(4, 8);
  return { pads: ints([top, left, bottom, right]) };
}

function windowAttributes(node: Conversion): Attributes {
  return { strides: ints(spatial(node, node.list("strides"))), ...padding(node) };
}

/** TensorFlow's filter is [height, width, input channels, output channels]. One group only: the filter alone does not tell groups. */
const convolution: Rule = (node) => {
  const weights = node.emit("Transpose", [node.inputs[1]], { perm: ints([3, 2, 0, 1]) });
  const attributes = { ...windowAttributes(node), dilations: ints(spatial(node, node.list("dilations"))) };
  return [channelsFirst(node, (image) => node.emit("Conv", [image, weights], attributes))];
};

/** TensorFlow's filter is [height, width, channels, multiplier]. */
const depthwise: Rule = (node) => {
  const [height, width, channels] = node.tensor(1).shape;
  const swapped = node.emit("Transpose", [node.inputs[1]], { perm: ints([2, 3, 0, 1]) });
  const weights = node.emit("Reshape", [swapped, node.integers([-1, 1, height, width])]);
  const attributes = { ...windowAttributes(node), dilations: ints(spatial(node, node.list("dilations"))), group: int(channels) };
  return [channelsFirst(node, (image) => node.emit("Conv", [image, weights], attributes))];
};

const pool =
  (op: string): Rule =>
  (node) => {
    const attributes = { ...windowAttributes(node), kernel_shape: ints(spatial(node, node.list("ksize"))) };
    return [channelsFirst(node, (image) => node.emit(op, [image], attributes))];
  };

/** Inference only: the outputs after the first are statistics that nothing but training reads. */
const batchNormalization: Rule = (node) => {
  if (node.bool("is_training")) throw node.refusal("it is in training mode; export the model for inference");
  const epsilon = float(node.float("epsilon", 1e-4));
  return [channelsFirst(node, (image) => node.emit("BatchNormalization", [image, ...node.inputs.slice(1, 5)], { epsilon }))];
};

function addBias(node: Conversion, value: string, bias: string): string {
  return node.emit("Add", [value, isChannelsLast(node) ? bias : node.emit("Reshape", [bias, node.integers([-1, 1, 1])])]);
}

const matrixProduct: Rule = (node) => {
  const operands = node.inputs.slice(0, 2).map((value, index) => {
    const isTransposed = node.bool(index === 0 ? "transpose_a" : "transpose_b");
    return isTransposed ? node.emit("Transpose", [value], { perm: ints([1, 0]) }) : value;
  });
  return [node.emit("MatMul", operands)];
};

const batchMatrixProduct: Rule = (node) => {
  if (node.bool("adj_x") || node.bool("adj_y")) throw node.refusal("adj_x and adj_y are not supported");
  return [node.emit("MatMul", node.inputs)];
};

/** What graph optimisers fuse into a product that takes no operand. */
const fusedActivations: Readonly<Record<string, (node: Conversion, value: string) => string>> = {
  Elu: (node, value) => node.emit("Elu", [value]),
  LeakyRelu: (node, value) => node.emit("LeakyRelu", [value], { alpha: float(node.float("leakyrelu_alpha", 0.2)) }),
  Relu: (node, value) => node.emit("Relu", [value]),
  Relu6: (node, value) => node.emit("Clip", [value, node.scalar(0), node.scalar(6)]),
  Sigmoid: (node, value) => node.emit("Sigmoid", [value]),
  Tanh: (node, value) => node.emit("Tanh", [value]),
};

/** A product and then the steps of `fused_ops`; those with an operand take the inputs after the product's two, in order. */
const fused =
  (product: Rule): Rule =>
  (node) => {
    const operands = node.inputs.slice(2);
    let [value] = product(node);
    for (const step of node.texts("fused_ops")) {
      const activation = fusedActivations[step];
      if (activation !== undefined) value = activation(node, value);
      else if (step === "BiasAdd") value = addBias(node, value, operands.shift() ?? "");
      else if (step === "Add") value = node.emit("Add", [value, operands.shift() ?? ""]);
      else throw node.refusal(`its fused operator ${step} is not supported`);
    }
    return [value];
  };

export const spatialRules: Rules = {
  AvgPool: pool("AveragePool"),
  BatchMatMul: batchMatrixProduct,
  BatchMatMulV2: batchMatrixProduct,
  BatchMatMulV3: batchMatrixProduct,
  BiasAdd: (node) => [addBias(node, node.inputs[0], node.inputs[1])],
  Conv2D: convolution,
  DepthwiseConv2dNative: depthwise,
  FusedBatchNorm: batchNormalization,
  FusedBatchNormV2: batchNormalization,
  FusedBatchNormV3: batchNormalization,
  MatMul: matrixProduct,
  MaxPool: pool("MaxPool"),
  _FusedConv2D: fused(convolution),
  _FusedMatMul: fused(matrixProduct),
  FusedDepthwiseConv2dNative: fused(depthwise),
  _FusedDepthwiseConv2dNative: fused(depthwise),
};
