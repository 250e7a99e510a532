/** What a group costs on the host and on a NeuronCore: coarse estimates, only to tell whether moving the work there can pay. */
import type { Graph, Node } from "../graph/graph.js";
import { type Hardware, hardware } from "../hardware/hardware.js";
import { hostCost, operatorSeconds, totalSeconds } from "../hardware/host.js";
import { valueBytes } from "./dag.js";

/** Seconds of a request that is alone. */
export interface PriceModel {
  /** On one vCPU. */
  hostSeconds(node: Node): number;
  /** On a NeuronCore, its inputs being in the chip's DRAM. */
  deviceSeconds(node: Node): number;
  /** Between host and chip, one way. */
  transferSeconds(bytes: number): number;
  /** What a further Neuron subgraph costs whatever it does. */
  readonly launchSeconds: number;
}

/** Operators that read only some elements of their first input: an embedding's rows. */
const PICKING: ReadonlySet<string> = new Set(["Gather", "GatherElements", "GatherND", "Slice"]);

/**
 * Each node takes the longer of its arithmetic and its memory traffic (every operand and result once, of a table only what is picked): on the device at the sustained
 * share of the peak and at DRAM bandwidth. `flops` counts a multiply-add as two; nodes of open shape count as free on both sides.
 */
export function priceModel(graph: Graph, flops: (node: Node) => number, figures: Hardware = hardware): PriceModel {
  const bytes = (node: Node) => {
    const written = node.outputs.reduce((sum, value) => sum + valueBytes(graph, value), 0);
    const read = node.inputs.map((value) => valueBytes(graph, value));
    if (PICKING.has(node.op)) read[0] = Math.min(read[0], written);
    return read.reduce((sum, count) => sum + count, written);
  };
  const launchSeconds = totalSeconds(hostCost(0, figures));
  return {
    hostSeconds: (node) => operatorSeconds(flops(node), bytes(node), figures),
    deviceSeconds: (node) =>
      Math.max(flops(node) / (figures.peakFlopsPerCore * figures.sustainedShare), bytes(node) / figures.dramBandwidthPerChip),
    transferSeconds: (count) => totalSeconds(hostCost(count, figures)) - launchSeconds,
    launchSeconds,
  };
}
