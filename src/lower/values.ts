/** Where each value of the graph is while the program runs, and how an operator gets at a box of it. */
import { type Graph, staticType } from "../graph/graph.js";
import { elementCount, rowMajorStrides, type Tensor, toFloat32 } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { type DeviceType, deviceBytes } from "../program/program.js";
import { exactValues } from "./comparable.js";
import { deviceData, deviceTypeOf } from "./constants.js";
import type { Emitter } from "./emitter.js";
import {
  boxOf,
  type ChipPlace,
  channelCount,
  chipPieces,
  freeElements,
  innerAxis,
  type Layout,
  type Piece,
  partOf,
  placeView,
  type Rearrangement,
  reachableView,
  rearranged,
  stridesOf,
} from "./place.js";
import { copyOnChip, exchange, type Relayout, type Side, transposeType } from "./relayout.js";
import {
  accessOf,
  type Box,
  type ChannelTile,
  channelTiles,
  type Dimension,
  isScattered,
  jointly,
  tileBoxes,
  type View,
  wholeBox,
  withSizes,
} from "./view.js";
import type { Window, WindowedGraph } from "./windows.js";

/** Positions on both sides from which on exchanging on chip is worth more instructions. */
export const EXCHANGE_MIN = 8;
/** Elements a partition that are brought at a time to be exchanged. */
const STAGED_ELEMENTS = 4096;

/** A strided place in DRAM: the value's element at an index is at offset + index . strides. */
interface DramPlace {
  readonly buffer: string;
  readonly offset: number;
  readonly strides: readonly number[];
}

export interface Value {
  readonly name: string;
  readonly dtype: DeviceType;
  readonly shape: readonly number[];
  /** The axes that lie on partitions when the value is on chip. */
  readonly layout: Layout;
  /** The innermost of them. */
  readonly axis: number;
  chip?: ChipPlace;
  /** The same values in other layouts, for readers that want them so. */
  readonly copies: ChipPlace[];
  dram?: DramPlace;
  readonly constant?: Tensor;
}

/** A box that an operator writes. Write all of `view`, then call `commit`. */
export interface Target {
  readonly view: View;
  commit(): void;
}

/** What lowering knows before it begins. */
export interface Placement {
  readonly layouts: ReadonlyMap<string, Layout>;
  /** Values that stay on chip. */
  readonly onChip: ReadonlySet<string>;
  /** Axes that readers of a value on chip want on partitions, for which there is room for a whole copy. */
  readonly copies: ReadonlyMap<string, readonly number[]>;
  readonly relayout: Relayout;
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
  readonly #wholes: ReadonlyMap<string, string>;
  readonly #emitter: Emitter;
  readonly #placement: Placement;
  readonly #exact: ReadonlySet<string>;
  readonly #values = new Map<string, Value>();
  #fetched = new Map<string, View>();
  /** Per-partition FP32 constants, 128 to a column of one resident buffer. */
  readonly #columns: Float32Array[] = [];
  readonly #columnIndex = new Map<string, number>();

