/** Weights as the stationary operands of matmuls: packed in DRAM so that one DMA brings long runs to every partition. */

import type { Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { DeviceType } from "../program/program.js";
import { type DeviceArray, deviceArray } from "./constants.js";
import type { Context } from "./context.js";
import { type ChannelTile, channelTiles, type Range, type View } from "./view.js";

/** Sizes of a contraction's weights: input channels, kernel positions, output channels. Channels meet only inside their group. */
export interface WeightShape {
  readonly inputs: number;
  readonly taps: number;
  readonly outputs: number;
  readonly groups: number;
}

/**
 * A contraction's weights: the one from input channel k through tap t to output channel m is
 * `data[inputOffsets[k] + tapOffsets[t] + outputOffsets[m]]`, in raw storage. k belongs to group floor(k / inputs per group), m likewise;
 * between groups the weight is 0.
 */
export interface WeightSource {
  /** The constant itself: nodes that share it share its packed form. */
  readonly tensor: Tensor;
  readonly dtype: DeviceType;
  readonly data: DeviceArray;
  readonly inputOffsets: Int32Array;
  readonly tapOffsets: Int32Array;
  readonly outputOffsets: Int32Array;
  readonly groups: number;
}

export function shapeOf({ inputOffsets, tapOffsets, outputOffsets, groups }: WeightSource): WeightShape {
  return { inputs: inputOffsets.length, taps: tapOffsets.length, outputs: outputOffsets.length, groups };
}

/** Offsets 0, step, 2 step, ... */
export function evenOffsets(count: number, step: number): Int32Array {
  return Int32Array.from({ length: count }, (_, index) => index * step);
}

/** Output channels whose weights are loaded together, cut in tiles of the tensor engine's columns. */
export interface WeightGroup {
  readonly outputs: readonly ChannelTile[];
  readonly inputs: readonly ChannelTile[];
}

/** The tensor engine takes 16-bit weights. */
const WEIGHT_BYTES = 2;
/** A DMA brings at least this many bytes to each partition where there are as many: output tiles are loaded together. */
const RUN_BYTES = 1024;
/** A DMA brings at most about this many bytes to each partition: so many input tiles are loaded together. */
const LOAD_BYTES = 2 * 1024;

/** First input channel and count that output channels [start, start + count) use. */
function inputsOf(shape: WeightShape, start: number, count: number): { start: number; count: number } {
  const inputs = shape.inputs / shape.groups;
  const outputs = shape.outputs / shape.groups;
  const first = Math.floor(start / outputs) * inputs;
  return { start: first, count: (Math.floor((start + count - 1) / outputs) + 1) * inputs - first };
}

/** Output tiles that are loaded together: enough for long runs, or as many as make at most `columns` columns, evenly. */
function tilesTogether(shape: WeightShape, tiles: number, columns: number | undefined): number {
  if (shape.groups > 1) return 1;
  if (columns !== undefined) return Math.ceil(tiles / Math.ceil(shape.outputs / columns));
  const inputTiles = Math.ceil(shape.inputs / hardware.sbufPartitions);
  return Math.max(1, Math.ceil(RUN_BYTES / (inputTiles * shape.taps * hardware.tensorColumns * WEIGHT_BYTES)));
}

/** The groups in which a contraction's weights are loaded; of up to `columns` output channels where they are to stream. */
export function weightGroups(shape: WeightShape, columns?: number): WeightGroup[] {
  const tiles = channelTiles(0, shape.outputs, hardware.tensorColumns);
  const together = tilesTogether(shape, tiles.length, columns);
  const groups: WeightGroup[] = [];
  for (let first = 0; first < tiles.length; first += together) {
    const outputs = tiles.slice(first, first + together);
    const count = outputs.reduce((sum, tile) => sum + tile.count, 0);
    const used = inputsOf(shape, outputs[0].start, count);
    groups.push({ outputs, inputs: channelTiles(used.start, used.count) });
  }
  return groups;
}

/** SBUF bytes a partition of weights that are held while an input which is not on chip streams past them. */
const HELD_BYTES = 40 * 1024;

/** Groups one after the other that are held together while an input streams past: it is read once for each of these lists. */
function heldTogether(shape: WeightShape, groups: readonly WeightGroup[], isResident: boolean): WeightGroup[][] {
  const lists: WeightGroup[][] = [];
  let left = 0;
  for (const group of groups) {
    const bytes = isResident ? 0 : groupBytes(shape, group);
    if (lists.length === 0 || bytes > left) {
      lists.push([]);
      left = HELD_BYTES;
    }
    lists[lists.length - 1].push(group);
    left -= bytes;
  }
  return lists;
}

/** How often an input that is not on chip is read: once for each list of groups that are held together. */
export function readings(shape: WeightShape): number {
  return heldTogether(shape, weightGroups(shape), false).length;
}

/** The lists of groups in which a node takes its weights: each by itself where its input is at hand, else as many as can be held. */
export function weightLists(context: Context, source: WeightSource, groups: readonly WeightGroup[], streams: boolean): WeightGroup[][] {
  if (!streams) return groups.map((group) => [group]);
  return heldTogether(shapeOf(source), groups, (context.resident.get(source.tensor) ?? 0) >= source.outputOffsets.length);
}

/** Tells the groups of one contraction apart, whichever way it is cut. */
function groupKey({ outputs }: WeightGroup): string {
  return `${outputs[0].start}-${outputs[outputs.length - 1].start}`;
}

/** The output channels of a group: without gaps. */
export function groupColumns({ outputs }: WeightGroup): Range {
  return { start: outputs[0].start, size: outputs.reduce((sum, { count }) => sum + count, 0), step: 1 };
}

/** SBUF bytes a partition that all of a contraction's weights take. */
export function weightBytes(shape: WeightShape): number {
  return weightGroups(shape).reduce((sum, group) => sum + groupBytes(shape, group), 0);
}

/** The same of one group. */
export function groupBytes({ taps }: WeightShape, { inputs, outputs }: WeightGroup): number {
  return inputs.length * taps * outputs.reduce((count, tile) => count + tile.count, 0) * WEIGHT_BYTES;
}

/** Whole tiles of input channels that stand next to each other are loaded by one DMA, up to `limit` of them. */
function inputRuns(inputs: readonly ChannelTile[], limit: number): ChannelTile[][] {
  const runs: ChannelTile[][] = [];
  const isWhole = (tile: ChannelTile) => tile.count === hardware.sbufPartitions;
  for (const tile of inputs) {
    const last = runs[runs.length - 1];
    if (last && last.length < limit && isWhole(tile) && last.every(isWhole)) last.push(tile);
    else runs.push([tile]);
  }
  return runs;
}

/** One group on chip: for each run of input tiles a buffer of [input tile][output tile][tap][m] in each partition. */
export class LoadedWeights {
  readonly #source: WeightSource;
  readonly #group: WeightGroup;
  /** By input tile: from where its weights begin in each partition. */
  readonly #views: readonly View[];
  /** Weights of one input channel to all of the group's output channels. */
  readonly #perChannel: number;

  constructor(context: Context, name: string, source: WeightSource, group: WeightGroup) {
    this.#source = source;
    this.#group = group;
    this.#perChannel = source.tapOffsets.length * group.outputs.reduce((sum, output) => sum + output.count, 0);
    const limit = Math.max(1, Math.floor(LOAD_BYTES / (WEIGHT_BYTES * Math.max(1, this.#perChannel))));
    const runs = this.#perChannel === 0 ? [] : inputRuns(group.inputs, limit);
    this.#views = runs.flatMap((run) => this.#load(context, name, run));
  }

  #load(context: Context, name: string, run: readonly ChannelTile[]): View[] {
    const { dtype } = this.#source;
    const [{ start, count, partition }] = run;
    const perPartition = run.length * this.#perChannel;
    const label = `${name}.${groupKey(this.#group)}.${start}`;
    const dram = context.packed.get(this.#source, `${label.slice(name.length)}`, () =>
      context.emitter.dram(label, "constant", dtype, [count, perPartition], () => this.#pack(run)),
    );
    const chip = context.values.temporary(`${label}.sbuf`, dtype, partition, count, [perPartition]);
    context.values.move({ ...chip, buffer: dram, space: "dram", partitionStart: 0, partitionStride: perPartition }, chip);
    return run.map((_, index) => ({ ...chip, offset: index * this.#perChannel }));
  }

  #pack(run: readonly ChannelTile[]): Uint8Array {
    const { count } = run[0];
    const packed = deviceArray(this.#source.dtype, count * run.length * this.#perChannel);
    let at = 0;
    for (let row = 0; row < count; row++) {
      for (const tile of run) for (const output of this.#group.outputs) at = this.#packRow(packed, at, tile.start + row, output);
    }
    return new Uint8Array(packed.buffer);
  }

  /** The weights of input channel k to one output tile, tap by tap; returns the position after them. */
  #packRow(packed: DeviceArray, start: number, k: number, output: ChannelTile): number {
    const { data, inputOffsets, tapOffsets, outputOffsets, groups } = this.#source;
    const outputsPerGroup = outputOffsets.length / groups;
    const group = Math.floor(k / (inputOffsets.length / groups));
    const first = Math.max(output.start, group * outputsPerGroup);
    const end = Math.min(output.start + output.count, (group + 1) * outputsPerGroup);
    let at = start;
    for (let tap = 0; tap < tapOffsets.length; tap++) {
      const base = inputOffsets[k] + tapOffsets[tap];
      for (let m = first; m < end; m++) packed[at + m - output.start] = data[base + outputOffsets[m]];
      at += output.count;
    }
    return at;
  }

  /** The stationary operand for one tile of input channels, tap, and output tile of the group. */
  stationary(inputTile: number, tap: number, outputTile: number): View {
    const { outputs } = this.#group;
    const before = outputs.slice(0, outputTile).reduce((sum, output) => sum + output.count * this.#source.tapOffsets.length, 0);
    const { count } = outputs[outputTile];
    const view = this.#views[inputTile];
    return { ...view, offset: view.offset + before + tap * count, dims: [{ size: count, stride: 1 }] };
  }

  /** All of the group's output channels as moving columns for one tile of input channels; of weights with a single tap. */
  moving(inputTile: number): View {
    if (this.#source.tapOffsets.length !== 1) throw new Error("weights with several taps don't stream");
    return { ...this.#views[inputTile], dims: [{ size: this.#perChannel, stride: 1 }] };
  }
}

/** What is made once for each constant and way of packing it, however many nodes use it. */
export class PackedConstants<T> {
  readonly #made = new Map<Tensor, Map<string, T>>();

  get(source: WeightSource, part: string, make: () => T): T {
    const known = this.#made.get(source.tensor) ?? new Map<string, T>();
    this.#made.set(source.tensor, known);
    const key = `${part} ${source.inputOffsets.length} ${source.inputOffsets[1]} ${source.tapOffsets.join()} ${source.groups}`;
    const value = known.get(key) ?? make();
    known.set(key, value);
    return value;
  }
}

/** Loads a group: once for all requests and nodes if the weights are resident, once a batch if they are held, else here. */
export function loadWeights(context: Context, node: string, source: WeightSource, group: WeightGroup): LoadedWeights {
  const load = () => new LoadedWeights(context, `${node}.weights`, source, group);
  const part = groupKey(group);
  const { start, size } = groupColumns(group);
  if (start + size <= (context.resident.get(source.tensor) ?? 0))
    return context.loaded.get(source, part, () => context.emitter.whileLoading(load));
  return context.held.get(source.tensor)?.get(source, part, load) ?? load();
}
