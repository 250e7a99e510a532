/** Decisions before any instruction: which axis of each value lies on partitions, which values stay on chip, whose weights are resident. */
import { type Graph, type Node, staticType } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { recordOf, useOf } from "../operators/index.js";
import { deviceBytes } from "../program/program.js";
import { deviceTypeOf } from "./constants.js";
import { packsRows } from "./packed.js";
import { chipBytes, type Layout } from "./place.js";
import { chooseKept } from "./spill.js";
import { groupBytes, type WeightShape, weightGroups } from "./weights.js";
import type { WindowedGraph } from "./windows.js";

/** Shares of SBUF that lowering may fill; scheduling needs the rest for tiles in flight. */
export interface Budget {
  /** Bytes a partition for values that stay on chip between operators. */
  readonly valueBytes: number;
  /** Bytes a partition for weights that stay between requests. */
  readonly residentBytes: number;
  /** Whether anything does; else each request brings its biases too. */
  readonly keepsConstants: boolean;
  /** Bytes a partition that scheduling needs beside both: tiles in flight. */
  readonly workingBytes: number;
  /** Elements a partition that pointwise work takes at a time, at most: temporaries are as large. */
  readonly pieceElements: number;
}

export const defaultBudget: Budget = {
  valueBytes: Math.floor(hardware.sbufBytesPerPartition * 0.68),
  residentBytes: Math.floor(hardware.sbufBytesPerPartition * 0.8),
  keepsConstants: true,
  workingBytes: Math.floor(hardware.sbufBytesPerPartition * 0.3),
  pieceElements: 4096,
};

/** Of a core without weights in flight: what scheduling likes to have, and what it can do with. */
const RESIDENT_WORKING_BYTES = Math.floor(hardware.sbufBytesPerPartition * 0.15);
const LEAST_WORKING_BYTES = Math.floor(hardware.sbufBytesPerPartition * 0.04);

/** Bytes a partition that a core has for its weights and values: without weights in flight, and with them. */
export const RESIDENT_ROOM = hardware.sbufBytesPerPartition - LEAST_WORKING_BYTES;
export const STREAMING_ROOM = hardware.sbufBytesPerPartition - defaultBudget.workingBytes;

/** For weights that stay between requests: values have to do with the rest, and go through DRAM where that is too little. */
export const WEIGHT_CAPACITY = Math.floor(hardware.sbufBytesPerPartition * 0.9);

/**
 * Tried in turn where memory is scarce: the share of what weights leave that values may take, and the size of pieces. More than all of it
 * is planned for at first: lives of values are shorter than planning takes them for.
 */
const SCARCE = [
  { share: 1.5, pieceElements: 256 },
  { share: 1, pieceElements: 256 },
  ...[1, 0.75, 0.5, 0.25, 0].map((share) => ({ share, pieceElements: 128 })),
];

/** Budgets that keep so many bytes a partition of weights, and ever fewer values in what they leave. */
export function residentBudgets(weightBytes: number): Budget[] {
  const room = hardware.sbufBytesPerPartition - weightBytes;
  const budget = (bytes: number, pieceElements: number): Budget => {
    const valueBytes = Math.min(defaultBudget.valueBytes, bytes);
    return { valueBytes, residentBytes: weightBytes, keepsConstants: true, workingBytes: room - valueBytes, pieceElements };
  };
  const scarce = SCARCE.map(({ share, pieceElements }) => budget(Math.floor(share * room), pieceElements));
  const usual = budget(Math.max(0, room - RESIDENT_WORKING_BYTES), defaultBudget.pieceElements);
  return room > 3 * RESIDENT_WORKING_BYTES ? [usual, ...scarce] : scarce;
}

function lowerings(node: Node) {
  return recordOf(node.op, node.domain)?.lowering;
}

