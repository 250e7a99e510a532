/** The networks by name, for the command, the tests and the benchmarks. */
import type { Dim, Graph } from "../src/graph/graph.js";
import { mobilenetV2 } from "./mobilenet.js";
import { type ResNetDepth, resnet } from "./resnet.js";
import { vgg16 } from "./vgg.js";

/** What differs between two networks of one architecture. */
export interface NetworkOptions {
  /** Of the weights; 0 if absent. */
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
