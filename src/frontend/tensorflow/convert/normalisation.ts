/** Normalisations. */
import type { DType } from "../../../graph/tensor.js";
import { type Conversion, float, int, type Rule, type Rules, range } from "./rule.js";
import { channelsAt, channelsFirst } from "./spatial.js";

/**
 * Outputs: the normalised image, mean and variance, and what training keeps for the gradient. In training mode, which Keras uses for
 * layer normalisation too, the statistics are those of the image itself; otherwise the last two inputs.
 */
function batchNormalisation(node: Conversion): string[] {
  const [image, scale, offset, mean, variance] = node.inputs;
  if (node.bool("is_training", true)) return ownStatistics(node);
  const epsilon = float(node.float("epsilon", 1e-4));
  const rank = channelsRank(node, image);
  const statistics = [scale, offset, mean, variance];
  const result = channelsFirst(node, (value) => node.emit("BatchNormalization", [value, ...statistics], { epsilon }), image, rank);
  return [result, mean, variance, mean, variance, mean];
}

const channelsRank = (node: Conversion, image: string): number => node.type(image)?.shape?.length ?? 4;

function ownStatistics(node: Conversion): string[] {
  const [image, scale, offset] = node.inputs;
  const rank = channelsRank(node, image);
  const isLast = channelsAt(node) === "last";
  const axes = isLast ? range(0, rank - 1) : [0, ...range(2, rank)];
  const dtype: DType = node.dtypeOf(scale);
  const value = node.cast(image, dtype);
  const mean = node.reduce("ReduceMean", value, axes, true);
  const centred = node.emit("Sub", [value, mean]);
  const variance = node.reduce("ReduceMean", node.emit("Mul", [centred, centred]), axes, true);
  const deviation = node.emit("Sqrt", [node.emit("Add", [variance, node.scalar(node.float("epsilon", 1e-4), dtype)])]);
  const along = (list: string) => (isLast ? list : node.unsqueeze(list, range(1, rank - 1)));
  const scaled = node.emit("Mul", [node.emit("Div", [centred, deviation]), along(scale)]);
  const result = node.cast(node.emit("Add", [scaled, along(offset)]), node.dtypeOf(image));
  const [means, variances] = [mean, variance].map((list) => node.emit("Reshape", [list, node.integers([-1])]));
  return [result, means, variances, means, variances, means];
}

/** With a second image added and an activation. */
const fusedNormalisation: Rule = (node) => {
  const [result, ...statistics] = batchNormalisation(node);
  const sum = node.int("num_side_inputs") > 0 ? node.emit("Add", [result, node.inputs[5]]) : result;
  const activation = node.text("activation_mode", "Identity");
  if (activation !== "Identity" && activation !== "Relu") throw node.refusal(`its activation ${activation} is not supported`);
  return [activation === "Relu" ? node.emit("Relu", [sum]) : sum, ...statistics];
};

/** TensorFlow's alpha goes with each square, ONNX's with their mean. */
const acrossChannels: Rule = (node) => {
  const size = 2 * node.int("depth_radius", 5) + 1;
  const attributes = {
    size: int(size),
    alpha: float(node.float("alpha", 1) * size),
    beta: float(node.float("beta", 0.5)),
    bias: float(node.float("bias", 1)),
  };
  return [channelsFirst(node, (image) => node.emit("LRN", [image], attributes))];
};

/** Inputs: image, mean, variance, offset, scale (of TensorFlow's first versions). */
const globalNormalisation: Rule = (node) => {
  const [image, mean, variance, offset, scale] = node.inputs;
  const epsilon = float(node.float("variance_epsilon", 1e-3));
  const factor = node.bool("scale_after_normalization", true) ? scale : node.emit("Expand", [node.scalar(1), node.emit("Shape", [mean])]);
  return [channelsFirst(node, (value) => node.emit("BatchNormalization", [value, factor, offset, mean, variance], { epsilon }), image)];
};

export const normalisationRules: Rules = {
  BatchNormWithGlobalNormalization: globalNormalisation,
  FusedBatchNorm: batchNormalisation,
  FusedBatchNormV2: batchNormalisation,
  FusedBatchNormV3: batchNormalisation,
  LRN: acrossChannels,
  _FusedBatchNormEx: fusedNormalisation,
};