  constructor({ graph, windows, wholes }: WindowedGraph, emitter: Emitter, placement: Placement) {
    this.#graph = graph;
    this.#windows = windows;
    this.#wholes = wholes;
    this.#emitter = emitter;
    this.#placement = placement;
    this.#exact = exactValues([graph]);
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
        layout: this.#placement.layouts.get(name) ?? [],
        axis: this.#placement.layouts.get(name)?.at(-1) ?? 0,
        copies: [],
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
      const { channel, element, channels, free } = whole.chip;
      value.chip = { ...whole.chip, channel: channel + start * channels[0], element: element + start * free[0] };
    } else {
      const { buffer, offset, strides } = this.dramPlace(whole);
      value.dram = { buffer, offset: offset + start * strides[0], strides };
    }
  }

  /** Forgets the boxes fetched so far, so that they need not stay on chip: at the start of a node, and between its blocks. */
  forgetFetched(): void {
    this.#fetched = new Map();
  }

  /** Makes `name` a rearrangement of `source`, on the same memory on chip. False if it can't be that, or `source` is not there. */
  alias(name: string, source: Value, way: Rearrangement): boolean {
    const value = this.value(name);
    const inPlace = value.dram && !this.#graph.outputs.includes(name);
    if (!source.chip || value.chip || inPlace) return false;
    const strides = rearranged(source.chip, way, value.shape);
    if (!strides || innerAxis(strides, value.shape) < 0) return false;
    value.chip = { ...strides, tiles: source.chip.tiles };
    for (const copy of source.copies) {
      const other = rearranged(copy, way, value.shape);
      if (other) value.copies.push({ ...other, tiles: copy.tiles });
    }
    return true;
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

  /** Has `write` make the value in DRAM. One that has a place on chip already, as the window of a value there has, is then loaded to it. */
  throughDram(value: Value, write: () => void): void {
    const { chip } = value;
    value.chip = undefined;
    write();
    if (!chip) return;
    value.chip = chip;
    this.#fill(value, chip, (piece, view) => this.#fromDram(value, piece, view));
  }

  /** Copies the whole value from chip to its place in DRAM. */
  storeChip(value: Value): void {
    const { chip } = value;
    if (!chip) return;
    for (const piece of chipPieces(chip, value.shape, wholeBox(value.shape))) {
      this.#toDram(value, piece, this.#viewAt(chip, value, piece));
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

  /** Whether the value is on chip, or will be as a whole once it is read. */
  keeps(value: Value): boolean {
    return value.chip !== undefined || (this.#placement.onChip.has(value.name) && value.dram !== undefined);
  }

  /** Whether every box of the value can be read straight from chip with `axis` on partitions. */
  isOnChip(value: Value, axis: number): boolean {
    const whole = ({ channel, channels }: ChipPlace) =>
      channel % hardware.sbufPartitions === 0 &&
      channels.every((stride, index) => value.shape[index] === 1 || stride === (index === axis ? 1 : 0));
    return value.chip !== undefined && [value.chip, ...value.copies].some(whole);
  }

  /** A box of a value on chip with positions [start, start + count) of `axis` on partitions; undefined if it does not lie so. */
  chipView(value: Value, axis: number, start: number, count: number, box: Box): View | undefined {
    for (const place of value.chip ? [value.chip, ...value.copies] : []) {
      const view = reachableView(place, value.dtype, axis, start, count, box);
      if (view) return view;
    }
    return undefined;
  }

  #viewAt(place: ChipPlace, value: Value, { axis, start, count, box }: Piece): View {
    const view = placeView(place, value.dtype, axis, start, count, box);
    if (!view) throw new Error(`${value.name}: a piece of its place is not in one tile`);
    return view;
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
   * A box of the value on chip, `axis` on partitions (channels [start, start + count), inside one tile); brought there if need be.
   * Free dimensions are the other axes in order, as `box` says. With axis -1 one row is repeated over `count` partitions.
   */
  fetch(value: Value, axis: number, start: number, count: number, box: Box): View {
    const tile = channelTiles(start, count)[0];
    if (tile.count !== count) throw new Error(`${value.name}: channels ${start}+${count} cross a tile`);
    if (axis >= 0) {
      this.#loadWhole(value);
      this.#makeCopy(value, axis);
      const view = this.chipView(value, axis, start, count, box);
      if (view) return view;
    }
    const key = JSON.stringify([value.name, axis, start, count, box]);
    const known = this.#fetched.get(key);
    if (known) return known;
    const sizes = box.flatMap((range, index) => (index === axis ? [] : [range.size]));
    const view = this.temporary(`${value.name}.tile`, value.dtype, tile.partition, count, sizes);
    if (axis >= 0 && value.chip) this.#fromChip(value, value.chip, { axis, start, count, box }, view);
    else this.#fromDram(value, { axis, start, count, box }, view);
    this.#fetched.set(key, view);
    return view;
  }

  /** An input that is kept on chip is loaded at its first use. */
  #loadWhole(value: Value): void {
    if (value.chip || !this.#placement.onChip.has(value.name) || !value.dram) return;
    value.chip = this.#allocate(value, value.layout);
    this.#fill(value, value.chip, (piece, view) => this.#fromDram(value, piece, view));
  }

  /** A value of which readers want another axis on partitions is copied as a whole, once. */
  #makeCopy(value: Value, axis: number): void {
    const { chip } = value;
    if (!chip || this.isOnChip(value, axis) || !this.#placement.copies.get(value.name)?.includes(axis)) return;
    const copy = this.#allocate(value, [axis]);
    this.#fill(value, copy, (piece, view) => this.#fromChip(value, chip, piece, view));
    value.copies.push(copy);
  }

  #fill(value: Value, place: ChipPlace, bring: (piece: Piece, view: View) => void): void {
    for (const piece of chipPieces(place, value.shape, wholeBox(value.shape))) bring(piece, this.#viewAt(place, value, piece));
  }

  /** Fills `to` from another place on chip. */
  #fromChip(value: Value, place: ChipPlace, wanted: Piece, to: View): void {
    for (const piece of chipPieces(place, value.shape, boxOf(wanted))) {
      const source = this.#viewAt(place, value, piece);
      this.#bridge(value, { view: source, axis: piece.axis }, { view: partOf(to, wanted, boxOf(piece)), axis: wanted.axis });
    }
  }

  /** Values that are compared or become integers change their layout bit by bit. */
  #relayout({ name }: Value): Relayout {
    const { relayout } = this.#placement;
    const isExact = this.#exact.has(name) || relayout.exact?.has(this.#wholes.get(name) ?? name);
    return isExact ? { ...relayout, fast: false } : relayout;
  }

  /** Copies or exchanges between two sides of one box. */
  #bridge(value: Value, source: Side, out: Side): void {
    if (source.axis !== out.axis) exchange(this.#emitter, this.#relayout(value), source, out);
    else copyOnChip(this.#emitter, source.view, out.view);
  }

  /** Fills `to` from DRAM. Runs too short to be worth a descriptor each are loaded with another axis on partitions, and exchanged on chip. */
  #fromDram(value: Value, wanted: Piece, to: View): void {
    for (const part of this.#throughExchange(value, wanted)) {
      if (!part)
        return wanted.axis < 0 && wanted.count > 1 ? this.#repeat(value, wanted, to) : this.move(this.#dramPiece(value, wanted), to);
      const staged = this.#staged(value, part);
      this.move(this.#dramPiece(value, part), staged);
      this.#bridge(value, { view: staged, axis: part.axis }, { view: partOf(to, wanted, boxOf(part)), axis: wanted.axis });
    }
  }

  /** Brings a row from DRAM once, and repeats it over the partitions on chip. */
  #repeat(value: Value, wanted: Piece, to: View): void {
    const from = this.#dramPiece(value, wanted);
    const sizes = to.dims.map((dim) => dim.size);
    const row = this.temporary(`${value.name}.row`, value.dtype, 0, 1, sizes);
    this.move({ ...from, partitionCount: 1 }, row);
    const count = elementCount(sizes);
    const [out, source] = [to, row].map((view) => accessOf(withSizes(view, [count])));
    this.#emitter.step("dma", { kind: "dma", out, in: { ...source, sizes: [to.partitionCount, count], strides: [0, 1] } });
  }

  /** The way back: stores a box that lies with `given.axis` on partitions. */
  #toDram(value: Value, given: Piece, from: View): void {
    for (const part of this.#throughExchange(value, given)) {
      if (!part) return this.move(from, this.#dramPiece(value, given));
      const staged = this.#staged(value, part);
      this.#bridge(value, { view: partOf(from, given, boxOf(part)), axis: given.axis }, { view: staged, axis: part.axis });
      this.move(staged, this.#dramPiece(value, part));
    }
  }

  #dramPiece(value: Value, { axis, start, count, box }: Piece): View {
    return this.dramView(value, axis, start, count, box);
  }

  #staged(value: Value, { axis, count, box }: Piece): View {
    const sizes = box.flatMap((range, index) => (index === axis ? [] : [range.size]));
    return this.temporary(`${value.name}.staged`, value.dtype, 0, count, sizes);
  }

  /** Whether a box is brought from DRAM by way of another axis on partitions. */
  exchanges(value: Value, piece: Piece): boolean {
    return !value.chip && this.#throughExchange(value, piece)[0] !== undefined;
  }

  /** The parts in which a box goes between DRAM and chip by way of another axis on partitions; a single undefined where it goes directly. */
  #throughExchange(value: Value, piece: Piece): (Piece | undefined)[] {
    const { strides } = this.dramPlace(value);
    const box = boxOf(piece);
    const direct = this.#dramPiece(value, piece);
    const other = box.reduce((best, { size }, axis) => (axis !== piece.axis && (best < 0 || size > box[best].size) ? axis : best), -1);
    const worth =
      piece.axis >= 0 &&
      strides[piece.axis] === 1 &&
      other >= 0 &&
      Math.min(piece.count, box[other].size) >= EXCHANGE_MIN &&
      isScattered(direct);
    if (!worth || transposeType(value.dtype, this.#relayout(value)) === undefined || box[other].step !== 1) return [undefined];
    const rest = box.map((range, axis) => (axis === other ? 1 : range.size));
    return [...tileBoxes(rest, STAGED_ELEMENTS)].flatMap((tile) =>
      channelTiles(0, box[other].size).map(({ start, count }) => {
        const part = tile.map((range, axis) => ({ ...box[axis], start: box[axis].start + range.start * box[axis].step, size: range.size }));
        return { axis: other, start: box[other].start + start, count, box: part };
      }),
    );
  }

  /** A contiguous scratch buffer in SBUF, of partitions [partition, partition + count). */
  temporary(name: string, dtype: DeviceType, partition: number, count: number, sizes: readonly number[]): View {
    const whole = this.#emitter.chip(name, "sbuf", dtype, partition + count, elementCount(sizes));
    return withSizes({ ...whole, partitionStart: partition, partitionCount: count }, sizes);
  }

  #allocate(value: Value, layout: Layout): ChipPlace {
    const elements = freeElements(value.shape, layout);
    const tiles = channelTiles(0, channelCount(value.shape, layout)).map(
      (tile) => this.#emitter.chip(value.name, "sbuf", value.dtype, tile.count, elements).buffer,
    );
    return { ...stridesOf(value.shape, layout), tiles };
  }

  /** Allocates the value on chip, if that is its place; for operators that write it piece by piece. */
  prepare(value: Value): void {
    if (!value.chip && this.#placement.onChip.has(value.name)) value.chip = this.#allocate(value, value.layout);
  }

  /** Where a node writes a box of its output, `axis` on partitions. `finishOutput` must follow when all boxes are written. */
  target(value: Value, axis: number, start: number, count: number, box: Box): Target {
    const tile = channelTiles(start, count)[0];
    this.prepare(value);
    const { chip } = value;
    const direct = chip && reachableView(chip, value.dtype, axis, start, count, box);
    if (direct) return { view: direct, commit: () => {} };
    const sizes = box.flatMap((range, index) => (index === axis ? [] : [range.size]));
    const view = this.temporary(`${value.name}.out`, value.dtype, tile.partition, count, sizes);
    const written = { axis, start, count, box };
    if (!chip) return { view, commit: () => this.#toDram(value, written, view) };
    const commit = () => {
      for (const piece of chipPieces(chip, value.shape, boxOf(written))) {
        const out = this.#viewAt(chip, value, piece);
        this.#bridge(value, { view: partOf(view, written, boxOf(piece)), axis }, { view: out, axis: piece.axis });
      }
    };
    return { view, commit };
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
