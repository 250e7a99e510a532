/** Where each value of the graph is while the program runs, and how an operator gets at a box of it. */
import { type Graph, staticType } from "../graph/graph.js";
import { elementCount, rowMajorStrides, type Tensor, toFloat32 } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { DeviceType } from "../program/program.js";
import { deviceBytes } from "../program/program.js";
import { deviceData, deviceTypeOf } from "./constants.js";
import type { Emitter } from "./emitter.js";
import { type Box, type ChannelTile, channelTiles, type Dimension, jointly, type View, wholeBox, withSizes } from "./view.js";
import type { Window, WindowedGraph } from "./windows.js";

/** A strided place in DRAM: the value's element at an index is at offset + index . strides. */
interface DramPlace {
  readonly buffer: string;
  readonly offset: number;
  readonly strides: readonly number[];
}

/** The axis on partitions, and one buffer for each tile of channels; free axes are row-major in each partition, from `offset` on. */
interface ChipPlace {
  readonly axis: number;
  readonly tiles: readonly string[];
  readonly offset: number;
}

export interface Value {
  readonly name: string;
  readonly dtype: DeviceType;
  readonly shape: readonly number[];
  /** The axis that lies on partitions when the value is on chip. */
  readonly axis: number;
  chip?: ChipPlace;
  dram?: DramPlace;
  readonly constant?: Tensor;
}

/** A box that an operator writes. Write all of `view`, then call `commit`. */
export interface Target {
  readonly view: View;
  commit(): void;
}

/** Elements of one partition of a value on chip. */
export function freeElements(shape: readonly number[], axis: number): number {
  return shape.length === 0 ? 1 : elementCount(shape) / Math.max(1, shape[axis]);
}

/** SBUF bytes a partition that the whole value takes on chip. */
export function chipBytes(dtype: DeviceType, shape: readonly number[], axis: number): number {
  const tiles = Math.ceil((shape[axis] ?? 1) / hardware.sbufPartitions);
  return tiles * freeElements(shape, axis) * deviceBytes(dtype, "sbuf");
}

/** Bytes that one DMA moves at most, where a view can be cut. */
const PIECE_BYTES = 128 * 1024;

/** Positions [start, start + size) along one free dimension of a view. */
function slice(view: View, axis: number, start: number, size: number): View {
  const { stride } = view.dims[axis];
  return { ...view, offset: view.offset + start * stride, dims: view.dims.map((dim, index) => (index === axis ? { size, stride } : dim)) };
}

export class Values {
  readonly #graph: Graph;
  readonly #windows: ReadonlyMap<string, Window>;
  readonly #emitter: Emitter;
  readonly #axes: ReadonlyMap<string, number>;
  readonly #onChip: ReadonlySet<string>;
  readonly #values = new Map<string, Value>();
  #fetched = new Map<string, View>();
  /** Per-partition FP32 constants, 128 to a column of one resident buffer. */
  readonly #columns: Float32Array[] = [];
  readonly #columnIndex = new Map<string, number>();

  constructor({ graph, windows }: WindowedGraph, emitter: Emitter, axes: ReadonlyMap<string, number>, onChip: ReadonlySet<string>) {
    this.#graph = graph;
    this.#windows = windows;
    this.#emitter = emitter;
    this.#axes = axes;
    this.#onChip = onChip;
    for (const name of graph.inputs) this.#declare(name, "input");
    for (const name of new Set(graph.outputs)) this.#declare(name, "output");
  }

