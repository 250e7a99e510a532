/** Places on chip: which axes of a value lie on partitions, and where each of its elements is. */
import { elementCount, rowMajorStrides } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { Movement } from "../operators/record.js";
import { type DeviceType, deviceBytes } from "../program/program.js";
import { type Box, channelTiles, type Dimension, ONE, partitions, subView, tileBoxes, type View } from "./view.js";

/** The axes of a value that lie on partitions, outermost first: usually one. The others are free, in row-major order. */
export type Layout = readonly number[];

/** How an index becomes a place: channel `channel` + sum(index * channels), and element `element` + sum(index * free) of that channel. */
export interface PlaceStrides {
  readonly channel: number;
  readonly element: number;
  readonly channels: readonly number[];
  readonly free: readonly number[];
}

/** Channels lie in tiles of `sbufPartitions`, each a buffer. */
export interface ChipPlace extends PlaceStrides {
  readonly tiles: readonly string[];
}

export function stridesOf(shape: readonly number[], layout: Layout): PlaceStrides {
  const along = (axes: readonly number[]) => {
    const strides = rowMajorStrides(axes.map((axis) => shape[axis]));
    return shape.map((_, axis) => (axes.includes(axis) ? strides[axes.indexOf(axis)] : 0));
  };
  return {
    channel: 0,
    element: 0,
    channels: along(layout),
    free: along(shape.map((_, axis) => axis).filter((axis) => !layout.includes(axis))),
  };
}

export function channelCount(shape: readonly number[], layout: Layout): number {
  return elementCount(layout.map((axis) => shape[axis] ?? 1));
}

/** Elements of one partition of a value on chip. */
export function freeElements(shape: readonly number[], layout: Layout): number {
  return elementCount(shape) / Math.max(1, channelCount(shape, layout));
}

/** SBUF bytes a partition that the whole value takes on chip. */
export function chipBytes(dtype: DeviceType, shape: readonly number[], layout: Layout): number {
  return Math.ceil(channelCount(shape, layout) / hardware.sbufPartitions) * freeElements(shape, layout) * deviceBytes(dtype, "sbuf");
}

/** The axis whose neighbours are neighbouring partitions, else one of a single position; -1 if every position lies in one partition. */
export function innerAxis(place: PlaceStrides, shape: readonly number[]): number {
  const inner = place.channels.findIndex((stride, axis) => stride === 1 && shape[axis] > 1);
  return inner >= 0 || shape.length === 0 ? Math.max(0, inner) : shape.indexOf(1);
}

/** A box of a value of which positions [start, start + count) of `axis` lie on partitions; `box` says nothing of that axis. */
export interface Piece {
  readonly axis: number;
  readonly start: number;
  readonly count: number;
  readonly box: Box;
}

/** The piece's box, that of its axis included. */
export function boxOf({ axis, start, count, box }: Piece): Box {
  return box.map((range, index) => (index === axis ? { start, size: count, step: 1 } : range));
}

/** The part of the view of a piece that a box within it names. */
export function partOf(view: View, piece: Piece, part: Box): View {
  const free = part.flatMap((range, axis) =>
    axis === piece.axis ? [] : [{ start: (range.start - piece.box[axis].start) / piece.box[axis].step, size: range.size, step: 1 }],
  );
  const own = part[piece.axis];
  return subView(own ? partitions(view, own.start - piece.start, own.size) : view, free);
}

/** The pieces of a box at a place, each in neighbouring partitions of one tile. */
export function chipPieces(place: PlaceStrides, shape: readonly number[], box: Box): Piece[] {
  const axis = innerAxis(place, shape);
  const outer = box.map((range, index) => (index !== axis && place.channels[index] !== 0 ? range.size : 1));
  const range = box[axis] ?? ONE;
  return [...tileBoxes(outer, 1)].flatMap((position) => {
    const single = box.map((whole, index) =>
      index !== axis && place.channels[index] !== 0 ? { start: whole.start + position[index].start * whole.step, size: 1, step: 1 } : whole,
    );
    const base = single.reduce((sum, { start }, index) => (index === axis ? sum : sum + start * place.channels[index]), place.channel);
    const own = (place.channels[axis] ?? 0) === 0 ? 0 : 1;
    // Every so many positions are no neighbours: each is a piece.
    if (own === 1 && range.size > 1 && range.step !== 1)
      return Array.from({ length: range.size }, (_, step) => ({ axis, start: range.start + step * range.step, count: 1, box: single }));
    return channelTiles(base + own * range.start, range.size).map(({ start, count }) => ({
      axis,
      start: own === 0 ? range.start : start - base,
      count,
      box: single,
    }));
  });
}

/**
 * A box at a place with positions [start, start + count) of `axis` on partitions; undefined where the box does not lie so: in neighbouring
 * partitions of one tile, and in no others.
 */
export function placeView(place: ChipPlace, dtype: DeviceType, axis: number, start: number, count: number, box: Box): View | undefined {
  if (count > 1 && place.channels[axis] !== 1) return undefined;
  let channel = place.channel + start * (place.channels[axis] ?? 0);
  let offset = place.element + start * (place.free[axis] ?? 0);
  const dims: Dimension[] = [];
  for (const [index, range] of box.entries()) {
    if (index === axis) continue;
    if (range.size > 1 && place.channels[index] !== 0) return undefined;
    channel += range.start * place.channels[index];
    offset += range.start * place.free[index];
    dims.push({ size: range.size, stride: range.step * place.free[index] });
  }
  const tile = Math.floor(channel / hardware.sbufPartitions);
  if (Math.floor((channel + count - 1) / hardware.sbufPartitions) !== tile) return undefined;
  return {
    buffer: place.tiles[tile],
    space: "sbuf",
    dtype,
    partitionStart: channel - tile * hardware.sbufPartitions,
    partitionCount: count,
    partitionStride: 0,
    offset,
    dims,
  };
}

