/** Builds convolutional networks layer by layer, with seeded weights that keep activations O(1) and outputs dependent on the input. */
import type { Attribute } from "../src/graph/graph.js";
import { floatTensor } from "../src/graph/tensor.js";
import { GraphBuilder, type NodeAttributes } from "./graph.js";
import type { Random } from "./random.js";
import { affine, average, clamp, largest, moments, normalSpread, type Spread, sum } from "./spread.js";

/** A value of the network under construction: [batch, channels, height, width], or [batch, channels] where the size is 0. */
export interface Value {
  readonly name: string;
  readonly size: number;
  readonly spread: Spread;
}

export interface ConvolutionOptions {
  readonly channels: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly pad?: number;
  readonly groups?: number;
  /** With a bias that centres each channel; without, where batch normalization follows. */
  readonly bias?: boolean;
}

/**
 * Share of a channel's mean that the biases of layers without batch normalization take away. Taking none, all images would look the same
 * after some layers; taking all, layers would enlarge what rounding does to an image as much as what tells it from another.
 */
const LAYER_CENTRING = 0.25;

/** The same for the scores of a classifier of averages over positions, which differ less from image to image than other values. */
export const CLASSIFIER_CENTRING = 0.65;

/** Mean of the shifts of batch normalization; above 0, so that a rectifier passes more than half. */
const NORMALIZATION_SHIFT = 0.3;

export class NetworkBuilder extends GraphBuilder {
  /** A square image whose values have mean 0 and variance 1. */
  image(name: string, channels: number, size: number): Value {
    const spread = normalSpread(new Float64Array(channels), new Float64Array(channels).fill(1), this.random(name));
    return this.record(name, size, spread);
  }

  /** Weights: He's initialisation, variance 2 / fan-in. */
  convolution(name: string, x: Value, options: ConvolutionOptions): Value {
    const { channels, kernel, stride = 1, pad = 0, groups = 1, bias = false } = options;
    const size = outputSize(x.size, kernel, stride, pad);
    const groupInputs = x.spread.channels / groups;
    const fanIn = groupInputs * kernel * kernel;
    const random = this.random(name);
    const inputs = moments(x.spread);
    const gain = bias ? keepingGain(inputs, LAYER_CENTRING) : Math.SQRT2;
    const weights = random.normals(channels * fanIn, gain / Math.sqrt(fanIn));
    const taps = tapShares(x.size, size, kernel, stride, pad);
    const outputs = sumsOfInputs(weights, inputs, { channels, groups, groupInputs, taps });
    const inputNames = [x.name, this.constant(`${name}.weight`, floatTensor([channels, groupInputs, kernel, kernel], weights))];
    if (bias) inputNames.push(this.constant(`${name}.bias`, floatTensor([channels], this.centringBias(random, outputs, LAYER_CENTRING))));
    const attributes: Record<string, Attribute> = {
      kernel_shape: { type: "ints", value: [kernel, kernel] },
      strides: { type: "ints", value: [stride, stride] },
      pads: { type: "ints", value: [pad, pad, pad, pad] },
      dilations: { type: "ints", value: [1, 1] },
      group: { type: "int", value: groups },
    };
    return this.layer("Conv", name, inputNames, attributes, size, normalSpread(outputs.mean, outputs.variance, random));
  }

  /** As in training: statistics that fit the activations up to a perturbation; scale in [0.5, 1.5] times `share`. */
  batchNormalization(name: string, x: Value, share = 1): Value {
    const { channels } = x.spread;
    const random = this.random(name);
    const { mean: measured, variance: spread } = moments(x.spread);
    const noise = random.normals(channels, 0.1);
    const scale = Float32Array.from({ length: channels }, () => share * random.uniform(0.5, 1.5));
    const shift = random.normals(channels, 0.1).map((value) => value + NORMALIZATION_SHIFT);
    const mean = Float32Array.from(measured, (value, channel) => value + noise[channel] * Math.sqrt(spread[channel]));
    const variance = Float32Array.from(spread, (value) => value * random.uniform(0.5, 1.5));
    const names = Object.entries({ weight: scale, bias: shift, running_mean: mean, running_var: variance });
    const inputs = [x.name, ...names.map(([part, data]) => this.constant(`${name}.${part}`, floatTensor([channels], data)))];
    const factor = scale.map((value, channel) => value / Math.sqrt(variance[channel] + 1e-5));
    const offset = shift.map((value, channel) => value - mean[channel] * factor[channel]);
    return this.layer(
      "BatchNormalization",
      name,
      inputs,
      { epsilon: { type: "float", value: 1e-5 } },
      x.size,
      affine(x.spread, factor, offset),
    );
  }

  relu(name: string, x: Value): Value {
    return this.layer("Relu", name, [x.name], {}, x.size, clamp(x.spread, 0, Number.POSITIVE_INFINITY));
  }

  /** Relu6, as a Clip. */
  relu6(name: string, x: Value): Value {
    const bounds = [this.constant("relu6.min", floatTensor([], [0])), this.constant("relu6.max", floatTensor([], [6]))];
    return this.layer("Clip", name, [x.name, ...bounds], {}, x.size, clamp(x.spread, 0, 6));
  }

  add(name: string, a: Value, b: Value): Value {
    return this.layer("Add", name, [a.name, b.name], {}, a.size, sum(a.spread, b.spread));
  }

  maxPool(name: string, x: Value, kernel: number, stride: number, pad = 0): Value {
    const attributes: Record<string, Attribute> = {
      kernel_shape: { type: "ints", value: [kernel, kernel] },
      strides: { type: "ints", value: [stride, stride] },
      pads: { type: "ints", value: [pad, pad, pad, pad] },
    };
    const spread = largest(x.spread, kernel * kernel, this.random(name));
    return this.layer("MaxPool", name, [x.name], attributes, outputSize(x.size, kernel, stride, pad), spread);
  }

