/** MobileNetV2 (Sandler et al. 2018), width 1. 224 x 224, 1000 classes. */
import type { Graph } from "../src/graph/graph.js";
import { CLASSIFIER_CENTRING, type ConvolutionOptions, NetworkBuilder, type Value } from "./builder.js";
import type { NetworkOptions } from "./networks.js";

/** Expansion, output channels, number of blocks, stride of the first. */
const stages = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

export function mobilenetV2({ seed = 14, batch = "batch" }: NetworkOptions = {}): Graph {
  const builder = new NetworkBuilder("mobilenet_v2", seed, batch);
  const input = builder.image("input", 3, 224);
  let x = convolutionRelu6(builder, "features.0", input, { channels: 32, kernel: 3, stride: 2, pad: 1 });
  let block = 1;
  for (const [expansion, channels, count, firstStride] of stages) {
    for (let index = 0; index < count; index++) {
      x = invertedResidual(builder, `features.${block++}`, x, expansion, channels, index === 0 ? firstStride : 1);
    }
  }
  x = convolutionRelu6(builder, `features.${block}`, x, { channels: 1280, kernel: 1 });
  const output = builder.classifier("classifier", builder.globalAveragePool("avgpool", x), 1000, CLASSIFIER_CENTRING);
  return builder.graph([input], [output]);
}

function convolutionRelu6(builder: NetworkBuilder, name: string, x: Value, options: ConvolutionOptions): Value {
  return builder.relu6(`${name}.relu6`, builder.batchNormalization(`${name}.bn`, builder.convolution(`${name}.conv`, x, options)));
}

function invertedResidual(builder: NetworkBuilder, name: string, x: Value, expansion: number, channels: number, stride: number): Value {
  const hidden = x.spread.channels * expansion;
  const expanded = expansion === 1 ? x : convolutionRelu6(builder, `${name}.expand`, x, { channels: hidden, kernel: 1 });
  const depthwise = convolutionRelu6(builder, `${name}.depthwise`, expanded, {
    channels: hidden,
    kernel: 3,
    stride,
    pad: 1,
    groups: hidden,
  });
  const isResidual = stride === 1 && x.spread.channels === channels;
  const projected = builder.convolution(`${name}.project.conv`, depthwise, { channels, kernel: 1 });
  const result = builder.batchNormalization(`${name}.project.bn`, projected, isResidual ? 0.25 : 1);
  return isResidual ? builder.add(`${name}.add`, x, result) : result;
}
