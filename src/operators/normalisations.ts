/** Normalisations in small operators: of batches, layers, groups, instances, by norms, and to probabilities. */
import { floatAttribute, intAttribute, intsAttribute } from "../graph/graph.js";
import { type DType, toNumbers } from "../graph/tensor.js";
import { type Builder, type Rule, range } from "./builder.js";
import type { OperatorUse } from "./record.js";
import { axisAttribute, normalAxes, reason, staticShape } from "./shapes.js";

const epsilonOf = (use: OperatorUse): number => floatAttribute(use.attributes, "epsilon", 1e-5);

/** One value a channel (axis 1) against a tensor of `rank`. */
function perChannel(builder: Builder, value: string, rank: number): string {
  return builder.reshape(value, [...builder.shape(value), ...new Array<number>(Math.max(0, rank - 2)).fill(1)]);
}

interface Standardised {
  readonly normal: string;
  readonly mean: string;
  /** Root of variance + epsilon. */
  readonly deviation: string;
}

/** (x - mean) / sqrt(variance + epsilon) over axes. */
function standardise(builder: Builder, x: string, axes: readonly number[], epsilon: number): Standardised {
  const mean = builder.reduce("ReduceMean", x, axes);
  const centred = builder.op("Sub", [x, mean]);
  const variance = builder.reduce("ReduceMean", builder.op("Mul", [centred, centred]), axes);
  const deviation = builder.op("Sqrt", [builder.op("Add", [variance, builder.typed(builder.dtypeOf(x), epsilon)])]);
  return { normal: builder.op("Div", [centred, deviation]), mean, deviation };
}

/** The type that statistics are computed in: FP32, unless the operator is asked to keep its own (stash_type). */
function statisticsType(use: OperatorUse, own: DType): DType {
  return intAttribute(use.attributes, "stash_type", 1) === 1 ? "float32" : own;
}

/** x scale + bias of each channel; both may have a type of their own. */
function scaled(builder: Builder, x: string, scale: string, bias: string): string {
  const rank = builder.shape(x).length;
  const [factor, shift] = [scale, bias].map((value) => builder.cast(perChannel(builder, value, rank), builder.dtypeOf(x)));
  return builder.op("Add", [builder.op("Mul", [x, factor]), shift]);
}

/** x factor + shift with constant statistics; (x - mean) / deviation scale + bias with others. */
const batchNormalization: Rule = (builder, [x, scale, bias, mean, variance], use) => {
  const shape = staticShape(use, 0);
  const epsilon = epsilonOf(use);
  if (shape.length < 2) return reason("rank", "input 0", shape.length, "2 or more dimensions");
  if (intAttribute(use.attributes, "training_mode", 0) !== 0) return trainedNormalization(builder, [x, scale, bias, mean, variance], use);
  if (use.outputCount > 1) return reason("outputs", "running statistics", "used", "the first output only");
  const constants = use.constants.slice(1, 5).filter((tensor) => tensor !== undefined);
  if (constants.length < 4) {
    const small = builder.typed(builder.dtypeOf(variance), epsilon);
    const deviation = builder.op("Sqrt", [builder.op("Add", [variance, small])]);
    const [centre, width] = [mean, deviation].map((value) => builder.cast(perChannel(builder, value, shape.length), builder.dtype));
    return scaled(builder, builder.op("Div", [builder.op("Sub", [x, centre]), width]), scale, bias);
  }
  const [scales, biases, means, variances] = constants.map(toNumbers);
  const factor = scales.map((value, channel) => value / Math.sqrt(variances[channel] + epsilon));
  const shift = biases.map((value, channel) => value - means[channel] * factor[channel]);
  const extents = [shape[1], ...shape.slice(2).map(() => 1)];
  return builder.op("Add", [builder.op("Mul", [x, builder.values(extents, factor)]), builder.values(extents, shift)]);
};

