/** ResNet (He et al. 2015) in the form called v1.5, where a bottleneck's stride is in its 3x3 convolution. 224 x 224, 1000 classes. */
import type { Graph } from "../src/graph/graph.js";
import { CLASSIFIER_CENTRING, NetworkBuilder, type Value } from "./builder.js";
import type { NetworkOptions } from "./networks.js";

const blocksOf = {
  18: { bottleneck: false, blocks: [2, 2, 2, 2] },
  50: { bottleneck: true, blocks: [3, 4, 6, 3] },
  101: { bottleneck: true, blocks: [3, 4, 23, 3] },
  152: { bottleneck: true, blocks: [3, 8, 36, 3] },
} as const;

export type ResNetDepth = keyof typeof blocksOf;

/** Scale of a residual branch's last batch normalization, relative to the others'. */
const RESIDUAL_SHARE = 0.25;

export function resnet(depth: ResNetDepth, { seed = 1, batch = "batch" }: NetworkOptions = {}): Graph {
  const { bottleneck, blocks } = blocksOf[depth];
  const builder = new NetworkBuilder(`resnet${depth}`, seed, batch);
  const input = builder.image("input", 3, 224);
  let x = builder.convolution("conv1", input, { channels: 64, kernel: 7, stride: 2, pad: 3 });
  x = builder.relu("relu1", builder.batchNormalization("bn1", x));
  x = builder.maxPool("maxpool", x, 3, 2, 1);
  blocks.forEach((count, stage) => {
    for (let block = 0; block < count; block++) {
      x = residualBlock(builder, `layer${stage + 1}.${block}`, x, 64 << stage, stage > 0 && block === 0 ? 2 : 1, bottleneck);
    }
  });
  const output = builder.classifier("fc", builder.globalAveragePool("avgpool", x), 1000, CLASSIFIER_CENTRING);
  return builder.graph([input], [output]);
}

function residualBlock(builder: NetworkBuilder, name: string, x: Value, width: number, stride: number, bottleneck: boolean): Value {
  const channels = bottleneck ? 4 * width : width;
  const shapes = bottleneck
    ? [
        { channels: width, kernel: 1 },
        { channels: width, kernel: 3, stride, pad: 1 },
        { channels, kernel: 1 },
      ]
    : [
        { channels, kernel: 3, stride, pad: 1 },
        { channels, kernel: 3, pad: 1 },
      ];
  let branch = x;
  shapes.forEach((shape, index) => {
    const isLast = index === shapes.length - 1;
    branch = builder.convolution(`${name}.conv${index + 1}`, branch, shape);
    branch = builder.batchNormalization(`${name}.bn${index + 1}`, branch, isLast ? RESIDUAL_SHARE : 1);
    if (!isLast) branch = builder.relu(`${name}.relu${index + 1}`, branch);
  });
  let shortcut = x;
  if (stride !== 1 || x.spread.channels !== channels) {
    shortcut = builder.convolution(`${name}.downsample.0`, x, { channels, kernel: 1, stride });
    shortcut = builder.batchNormalization(`${name}.downsample.1`, shortcut);
  }
  return builder.relu(`${name}.relu`, builder.add(`${name}.add`, branch, shortcut));
}
