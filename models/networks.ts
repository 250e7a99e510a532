/** The networks by name, for the command, the tests and the benchmarks. */
import type { Dim, Graph } from "../src/graph/graph.js";
import { mobilenetV2 } from "./mobilenet.js";
import { type ResNetDepth, resnet } from "./resnet.js";
import { vgg16 } from "./vgg.js";

/** What differs between two networks of one architecture. */
export interface NetworkOptions {
  /**
   * Of the weights. If absent, one of those tried with which the best score of ten random images (ResNet-50, MobileNetV2, VGG-16;
   * `random:0` to `random:9` of neuron-run) is at least 0.16 deviations above the second, and not always the same class's: no rounding to
   * 16 bits changes it.
   */
  readonly seed?: number;
  /** Extent of the batch dimension, or the name of an open one; open as "batch" if absent. */
  readonly batch?: Dim;
}

const resnetOf = (depth: ResNetDepth) => (options: NetworkOptions) => resnet(depth, options);

export const networks: Readonly<Record<string, (options: NetworkOptions) => Graph>> = {
  resnet18: resnetOf(18),
  resnet50: resnetOf(50),
  resnet101: resnetOf(101),
  resnet152: resnetOf(152),
  mobilenet_v2: mobilenetV2,
  vgg16,
};