/** The same, if engines can address it: on the partitions that the positions have in a place of their own, or from a quadrant on. */
export function reachableView(place: ChipPlace, dtype: DeviceType, axis: number, start: number, count: number, box: Box): View | undefined {
  const view = placeView(place, dtype, axis, start, count, box);
  const usual = start % hardware.sbufPartitions;
  return view && (view.partitionStart === usual || view.partitionStart % hardware.partitionQuadrant === 0) ? view : undefined;
}

/** Positions that lie along one axis of the input of a movement and one of its output; steps count positions of those axes. */
interface Factor {
  readonly size: number;
  readonly inAxis: number;
  readonly inStep: number;
  readonly outAxis: number;
  readonly outStep: number;
}

/** A movement that gives the elements of a part of its input, from `start` on, another order of axes, split or joined. */
export interface Rearrangement {
  readonly start: readonly number[];
  readonly factors: readonly Factor[];
}

/** The axis along which a linear stride steps; -1 if along none. */
function axisOf(stride: number, shape: readonly number[], strides: readonly number[]): number {
  return shape.findIndex((extent, axis) => extent > 1 && strides[axis] <= stride && stride < strides[axis] * extent);
}

/** The movement as a rearrangement; undefined for any other. */
export function rearrangement(movement: Movement, input: readonly number[], output: readonly number[]): Rearrangement | undefined {
  const [piece] = movement.pieces;
  if (movement.pieces.length !== 1 || movement.fill !== undefined || piece.outOffset !== 0) return undefined;
  if (elementCount(piece.sizes) !== elementCount(output)) return undefined;
  const [inStrides, outStrides] = [rowMajorStrides(input), rowMajorStrides(output)];
  const start = input.map((extent, axis) => Math.floor(piece.inOffset / inStrides[axis]) % extent);
  const factors: Factor[] = [];
  for (const [index, size] of piece.sizes.entries()) {
    let [rest, inStride, outStride] = [size, piece.inStrides[index], piece.outStrides[index]];
    while (rest > 1) {
      const [inAxis, outAxis] = [axisOf(inStride, input, inStrides), axisOf(outStride, output, outStrides)];
      if (inAxis < 0 || outAxis < 0) return undefined;
      const [inStep, outStep] = [inStride / inStrides[inAxis], outStride / outStrides[outAxis]];
      const room = start[inAxis] === 0 ? input[inAxis] / inStep : Math.ceil((input[inAxis] - start[inAxis]) / inStep);
      const part = Math.min(rest, room, output[outAxis] / outStep);
      if (![inStep, outStep, rest / part].every(Number.isInteger) || (part < rest && !Number.isInteger(part))) return undefined;
      if (part < rest && part === room && start[inAxis] !== 0) return undefined;
      factors.push({ size: part, inAxis, inStep, outAxis, outStep });
      rest /= part;
      inStride *= part;
      outStride *= part;
    }
  }
  return { start, factors };
}

/** The place of a rearrangement on the memory of its input; undefined where one of its axes would have no even stride there. */
export function rearranged(place: PlaceStrides, { start, factors }: Rearrangement, output: readonly number[]): PlaceStrides | undefined {
  const channels = output.map(() => 0);
  const free = output.map(() => 0);
  for (const axis of output.keys()) {
    const own = factors.filter((factor) => factor.outAxis === axis).sort((a, b) => a.outStep - b.outStep);
    for (const { inAxis, inStep, outStep } of own) {
      const [channel, element] = [place.channels[inAxis] * inStep, place.free[inAxis] * inStep];
      if (outStep === 1) [channels[axis], free[axis]] = [channel, element];
      else if (channel !== channels[axis] * outStep || element !== free[axis] * outStep) return undefined;
    }
  }
  const channel = start.reduce((sum, position, axis) => sum + position * place.channels[axis], place.channel);
  const element = start.reduce((sum, position, axis) => sum + position * place.free[axis], place.element);
  return { channel, element, channels, free };
}

/** The layout that a place has. */
export function layoutOf(place: PlaceStrides): Layout {
  const axes = [...place.channels.keys()].filter((axis) => place.channels[axis] !== 0);
  return axes.sort((a, b) => place.channels[b] - place.channels[a]);
}

/** The layout of the output of a rearrangement on the memory of its input; undefined if there is none. */
export function rearrangedLayout(
  layout: Layout,
  way: Rearrangement,
  input: readonly number[],
  output: readonly number[],
): Layout | undefined {
  const place = rearranged(stridesOf(input, layout), way, output);
  if (!place || innerAxis(place, output) < 0) return undefined;
  const found = layoutOf(place);
  return found.length > 0 ? found : [innerAxis(place, output)];
}

/** The axes of the input that hold what is on partitions of the output, in the output's order. */
export function sourceLayout(layout: Layout, { factors }: Rearrangement): Layout {
  const axes = layout.flatMap((axis) =>
    factors
      .filter((factor) => factor.outAxis === axis)
      .sort((a, b) => b.outStep - a.outStep)
      .map((factor) => factor.inAxis),
  );
  return [...new Set(axes)];
}
