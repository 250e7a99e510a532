/** The networks by name, for the command, the tests and the benchmarks. */
import type { Dim, Graph } from "../src/graph/graph.js";
import { bert, distilbert } from "./bert.js";
import { gpt2Blocks } from "./gpt2.js";
import { lstmTagger } from "./lstm.js";
import { mobilenetV2 } from "./mobilenet.js";
import { type ResNetDepth, resnet } from "./resnet.js";
import { vgg16 } from "./vgg.js";
import { vitB16 } from "./vit.js";

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
  /** Number of tokens, for networks that read text; 128 if absent (32 words for the tagger). */
  readonly sequence?: number;
  /** Number of layers of a transformer; that of the published network if absent. */
  readonly layers?: number;
}

const resnetOf = (depth: ResNetDepth) => (options: NetworkOptions) => resnet(depth, options);

export const networks: Readonly<Record<string, (options: NetworkOptions) => Graph>> = {
  resnet18: resnetOf(18),
  resnet50: resnetOf(50),
  resnet101: resnetOf(101),
  resnet152: resnetOf(152),
  mobilenet_v2: mobilenetV2,
  vgg16,
  bert_base: (options) => bert("bert_base", options),
  bert_large: (options) => bert("bert_large", options),
  minilm: (options) => bert("minilm", options),
  distilbert,
  vit_b_16: vitB16,
  gpt2_blocks: gpt2Blocks,
  lstm_tagger: lstmTagger,
};
