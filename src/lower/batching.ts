/**
 * What lies where on chip, and which segments of the graph run for parts of the batch: those with which the least crosses DRAM. With a
 * whole batch, early layers of an image network are too large for SBUF; with an image at a time they are not, and weights are held for all.
 */
import { type Graph, type Node, staticType } from "../graph/graph.js";
import { bytesPerElement, elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { arrange } from "./layouts.js";
import type { Layout } from "./place.js";
import { type Arrangement, type Budget, chooseOnChip, chooseResident, type OnChip, wantedInDram, weightShape } from "./plan.js";
import { weightBytes } from "./weights.js";
import { batchedInputs, batchOf, type Segment, splitBatch, type WindowedGraph } from "./windows.js";

export interface ChipPlan {
  readonly windowed: WindowedGraph;
  readonly layouts: ReadonlyMap<string, Layout>;
  readonly copies: ReadonlyMap<string, readonly number[]>;
  /** Values that stay on chip. */
  readonly onChip: ReadonlySet<string>;
  /** SBUF bytes a partition that they take at each node of the graph in windows. */
  readonly used: Float64Array;
  /** Weights that stay on chip between requests: for how many output channels, from the first on. */
  readonly resident: ReadonlyMap<Tensor, number>;
  /** For each segment, weights that stay on chip until it is through with the batch. */
  readonly held: readonly ReadonlySet<Tensor>[];
  /** Bytes that cross DRAM for a request. */
  readonly traffic: number;
}

/** Segments at most, and the borders that are tried for each. */
const MAX_SEGMENTS = 4;
const MAX_STARTS = 4;
const MAX_ENDS = 24;
/** Parts of a batch. */
const MAX_WINDOWS = 64;
/** What a segment has to save, of all traffic. */
const LEAST_SAVING = 0.01;

/** Plans for a graph as `lower` takes it. */
export function planChip(graph: Graph, budget: Budget): ChipPlan {
  const planner = new Planner(graph, budget);
  let best = planner.plan([]);
  let segments: readonly Segment[] = [];
  while (segments.length < MAX_SEGMENTS) {
    let improved: readonly Segment[] | undefined;
    for (const segment of planner.candidates(best, segments)) {
      const tried = [...segments, segment].sort((a, b) => a.first - b.first);
      const plan = planner.plan(tried);
      if (plan.traffic >= best.traffic * (1 - LEAST_SAVING)) continue;
      [best, improved] = [plan, tried];
    }
    if (!improved) break;
    segments = improved;
  }
  return best;
}

class Planner {
  readonly #graph: Graph;
  readonly #budget: Budget;
  readonly #inDram: ReadonlySet<string>;
  readonly #arrangement: Arrangement;
  /** By node: whether its items can be told apart. */
  readonly #separable: readonly boolean[];

  constructor(graph: Graph, budget: Budget) {
    this.#graph = graph;
    this.#budget = budget;
    this.#inDram = wantedInDram(graph);
    this.#arrangement = arrange(graph, this.#inDram);
    this.#separable = graph.nodes.map((node) => this.#isSeparable(node));
  }

  #isSeparable(node: Node): boolean {
    const batched = batchedInputs(this.#graph, node);
    if (!batched) return false;
    const values = [...[...batched].map((index) => node.inputs[index]), ...node.outputs.filter((name) => name !== "")];
    return values.every((name) => !this.#arrangement.layouts.get(name)?.includes(0));
  }

  plan(segments: readonly Segment[]): ChipPlan {
    const windowed = splitBatch(this.#graph, segments);
    const layouts = new Map(this.#arrangement.layouts);
    const copies = new Map(this.#arrangement.copies);
    for (const [name, whole] of windowed.wholes) {
      layouts.set(name, layouts.get(whole) ?? [0]);
      copies.set(name, copies.get(whole) ?? []);
    }
    const onChip = chooseOnChip(windowed, this.#arrangement, this.#inDram, this.#budget.valueBytes);
    const room = onChip.used.map((bytes) => Math.max(0, hardware.sbufBytesPerPartition - this.#budget.workingBytes - bytes));
    const held = windowed.segments.map(({ first, end }) => holdWeights(windowed.graph, first, end, room));
    const least = room.reduce((a, b) => Math.min(a, b), this.#budget.residentBytes);
    const resident = chooseResident(this.#graph, least);
    const traffic = valueTraffic(windowed, onChip) + weightTraffic(windowed, resident, held);
    return { windowed, layouts, copies, onChip: onChip.names, used: onChip.used, resident, held, traffic };
  }

  /** Segments to try beside those chosen: around the first value that is made but does not stay on chip. */
  *candidates(plan: ChipPlan, chosen: readonly Segment[]): Generator<Segment> {
    const { nodes } = this.#graph;
    const free = (at: number) => this.#separable[at] && !chosen.some(({ first, end }) => at >= first && at < end);
    const leaves = new Set(this.#graph.outputs);
    const spilled = (name: string) => name !== "" && !plan.onChip.has(name) && !this.#inDram.has(name) && !leaves.has(name);
    const hot = nodes.findIndex((node, at) => free(at) && node.outputs.some(spilled));
    if (hot < 0) return;
    const batch = batchOf(this.#graph, nodes[hot]);
    const fits = (at: number) => at >= 0 && at < nodes.length && free(at) && batchOf(this.#graph, nodes[at]) === batch;
    let first = hot;
    while (fits(first - 1)) first--;
    let end = hot + 1;
    while (fits(end)) end++;
    const crossing = crossingBytes(this.#graph);
    const starts = narrowest(crossing, first, hot, MAX_STARTS);
    const ends = narrowest(crossing, hot + 1, end, MAX_ENDS);
    const least = Math.ceil(batch / MAX_WINDOWS);
    for (const items of new Set([least, 2 * least, Math.ceil(batch / 2)])) {
      if (items >= batch) continue;
      for (const start of starts) for (const stop of ends) yield { first: start, end: stop, items };
    }
  }
}

/** Bytes of the values that are made before each position and used from it on. */
function crossingBytes(graph: Graph): Float64Array {
  const last = new Map<string, number>();
  for (const name of graph.outputs) last.set(name, graph.nodes.length);
  for (const [position, node] of graph.nodes.entries()) {
    for (const input of node.inputs) last.set(input, Math.max(last.get(input) ?? 0, position));
  }
  const bytes = new Float64Array(graph.nodes.length + 2);
  const add = (name: string, from: number) => {
    const to = last.get(name) ?? -1;
    if (to < from) return;
    bytes[from] += valueBytes(graph, name);
    bytes[to + 1] -= valueBytes(graph, name);
  };
  for (const name of graph.inputs) add(name, 0);
  for (const [position, node] of graph.nodes.entries()) for (const output of node.outputs) if (output !== "") add(output, position + 1);
  for (let at = 1; at < bytes.length; at++) bytes[at] += bytes[at - 1];
  return bytes;
}

/** Positions in [from, to] that no neighbour undercuts, and both ends; spread evenly where there are more than `limit`. */
function narrowest(crossing: Float64Array, from: number, to: number, limit: number): number[] {
  const all = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const narrow = all.filter((at) => at === from || at === to || (crossing[at] <= crossing[at - 1] && crossing[at] <= crossing[at + 1]));
  if (narrow.length <= limit) return narrow;
  return Array.from({ length: limit }, (_, index) => narrow[Math.round((index * (narrow.length - 1)) / (limit - 1))]);
}

function valueBytes(graph: Graph, name: string): number {
  const { dtype, shape } = staticType(graph, name);
  return elementCount(shape) * bytesPerElement[dtype];
}

/** Weights of a segment's nodes, in their order, as far as they fit beside the values; takes them from `room`. */
function holdWeights(graph: Graph, first: number, end: number, room: Float64Array): Set<Tensor> {
  const held = new Set<Tensor>();
  const least = room.subarray(first, end).reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  let left = least;
  for (const node of graph.nodes.slice(first, end)) {
    const shape = weightShape(graph, node);
    const weights = graph.constants.get(node.inputs[1]);
    if (!shape || !weights || held.has(weights) || weightBytes(shape) > left) continue;
    left -= weightBytes(shape);
    held.add(weights);
  }
  for (let at = first; at < end; at++) room[at] -= least - left;
  return held;
}

/** Bytes of values that cross DRAM: the graph's outputs, and each use and each result of one that does not stay on chip. */
function valueTraffic({ graph, windows }: WindowedGraph, { names }: OnChip): number {
  const wholeOf = (name: string) => windows.get(name)?.of ?? name;
  const wholeStays = (name: string) => names.has(wholeOf(name));
  const results = new Set(graph.outputs);
  let bytes = 0;
  const loaded = new Set<string>();
  for (const node of graph.nodes) {
    for (const name of node.inputs) {
      if (name === "" || graph.constants.has(name) || wholeStays(name) || loaded.has(name)) continue;
      bytes += valueBytes(graph, name);
      if (names.has(name)) loaded.add(name);
    }
    for (const name of node.outputs) {
      if (name === "" || (wholeStays(name) && !results.has(wholeOf(name)))) continue;
      bytes += valueBytes(graph, name);
      if (names.has(name)) loaded.add(name);
    }
  }
  return bytes;
}

/** Bytes of weights that are loaded for a request: again for each window where they are not held. */
function weightTraffic(
  { graph, segments }: WindowedGraph,
  resident: ReadonlyMap<Tensor, number>,
  held: readonly ReadonlySet<Tensor>[],
): number {
  const WEIGHT_BYTES = 2;
  const once = new Set<Tensor>();
  let bytes = 0;
  let segment = 0;
  for (const [position, node] of graph.nodes.entries()) {
    while (segment < segments.length && position >= segments[segment].end) segment++;
    const weights = graph.constants.get(node.inputs[1]);
    const shape = weightShape(graph, node);
    if (!weights || once.has(weights) || !shape) continue;
    const streamed = 1 - (resident.get(weights) ?? 0) / shape.outputs;
    bytes += streamed * elementCount(weights.shape) * WEIGHT_BYTES;
    if (segment < segments.length && position >= segments[segment].first && held[segment].has(weights)) once.add(weights);
  }
  return bytes;
}