/** By the batch's own statistics; the running ones move towards these. */
const trainedNormalization = (builder: Builder, [x, scale, bias, mean, variance]: readonly string[], use: OperatorUse): string[] => {
  const shape = staticShape(use, 0);
  const axes = range(0, shape.length).filter((axis) => axis !== 1);
  const { normal, mean: own, deviation } = standardise(builder, x, axes, epsilonOf(use));
  const spread = builder.op("Sub", [builder.op("Mul", [deviation, deviation]), builder.scalar(epsilonOf(use))]);
  const momentum = floatAttribute(use.attributes, "momentum", 0.9);
  const running = [
    [mean, own],
    [variance, spread],
  ].map(([before, seen]) => {
    const dtype = builder.dtypeOf(before);
    const kept = builder.op("Mul", [before, builder.typed(dtype, momentum)]);
    const news = builder.cast(builder.reshape(seen, [shape[1]]), dtype);
    return builder.op("Add", [kept, builder.op("Mul", [news, builder.typed(dtype, 1 - momentum)])]);
  });
  return [scaled(builder, normal, scale, bias), ...running];
};

const instanceNormalization: Rule = (builder, [x, scale, bias], use) => {
  const { normal } = standardise(builder, x, range(2, staticShape(use, 0).length), epsilonOf(use));
  return scaled(builder, normal, scale, bias);
};

const groupNormalization: Rule = (builder, [x, scale, bias], use) => {
  const shape = staticShape(use, 0);
  const groups = intAttribute(use.attributes, "num_groups", 1);
  if (groups < 1 || shape[1] % groups !== 0) return reason("attribute", "num_groups", groups, `a divisor of ${shape[1]} channels`);
  const grouped = builder.reshape(builder.cast(x, statisticsType(use, builder.dtype)), [shape[0], groups, -1]);
  const { normal } = standardise(builder, grouped, [2], epsilonOf(use));
  return scaled(builder, builder.cast(builder.reshape(normal, shape), builder.dtype), scale, bias);
};

/** Outputs: the result, the mean and the reciprocal of the deviation. */
const layerNormalization: Rule = (builder, [x, scale, bias], use) => {
  const rank = staticShape(use, 0).length;
  const axes = range(axisAttribute(use, -1, rank), rank);
  const wide = builder.cast(x, statisticsType(use, builder.dtype));
  const { normal, mean, deviation } = standardise(builder, wide, axes, epsilonOf(use));
  const product = builder.op("Mul", [builder.cast(normal, builder.dtype), scale]);
  const result = bias ? builder.op("Add", [product, bias]) : product;
  return use.outputCount > 1 ? [result, mean, builder.op("Reciprocal", [deviation])] : result;
};

const rmsNormalization: Rule = (builder, [x, scale], use) => {
  const rank = staticShape(use, 0).length;
  const wide = builder.cast(x, statisticsType(use, builder.dtype));
  const square = builder.reduce("ReduceMean", builder.op("Mul", [wide, wide]), range(axisAttribute(use, -1, rank), rank));
  const root = builder.op("Sqrt", [builder.op("Add", [square, builder.typed(builder.dtypeOf(wide), epsilonOf(use))])]);
  return builder.op("Mul", [builder.cast(builder.op("Div", [wide, root]), builder.dtype), scale]);
};

/** x / its norm along an axis; 0 where that is 0. */
const lpNormalization: Rule = (builder, [x], use) => {
  const p = intAttribute(use.attributes, "p", 2);
  if (p !== 1 && p !== 2) return reason("attribute", "p", p, "1 or 2");
  const norm = builder.reduce(`ReduceL${p}`, x, [axisAttribute(use, -1, staticShape(use, 0).length)]);
  const divisor = builder.op("Where", [builder.op("Equal", [norm, builder.scalar(0)]), builder.scalar(1), norm]);
  return builder.op("Div", [x, divisor]);
};

/** The standard's definition adds this to the deviation. */
const DEVIATION_EPSILON = 1e-9;

const meanVarianceNormalization: Rule = (builder, [x], use) => {
  const rank = staticShape(use, 0).length;
  const axes = normalAxes(use, "axes", intsAttribute(use.attributes, "axes") ?? [0, 2, 3], rank);
  const { normal: _, mean, deviation } = standardise(builder, x, axes, 0);
  return builder.op("Div", [builder.op("Sub", [x, mean]), builder.op("Add", [deviation, builder.scalar(DEVIATION_EPSILON)])]);
};

export const normalisationRules: Readonly<Record<string, Rule>> = {
  BatchNormalization: batchNormalization,
  GroupNormalization: groupNormalization,
  InstanceNormalization: instanceNormalization,
  LayerNormalization: layerNormalization,
  LpNormalization: lpNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  RMSNormalization: rmsNormalization,
};
