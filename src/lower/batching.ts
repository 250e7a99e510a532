/**
 * What lies where on chip, and which segments of the graph run for parts of the batch: those with which the least crosses DRAM. With a
 * whole batch, early layers of an image network are too large for SBUF; with an image at a time they are not, and weights are held for all.
 */
import { type Graph, type Node, staticType } from "../graph/graph.js";
import { bytesPerElement, elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { batchOf } from "./items.js";
import { arrange } from "./layouts.js";
import type { Layout } from "./place.js";
import { type Arrangement, type Budget, chooseOnChip, chooseResident, memoryOf, type OnChip, wantedInDram, weightShape } from "./plan.js";
import { readings, weightBytes } from "./weights.js";
import { batchedOfNodes, type Segment, splitBatch, type WindowedGraph } from "./windows.js";

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
  /** What a request takes of what segments can save: DRAM's time for all bytes that cross it, and the overhead of instructions. */
  readonly seconds: number;
}

/** DRAM's bandwidth for one of a chip's cores while all are busy, bytes/s. */
const DRAM_SHARE = hardware.dramBandwidthPerChip / hardware.coresPerChip;
/** How often a segment's end, start and items are searched. */
const ROUNDS = 3;
/** Groups of segments at most, a group being a segment and those that repeat its operators, and values around which none is found. */
const MAX_GROUPS = 4;
const MAX_MISSES = 3;
/** Borders that are tried for a segment. */
const NEAREST_BORDERS = 16;
const FAR_BORDERS = 8;
/** Parts of a batch, and copies of nodes for them, at most. */
const MAX_WINDOWS = 64;
const MAX_COPIES = 4096;
/** A rearrangement through DRAM stores the value, arranges it there, and loads it. */
const MOVES_OF_CUT_ALIAS = 4;
/** What a segment has to save, of all traffic. */
const LEAST_SAVING = 0.01;

/** Plans for a graph as `lower` takes it. */
export function planChip(graph: Graph, budget: Budget): ChipPlan {
  const planner = new Planner(graph, budget);
  const misses = new Set<number>();
  let best: Choice = { segments: [], plan: planner.plan([]) };
  for (let groups = 0; groups < MAX_GROUPS && misses.size < MAX_MISSES; ) {
    const hot = planner.largestSpilled(best, misses);
    if (hot < 0) break;
    const improved = planner.improve(best, hot);
    if (improved.plan.seconds > best.plan.seconds * (1 - LEAST_SAVING)) misses.add(hot);
    else [best, groups] = [improved, groups + 1];
  }
  if (best.segments.length === 0 && misses.size === 0) return best.plan;
  return planner.inParts().reduce((least, plan) => (plan.seconds < least.seconds ? plan : least), best.plan);
}

/** Segments, and the plan with them. */
interface Choice {
  readonly segments: readonly Segment[];
  readonly plan: ChipPlan;
}

class Planner {
  readonly #graph: Graph;
  readonly #budget: Budget;
  readonly #inDram: ReadonlySet<string>;
  readonly #arrangement: Arrangement;
  /** By node: whether its items can be told apart. */
  readonly #separable: readonly boolean[];
  /** By node's name. */
  readonly #batched: ReadonlyMap<string, ReadonlySet<number>>;
  /** By node. */
  readonly #overhead: readonly Overhead[];
  readonly #crossing: Float64Array;
  /** By node: what it computes, of what shapes. */
  readonly #kinds: readonly string[];

  constructor(graph: Graph, budget: Budget) {
    this.#graph = graph;
    this.#budget = budget;
    this.#inDram = wantedInDram(graph);
    this.#arrangement = arrange(graph, this.#inDram);
    this.#batched = batchedOfNodes(graph);
    this.#separable = graph.nodes.map((node) => this.#isSeparable(node));
    this.#overhead = graph.nodes.map((node) => overheadOf(graph, node));
    this.#crossing = crossingBytes(graph);
    this.#kinds = graph.nodes.map((node) => kindOf(graph, node));
  }

  #isSeparable(node: Node): boolean {
    const batched = this.#batched.get(node.name);
    if (!batched) return false;
    const values = [...[...batched].map((index) => node.inputs[index]), ...node.outputs.filter((name) => name !== "")];
    return values.every((name) => !this.#arrangement.layouts.get(name)?.includes(0));
  }