/** Values that are better left in DRAM: inputs that a packing first layer reads in rows. */
export function wantedInDram(graph: Graph): Set<string> {
  const wanted = new Set<string>();
  const reader = (node: Node) => {
    const lowering = lowerings(node);
    if (lowering?.kind !== "convolution" || lowering.transposed) return;
    if (packsRows(lowering.geometry(useOf(graph, node)), staticType(graph, node.inputs[0]).shape)) wanted.add(node.inputs[0]);
  };
  for (const node of graph.nodes) reader(node);
  return wanted;
}

/** Where values would lie on chip, by their names in the graph without windows. */
export interface Arrangement {
  readonly layouts: ReadonlyMap<string, Layout>;
  /** Values on the memory of another: its name. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Axes for which a value has a whole copy with that axis on partitions. */
  readonly copies: ReadonlyMap<string, readonly number[]>;
}

interface Life {
  readonly name: string;
  bytes: number;
  readonly first: number;
  last: number;
  /** Time to store it and to load it for each use. */
  reloadSeconds: number;
}

/** Nodes after the one that makes a value in whose time it can't be stored and loaded: what uses it so soon waits for both. */
const SOON = 2;

/** A value's way between DRAM and chip: its first tile comes through one queue, and work waits for it; the rest comes through all. */
function moveSeconds(graph: Graph, name: string): number {
  const { dtype, shape } = staticType(graph, name);
  const { dmaSetupSeconds, dmaQueues, dmaBandwidthPerQueue, sbufPartitions, movingColumnsMax } = hardware;
  const elements = elementCount(shape);
  const tile = Math.min(elements, sbufPartitions * movingColumnsMax);
  const elementSeconds = deviceBytes(deviceTypeOf(dtype, name), "dram") / dmaBandwidthPerQueue;
  return dmaSetupSeconds + (tile + (elements - tile) / dmaQueues) * elementSeconds;
}

/**
 * Live ranges, in node positions, of the values that could stay on chip, with those that lie on their memory. A window counts for the whole
 * value that it is a part of; those that are read have a life of their own too.
 */
function lives({ graph, windows, wholes }: WindowedGraph, { layouts, aliases, copies }: Arrangement): { whole: Life[]; windows: Life[] } {
  const found = new Map<string, Life>();
  const parts = new Map<string, Life>();
  const read = new Set<string>();
  const touch = (map: Map<string, Life>, name: string, position: number) => {
    let life = map.get(name);
    if (!life) {
      const { dtype, shape } = staticType(graph, name);
      if (shape.length > 5 || elementCount(shape) === 0) return;
      const whole = wholes.get(name) ?? name;
      const bytesOf = (layout: Layout) => chipBytes(deviceTypeOf(dtype, name), shape, layout);
      const root = map.get(memoryOf(name, wholes, aliases));
      life = root ?? { name, bytes: bytesOf(layouts.get(whole) ?? [0]), first: position, last: position, reloadSeconds: 0 };
      life.bytes += (copies.get(whole) ?? []).reduce((sum, axis) => sum + bytesOf([axis]), 0);
      map.set(name, life);
    }
    life.last = Math.max(life.last, position);
    return life;
  };
  const results = new Set(graph.outputs);
  for (const name of graph.inputs) touch(found, name, 0);
  for (const [position, node] of graph.nodes.entries()) {
    for (const name of [...node.outputs, ...node.inputs]) {
      if (name === "" || graph.constants.has(name)) continue;
      const window = windows.get(name);
      const isStored = results.has(window?.of ?? name) && node.outputs.includes(name);
      for (const life of [touch(found, window?.of ?? name, position), window && touch(parts, name, position)]) {
        if (!life || isStored) continue;
        life.reloadSeconds += moveSeconds(graph, name);
        const age = position - life.first;
        if (age > 0 && age <= SOON) life.reloadSeconds += 2 * moveSeconds(graph, name);
      }
    }
    for (const name of node.inputs) read.add(name);
  }
  for (const { of } of windows.values()) if (graph.inputs.includes(of)) found.delete(of);
  const shares = [...graph.nodes].reverse().filter((node) => lowerings(node)?.kind === "movement" && node.inputs.length > 0);
  for (const node of shares) {
    const source = found.get(node.inputs[0]);
    const result = found.get(node.outputs[0]);
    if (source && result) source.last = Math.max(source.last, result.last);
  }
  return { whole: [...new Set(found.values())], windows: [...new Set(parts.values())].filter(({ name }) => read.has(name)) };
}