  #declare(name: string, kind: "input" | "output"): void {
    const value = this.value(name);
    const buffer = this.#emitter.dram(name, kind, value.dtype, value.shape);
    value.dram = { buffer, offset: 0, strides: rowMajorStrides(value.shape) };
  }

  value(name: string): Value {
    let value = this.#values.get(name);
    if (!value) {
      const type = staticType(this.#graph, name);
      const constant = this.#graph.constants.get(name);
      value = {
        name,
        dtype: deviceTypeOf(type.dtype, name),
        shape: type.shape,
        axis: this.#axes.get(name) ?? 0,
        ...(constant && { constant }),
      };
      this.#values.set(name, value);
      const window = this.#windows.get(name);
      if (window) this.#placeWindow(value, window);
    }
    return value;
  }

  /** A window lies where the whole value lies. What it is on chip by itself, it also stores to the whole's place in DRAM. */
  #placeWindow(value: Value, { of, start }: Window): void {
    const whole = this.value(of);
    if (!whole.chip && !whole.dram) this.prepare(whole);
    if (whole.chip) {
      value.chip = { ...whole.chip, offset: whole.chip.offset + start * freeElements(value.shape.with(0, 1), value.axis) };
    } else {
      const { buffer, offset, strides } = this.dramPlace(whole);
      value.dram = { buffer, offset: offset + start * strides[0], strides };
    }
  }

  /** Forgets the boxes fetched so far, so that they need not stay on chip: at the start of a node, and between its blocks. */
  forgetFetched(): void {
    this.#fetched = new Map();
  }

  /** Makes `name` another shape of `source`, on the same memory. False if its layout on chip would differ. */
  alias(name: string, source: Value): boolean {
    const value = this.value(name);
    if (value.dram || value.chip) return false;
    const before = (shape: readonly number[], axis: number) => elementCount(shape.slice(0, axis));
    const sameAxis =
      value.shape[value.axis] === source.shape[source.axis] && before(value.shape, value.axis) === before(source.shape, source.axis);
    if (source.chip) {
      if (!sameAxis || source.chip.axis !== source.axis) return false;
      value.chip = { ...source.chip, axis: value.axis };
    }
    const contiguous =
      source.dram &&
      rowMajorStrides(source.shape).every((stride, axis) => source.shape[axis] === 1 || stride === source.dram?.strides[axis]);
    if (source.dram && contiguous) value.dram = { ...source.dram, strides: rowMajorStrides(value.shape) };
    return value.chip !== undefined || value.dram !== undefined;
  }

  /** Gives the value a strided place in the DRAM of another, without moving anything. */
  placeInDram(name: string, place: DramPlace): void {
    this.value(name).dram = place;
  }

  /** The value's place in DRAM; stores it there first if it is only on chip. */
  dramPlace(value: Value): DramPlace {
    if (value.dram) return value.dram;
    const strides = rowMajorStrides(value.shape);
    if (value.constant) {
      const { constant, dtype } = value;
      const buffer = this.#emitter.dram(value.name, "constant", dtype, value.shape, () => deviceData(constant, dtype));
      value.dram = { buffer, offset: 0, strides };
      return value.dram;
    }
    value.dram = { buffer: this.#emitter.dram(`${value.name}.dram`, "scratch", value.dtype, value.shape), offset: 0, strides };
    if (value.chip) this.storeChip(value);
    return value.dram;
  }

  /** Copies the whole value from chip to its place in DRAM. */
  storeChip(value: Value): void {
    const box = wholeBox(value.shape);
    for (const tile of this.tiles(value)) {
      const from = this.chipView(value, tile, box);
      this.move(from, this.dramView(value, value.axis, tile.start, tile.count, box));
    }
  }

  tiles(value: Value): ChannelTile[] {
    return channelTiles(0, value.shape[value.axis] ?? 1);
  }

  /** One or more DMAs from one view to another of the same shape: long ones in pieces, for several queues and for readers that need a part. */
  move(from: View, to: View): void {
    const axis = from.dims.findIndex(({ size }) => size > 1);
    const bytes = from.dims.reduce((product, { size }) => product * size, from.partitionCount * deviceBytes(from.dtype, "dram"));
    const pieces = axis < 0 ? 1 : Math.min(from.dims[axis].size, Math.ceil(bytes / PIECE_BYTES));
    for (let piece = 0; piece < pieces; piece++) {
      const [start, end] = [piece, piece + 1].map((index) => Math.round((from.dims[axis]?.size * index) / pieces));
      const part = (view: View) => (pieces === 1 ? view : slice(view, axis, start, end - start));
      jointly([part(from), part(to)], ([source, target]) => this.#emitter.step("dma", { kind: "dma", out: target, in: source }));
    }
  }

  /** Whether a box of the value can be read straight from chip with `axis` on partitions. */
  isOnChip(value: Value, axis: number): boolean {
    return value.chip?.axis === axis;
  }

  chipView(value: Value, tile: ChannelTile, box: Box): View {
    const chip = value.chip;
    if (!chip) throw new Error(`${value.name} is not on chip`);
    const free = value.shape.filter((_, axis) => axis !== chip.axis);
    const strides = rowMajorStrides(free);
    const ranges = box.filter((_, axis) => axis !== chip.axis);
    return {
      buffer: chip.tiles[tile.tile],
      space: "sbuf",
      dtype: value.dtype,
      partitionStart: tile.partition,
      partitionCount: tile.count,
      partitionStride: 0,
      offset: ranges.reduce((sum, range, axis) => sum + range.start * strides[axis], chip.offset),
      dims: ranges.map((range, axis) => ({ size: range.size, stride: range.step * strides[axis] })),
    };
  }

  /** `axis` may be -1: the one partition of a value that has no such axis, repeated `count` times. */
  dramView(value: Value, axis: number, start: number, count: number, box: Box): View {
    const place = this.dramPlace(value);
    const stride = place.strides[axis] ?? 0;
    let offset = place.offset + start * stride;
    const dims: Dimension[] = [];
    for (const [index, range] of box.entries()) {
      if (index === axis) continue;
      offset += range.start * place.strides[index];
      dims.push({ size: range.size, stride: range.step * place.strides[index] });
    }
    return {
      buffer: place.buffer,
      space: "dram",
      dtype: value.dtype,
      partitionStart: 0,
      partitionCount: count,
      partitionStride: stride,
      offset,
      dims,
    };
  }

  /**
   * A box of the value on chip, `axis` on partitions (channels [start, start + count), inside one tile); loaded from DRAM if need be.
   * Free dimensions are the other axes in order, as `box` says. With axis -1 one row is repeated over `count` partitions.
   */
  fetch(value: Value, axis: number, start: number, count: number, box: Box): View {
    const tile = channelTiles(start, count)[0];
    if (tile.count !== count) throw new Error(`${value.name}: channels ${start}+${count} cross a tile`);
    if (axis >= 0) this.#loadWhole(value, axis);
    if (axis >= 0 && this.isOnChip(value, axis)) return this.chipView(value, tile, box);
    const key = JSON.stringify([value.name, axis, start, count, box]);
    const known = this.#fetched.get(key);
    if (known) return known;
    const from = this.dramView(value, axis, start, count, box);
    const view = this.temporary(
      `${value.name}.tile`,
      value.dtype,
      tile.partition,
      count,
      from.dims.map((dim) => dim.size),
    );
    this.move(from, view);
    this.#fetched.set(key, view);
    return view;
  }

  /** An input that is kept on chip is loaded at its first use. */
  #loadWhole(value: Value, axis: number): void {
    if (value.chip || value.axis !== axis || !this.#onChip.has(value.name) || !value.dram) return;
    this.#allocate(value);
    const box = wholeBox(value.shape);
    for (const tile of this.tiles(value))
      this.move(this.dramView(value, axis, tile.start, tile.count, box), this.chipView(value, tile, box));
  }

  /** A contiguous scratch buffer in SBUF, of partitions [partition, partition + count). */
  temporary(name: string, dtype: DeviceType, partition: number, count: number, sizes: readonly number[]): View {
    const whole = this.#emitter.chip(name, "sbuf", dtype, partition + count, elementCount(sizes));
    return withSizes({ ...whole, partitionStart: partition, partitionCount: count }, sizes);
  }

  #allocate(value: Value): void {
    const elements = freeElements(value.shape, value.axis);
    const tiles = this.tiles(value).map((tile) => this.#emitter.chip(value.name, "sbuf", value.dtype, tile.count, elements).buffer);
    value.chip = { axis: value.axis, tiles, offset: 0 };
  }

  /** Allocates the value on chip, if that is its place; for operators that write it piece by piece. */
  prepare(value: Value): void {
    if (!value.chip && this.#onChip.has(value.name)) this.#allocate(value);
  }

  /** Where a node writes a box of its output, `axis` on partitions. `finishOutput` must follow when all boxes are written. */
  target(value: Value, axis: number, start: number, count: number, box: Box): Target {
    const tile = channelTiles(start, count)[0];
    if (!value.chip && axis === value.axis && this.#onChip.has(value.name)) this.#allocate(value);
    if (value.chip && value.chip.axis === axis) return { view: this.chipView(value, tile, box), commit: () => {} };
    const to = this.dramView(value, axis, start, count, box);
    const view = this.temporary(
      `${value.name}.out`,
      value.dtype,
      tile.partition,
      count,
      to.dims.map((dim) => dim.size),
    );
    return { view, commit: () => this.move(view, to) };
  }

  /** A graph output or a window of a value in DRAM that is kept on chip for other users is also stored to DRAM. */
  finishOutput(value: Value): void {
    const wanted = this.#graph.outputs.includes(value.name) || this.#windows.has(value.name);
    if (value.chip && value.dram && wanted) this.storeChip(value);
    const window = this.#windows.get(value.name);
    if (!window) return;
    const whole = this.value(window.of);
    if (window.start + window.size === whole.shape[0]) this.finishOutput(whole);
  }

  /** The one FP32 number in each of `count` partitions from channel `start` of a per-channel constant: a scalar operand. */
  column(constant: Tensor, key: string, start: number, count: number): View {
    let first = this.#columnIndex.get(key);
    if (first === undefined) {
      first = this.#columns.length;
      this.#columnIndex.set(key, first);
      const values = toFloat32(constant);
      const partitions = hardware.sbufPartitions;
      for (let from = 0; from < values.length; from += partitions) this.#columns.push(values.slice(from, from + partitions));
    }
    const tile = channelTiles(start, count)[0];
    return {
      buffer: COLUMNS,
      space: "sbuf",
      dtype: "float32",
      partitionStart: tile.partition,
      partitionCount: count,
      partitionStride: 0,
      offset: first + tile.tile,
      dims: [{ size: 1, stride: 1 }],
    };
  }

  /** Emits the load of all columns. Call once, after the last node. */
  finishColumns(): void {
    const count = this.#columns.length;
    if (count === 0) return;
    const partitions = hardware.sbufPartitions;
    const packed = new Float32Array(partitions * count);
    for (const [index, column] of this.#columns.entries()) {
      for (let p = 0; p < column.length; p++) packed[p * count + index] = column[p];
    }
    const dram = this.#emitter.dram(`${COLUMNS}.dram`, "constant", "float32", [partitions, count], () => new Uint8Array(packed.buffer));
    const chip = this.#emitter.chip(COLUMNS, "sbuf", "float32", partitions, count);
    this.#emitter.whileLoading(() => this.move({ ...chip, buffer: dram, space: "dram", partitionStride: count }, chip));
  }
}

/** The resident buffer of per-channel constants. */
const COLUMNS = "columns";
