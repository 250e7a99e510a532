/** VGG-16 (Simonyan and Zisserman 2014, configuration D). 224 x 224, 1000 classes. */
import type { Graph } from "../src/graph/graph.js";
import { NetworkBuilder } from "./builder.js";
import type { NetworkOptions } from "./networks.js";

/** Output channels of each stage's 3x3 convolutions; a 2x2 maximum ends the stage. */
const stages = [
  [64, 64],
  [128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [512, 512, 512],
];

export function vgg16({ seed = 1, batch = "batch" }: NetworkOptions = {}): Graph {
  const builder = new NetworkBuilder("vgg16", seed, batch);
  const input = builder.image("input", 3, 224);
  let x = input;
  stages.forEach((widths, stage) => {
    widths.forEach((channels, index) => {
      const name = `${stage + 1}_${index + 1}`;
      x = builder.relu(`relu${name}`, builder.convolution(`conv${name}`, x, { channels, kernel: 3, pad: 1, bias: true }));
    });
    x = builder.maxPool(`pool${stage + 1}`, x, 2, 2);
  });
  x = builder.flatten("flatten", x);
  x = builder.relu("relu6", builder.linear("fc6", x, 4096));
  x = builder.relu("relu7", builder.linear("fc7", x, 4096));
  return builder.graph([input], [builder.classifier("fc8", x, 1000)]);
}