/** The value on whose memory another lies, or its own name: a window on that of the same window. */
export function memoryOf(name: string, wholes: WindowedGraph["wholes"], aliases: Arrangement["aliases"]): string {
  const whole = wholes.get(name) ?? name;
  return `${aliases.get(whole) ?? whole}${name.slice(whole.length)}`;
}

/** What stays on chip. */
export interface OnChip {
  readonly names: ReadonlySet<string>;
  /** Bytes a partition that are live at each node of the graph. */
  readonly used: Float64Array;
}

/**
 * The values that stay on chip, so that the live ones fit in the budget at every node and re-loading the others costs little. Windows of a value that stays there do too; of another, those that are read may by themselves.
 */
export function chooseOnChip(windowed: WindowedGraph, arrangement: Arrangement, inDram: ReadonlySet<string>, budget: number): OnChip {
  const { graph, windows, wholes } = windowed;
  const used = new Float64Array(graph.nodes.length + 1);
  const names = new Set<string>();
  const onlyMovesOut = new Set(graph.outputs);
  for (const node of graph.nodes) for (const input of node.inputs) onlyMovesOut.delete(input);
  const place = (list: readonly Life[]) => {
    const candidates = list.filter(({ name }) => !inDram.has(wholes.get(name) ?? name) && !onlyMovesOut.has(name));
    for (const index of chooseKept(candidates, used, budget)) names.add(candidates[index].name);
  };
  const found = lives(windowed, arrangement);
  place(found.whole);
  place(found.windows.filter(({ name }) => !names.has(memoryOf(windows.get(name)?.of ?? "", wholes, arrangement.aliases))));
  return { names, used };
}

/** The weights that a node contracts with on the tensor engine, as lowering cuts them; undefined if it has none. */
export function weightShape(graph: Graph, node: Node): WeightShape | undefined {
  const lowering = lowerings(node);
  const weights = graph.constants.get(node.inputs[1]);
  if (!weights) return undefined;
  if (lowering?.kind === "matmul" && weights.shape.length === 2) {
    return { inputs: weights.shape[0], taps: 1, outputs: weights.shape[1], groups: 1 };
  }
  if (lowering?.kind !== "convolution") return undefined;
  const { kernel, groups } = lowering.geometry(useOf(graph, node));
  const inputs = staticType(graph, node.inputs[0]).shape[1];
  const outputs = staticType(graph, node.outputs[0]).shape[1];
  const depthwise = !lowering.transposed && groups === inputs && outputs === inputs;
  return depthwise ? undefined : { inputs, taps: elementCount(kernel), outputs, groups };
}

/**
 * Weights that stay in SBUF, as the number of output channels, from the first on, for which they do: the last nodes' first (they have the most
 * bytes for their work), within the budget; shared ones count once.
 */
export function chooseResident(graph: Graph, budget: number): Map<Tensor, number> {
  const resident = new Map<Tensor, number>();
  let room = budget;
  for (const node of [...graph.nodes].reverse()) {
    const weights = graph.constants.get(node.inputs[1]);
    const shape = weightShape(graph, node);
    if (!weights || !shape || resident.has(weights)) continue;
    let outputs = 0;
    for (const group of weightGroups(shape)) {
      const bytes = groupBytes(shape, group);
      if (bytes > room) break;
      room -= bytes;
      outputs += group.outputs.reduce((count, tile) => count + tile.count, 0);
    }
    if (outputs > 0) resident.set(weights, outputs);
  }
  return resident;
}