  /** [batch, channels, size, size] to [batch, channels]. */
  globalAveragePool(name: string, x: Value): Value {
    const spread = average(x.spread, x.size ** 2, this.random(name));
    return this.flatten(`${name}.flatten`, this.layer("GlobalAveragePool", name, [x.name], {}, 1, spread));
  }

  /** [batch, channels, size, size] to [batch, channels x size x size]. */
  flatten(name: string, x: Value): Value {
    const { mean, variance } = moments(x.spread);
    const positions = x.size * x.size;
    const repeat = (values: Float64Array) =>
      Float64Array.from({ length: values.length * positions }, (_, index) => values[Math.floor(index / positions)]);
    const spread = positions === 1 ? x.spread : normalSpread(repeat(mean), repeat(variance), this.random(name));
    return this.layer("Flatten", name, [x.name], { axis: { type: "int", value: 1 } }, 0, spread);
  }

  /** Outputs of mean square 1 times `scales`; the bias takes the share `centring` of each one's mean away. */
  linear(name: string, x: Value, channels: number, centring = LAYER_CENTRING, scales?: Float32Array): Value {
    const random = this.random(name);
    const fanIn = x.spread.channels;
    const inputs = moments(x.spread);
    const weights = random.normals(channels * fanIn, keepingGain(inputs, centring) / Math.sqrt(fanIn));
    scales?.forEach((scale, channel) => {
      for (let index = channel * fanIn; index < (channel + 1) * fanIn; index++) weights[index] *= scale;
    });
    const outputs = sumsOfInputs(weights, inputs, { channels, groups: 1, groupInputs: fanIn, taps: Float64Array.of(1) });
    const parts = [
      this.constant(`${name}.weight`, floatTensor([channels, fanIn], weights)),
      this.constant(`${name}.bias`, floatTensor([channels], this.centringBias(random, outputs, centring))),
    ];
    return this.layer(
      "Gemm",
      name,
      [x.name, ...parts],
      { transB: { type: "int", value: 1 } },
      0,
      normalSpread(outputs.mean, outputs.variance, random),
    );
  }

  /** Scores of classes, some of which reach further than others: the best one then leads by more, as in trained networks. */
  classifier(name: string, x: Value, classes: number, centring = LAYER_CENTRING): Value {
    const scales = this.random(`${name}.scale`).normals(classes, 0.7).map(Math.exp);
    return this.linear(name, x, classes, centring, scales);
  }

  /** A bias that takes the share `centring` of the mean away, and adds a tenth of the deviation at random; `outputs` are changed to what it makes of them. */
  private centringBias(random: Random, outputs: { mean: Float64Array; variance: Float64Array }, centring: number): Float32Array {
    const noise = random.normals(outputs.mean.length, 0.1);
    const bias = Float32Array.from(
      outputs.mean,
      (value, channel) => -centring * value + noise[channel] * Math.sqrt(outputs.variance[channel]),
    );
    for (let channel = 0; channel < bias.length; channel++) outputs.mean[channel] += bias[channel];
    return bias;
  }

  private record(name: string, size: number, spread: Spread): Value {
    this.declare(name, "float32", [this.batch, spread.channels, ...(size === 0 ? [] : [size, size])]);
    return { name, size, spread };
  }

  private layer(op: string, name: string, inputs: readonly string[], attributes: NodeAttributes, size: number, spread: Spread): Value {
    const output = `${name}.output`;
    this.node(op, name, inputs, [output], attributes);
    return this.record(output, size, spread);
  }
}

/** The gain with which outputs, their means centred in part, have mean square 1. */
function keepingGain(inputs: { mean: Float64Array; variance: Float64Array }, centring: number): number {
  return 1 / Math.sqrt(mean(inputs.variance.map((value, index) => value + ((1 - centring) * inputs.mean[index]) ** 2)));
}

function mean(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

function outputSize(size: number, kernel: number, stride: number, pad: number): number {
  return Math.floor((size + 2 * pad - kernel) / stride) + 1;
}

/** For each tap of a square kernel, the share of output positions where it lies inside the image. */
function tapShares(size: number, outputs: number, kernel: number, stride: number, pad: number): Float64Array {
  const inside = Array.from({ length: kernel }, (_, tap) => {
    let count = 0;
    for (let output = 0; output < outputs; output++) {
      const position = output * stride + tap - pad;
      if (position >= 0 && position < size) count++;
    }
    return count / outputs;
  });
  return Float64Array.from({ length: kernel * kernel }, (_, index) => inside[Math.floor(index / kernel)] * inside[index % kernel]);
}

interface SumShape {
  readonly channels: number;
  readonly groups: number;
  readonly groupInputs: number;
  readonly taps: Float64Array;
}

/** Mean and variance of each output channel of a convolution with weights [channels, groupInputs, taps]. */
function sumsOfInputs(
  weights: Float32Array,
  inputs: { mean: Float64Array; variance: Float64Array },
  { channels, groups, groupInputs, taps }: SumShape,
) {
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  let index = 0;
  for (let channel = 0; channel < channels; channel++) {
    const first = Math.floor((channel * groups) / channels) * groupInputs;
    for (let input = first; input < first + groupInputs; input++) {
      for (let tap = 0; tap < taps.length; tap++, index++) {
        const weight = weights[index] * taps[tap];
        mean[channel] += weight * inputs.mean[input];
        variance[channel] += weight * weights[index] * inputs.variance[input];
      }
    }
  }
  return { mean, variance };
}