  plan(segments: readonly Segment[]): ChipPlan {
    const windowed = splitBatch(this.#graph, segments, this.#batched);
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
    const resident = chooseResident(this.#graph, this.#budget.keepsConstants ? least : 0);
    const seconds =
      valueSeconds(windowed, onChip, this.#arrangement) +
      cutAliasSeconds(windowed, this.#arrangement) +
      weightTraffic(windowed, resident, held) / DRAM_SHARE +
      this.#overheadSeconds(segments);
    return { windowed, layouts, copies, onChip: onChip.names, used: onChip.used, resident, held, seconds };
  }

  #overheadSeconds(segments: readonly Segment[]): number {
    const windowsOf = new Float64Array(this.#overhead.length).fill(1);
    for (const segment of segments) windowsOf.fill(this.#windows(segment), segment.first, segment.end);
    return this.#overhead.reduce((sum, { each, eachTile, columns }, at) => {
      const tiles = Math.ceil(columns / windowsOf[at] / hardware.movingColumnsMax);
      return sum + windowsOf[at] * (each + tiles * eachTile);
    }, 0);
  }

  #isFree(at: number, chosen: readonly Segment[]): boolean {
    return this.#separable[at] && !chosen.some(({ first, end }) => at >= first && at < end);
  }

  /** The node outside the chosen segments, and not in `but`, with the largest results that do not stay on chip; -1 if there is none. */
  largestSpilled({ segments, plan }: Choice, but: ReadonlySet<number>): number {
    const leaves = new Set(this.#graph.outputs);
    const { aliases } = this.#arrangement;
    const isSpilled = (name: string) =>
      name !== "" && !plan.onChip.has(aliases.get(name) ?? name) && !this.#inDram.has(name) && !leaves.has(name);
    let largest = { at: -1, bytes: 0 };
    for (const [at, node] of this.#graph.nodes.entries()) {
      if (but.has(at) || !this.#isFree(at, segments)) continue;
      const bytes = node.outputs.filter(isSpilled).reduce((sum, name) => sum + valueBytes(this.#graph, name), 0);
      if (bytes > largest.bytes) largest = { at, bytes };
    }
    return largest.at;
  }

  /** Plans in which all neighbouring nodes whose items can be told apart run for the same parts of the batch: one for each size of these. */
  inParts(): ChipPlan[] {
    const batches = this.#graph.nodes.map((node, at) => (this.#separable[at] ? batchOf(this.#graph, node) : 1));
    const starts = batches.flatMap((batch, at) => (batch > 1 && batch !== batches[at - 1] ? [at] : []));
    const regions = starts.map((first) => {
      const next = batches.findIndex((batch, at) => at > first && batch !== batches[first]);
      return { first, end: next < 0 ? batches.length : next, batch: batches[first] };
    });
    const most = Math.max(1, ...regions.map(({ batch }) => batch));
    const choices = partsOf(most).map((items) =>
      regions.filter(({ batch }) => batch > items).map(({ first, end }) => ({ first, end, items })),
    );
    return choices.filter((segments) => this.#copies(segments) <= MAX_COPIES).map((segments) => this.plan(segments));
  }

  #windows({ first, items }: Segment): number {
    return Math.ceil(batchOf(this.#graph, this.#graph.nodes[first]) / items);
  }

  #copies(segments: readonly Segment[]): number {
    return segments.reduce((sum, segment) => sum + (segment.end - segment.first) * this.#windows(segment), 0);
  }

  /**
   * The best of the choices with one group of segments more: one around node `hot`, and what repeats it elsewhere. Its end, its start and its
   * items are searched in turn, each with the best of the others, from the smallest windows on and from the largest.
   */
  improve(before: Choice, hot: number): Choice {
    const { nodes } = this.#graph;
    const batch = batchOf(this.#graph, nodes[hot]);
    const fits = (at: number) =>
      at >= 0 && at < nodes.length && this.#isFree(at, before.segments) && batchOf(this.#graph, nodes[at]) === batch;
    let [from, to] = [hot, hot + 1];
    while (fits(from - 1)) from--;
    while (fits(to)) to++;
    const starts = borders(this.#crossing, hot, from);
    const ends = borders(this.#crossing, hot + 1, to);
    const sizes = partsOf(batch);
    let best = before;
    for (const items of new Set([sizes[0], sizes[sizes.length - 1]])) {
      let found: { cost: number; segment: Segment } = {
        cost: Number.POSITIVE_INFINITY,
        segment: { first: starts[0], end: ends[0], items },
      };
      const tryEach = (variants: readonly Segment[]) => {
        for (const segment of variants) {
          const segments = [...before.segments, ...this.#repeats(segment, fits)].sort((a, b) => a.first - b.first);
          if (this.#copies(segments) > MAX_COPIES) continue;
          const plan = this.plan(segments);
          if (plan.seconds < found.cost) found = { cost: plan.seconds, segment };
          if (plan.seconds < best.plan.seconds) best = { segments, plan };
        }
      };
      for (let round = 0; round < ROUNDS; round++) {
        const { cost } = found;
        tryEach(ends.map((end) => ({ ...found.segment, end })));
        tryEach(starts.map((first) => ({ ...found.segment, first })));
        tryEach(sizes.map((size) => ({ ...found.segment, items: size })));
        if (found.cost === cost) break;
      }
    }
    return best;
  }

  /** The segment, and those of the same operators in the same order, where their nodes fit too; none overlaps another. */
  #repeats(segment: Segment, fits: (at: number) => boolean): Segment[] {
    const length = segment.end - segment.first;
    const repeats = (from: number) =>
      this.#kinds.slice(from, from + length).every((kind, at) => kind === this.#kinds[segment.first + at] && fits(from + at));
    const group = [segment];
    for (const step of [length, -length]) {
      for (let first = segment.first + step; first >= 0 && first + length <= this.#kinds.length; ) {
        if (!repeats(first)) {
          first += Math.sign(step);
          continue;
        }
        group.push({ first, end: first + length, items: segment.items });
        first += step;
      }
    }
    return group;
  }
}

/** Items a window, to try: all parts of the batch that are as even as can be, the smallest first. */
function partsOf(batch: number): number[] {
  const windows = Array.from({ length: Math.min(batch, MAX_WINDOWS) - 1 }, (_, index) => index + 2);
  return [...new Set(windows.map((count) => Math.ceil(batch / count)))].reverse();
}

/** What a node's instructions cost beside their work: for each window of it, and for each tile of columns of a window. Seconds. */
interface Overhead {
  readonly each: number;
  readonly eachTile: number;
  /** Columns that the whole batch streams through the tensor engine. */
  readonly columns: number;
}

function overheadOf(graph: Graph, node: Node): Overhead {
  const shape = weightShape(graph, node);
  if (!shape) return { each: hardware.dmaSetupSeconds, eachTile: 0, columns: 0 };
  const tiles = Math.ceil(shape.inputs / shape.groups / hardware.tensorRows) * Math.ceil(shape.outputs / hardware.tensorColumns);
  const columns = elementCount(staticType(graph, node.outputs[0]).shape) / shape.outputs;
  return {
    each: hardware.dmaSetupSeconds,
    eachTile: (tiles * shape.taps * hardware.instructionOverheadCycles) / hardware.clockHz,
    columns,
  };
}

function kindOf(graph: Graph, node: Node): string {
  const typeText = (name: string) => (name === "" ? "" : `${staticType(graph, name).dtype}[${staticType(graph, name).shape.join()}]`);
  return [node.op, ...(node.epilogue ?? []).map(({ op }) => op), ...node.inputs.map(typeText), ...node.outputs.map(typeText)].join(" ");
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

/** Borders to try from one position on to another, either way: the nearest, and farther ones that fewer bytes cross than their neighbours. */
function borders(crossing: Float64Array, from: number, to: number): number[] {
  const all = Array.from({ length: Math.abs(to - from) + 1 }, (_, index) => from + Math.sign(to - from) * index);
  const isNarrow = (at: number) => at === to || (crossing[at] <= crossing[at - 1] && crossing[at] <= crossing[at + 1]);
  const far = all.slice(NEAREST_BORDERS).filter(isNarrow);
  const step = Math.max(1, far.length / FAR_BORDERS);
  const some = Array.from({ length: Math.min(far.length, FAR_BORDERS) }, (_, index) => far[Math.ceil((index + 1) * step) - 1]);
  return [...all.slice(0, NEAREST_BORDERS), ...some];
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

/** A value's way between DRAM and chip at a core's share of DRAM's bandwidth, seconds. */
function crossingSeconds(graph: Graph, name: string): number {
  return hardware.dmaSetupSeconds + valueBytes(graph, name) / DRAM_SHARE;
}

/** Time of the values that cross DRAM: the graph's outputs, and each use and each result of one that does not stay on chip. */
function valueSeconds({ graph, windows, wholes }: WindowedGraph, { names }: OnChip, { aliases }: Arrangement): number {
  const memory = (name: string) => memoryOf(name, wholes, aliases);
  const wholeOf = (name: string) => windows.get(name)?.of ?? name;
  const stays = (name: string) => names.has(memory(name)) || names.has(memory(wholeOf(memory(name))));
  const results = new Set(graph.outputs);
  let seconds = 0;
  const loaded = new Set<string>();
  for (const node of graph.nodes) {
    for (const name of node.inputs) {
      if (name === "" || graph.constants.has(name) || stays(wholeOf(name)) || loaded.has(name)) continue;
      const shape = name === node.inputs[0] && !stays(name) ? weightShape(graph, node) : undefined;
      seconds += crossingSeconds(graph, name) * (shape ? readings(shape) : 1);
      if (stays(name)) loaded.add(name);
    }
    for (const name of node.outputs) {
      if (name === "" || (stays(wholeOf(name)) && !results.has(wholeOf(name)))) continue;
      seconds += crossingSeconds(graph, name);
      if (stays(name)) loaded.add(name);
    }
  }
  return seconds;
}

/**
 * Time of rearrangements that would take none, on one memory with their source, if their segment did not end behind them: a window that leaves
 * its segment lies where the whole value does.
 */
function cutAliasSeconds({ graph, windows, wholes }: WindowedGraph, { aliases }: Arrangement): number {
  const cut = graph.nodes.flatMap(({ outputs }) => outputs.filter((name) => windows.has(name) && aliases.has(wholes.get(name) ?? name)));
  return cut.reduce((seconds, name) => seconds + MOVES_OF_CUT_ALIAS * crossingSeconds(graph, name), 0);
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
