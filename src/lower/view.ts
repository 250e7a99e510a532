/** Views: boxes of a buffer with one dimension per logical axis, turned into access patterns at the last moment. */
import { rowMajorStrides } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { type Access, type DeviceType, deviceBytes, type Space } from "../program/program.js";

export interface Dimension {
  readonly size: number;
  /** In elements; 0 repeats one element. */
  readonly stride: number;
}

/** Elements of one buffer: partitions x any number of free dimensions. */
export interface View {
  readonly buffer: string;
  readonly space: Space;
  readonly dtype: DeviceType;
  readonly partitionStart: number;
  readonly partitionCount: number;
  /** DRAM only. */
  readonly partitionStride: number;
  readonly offset: number;
  readonly dims: readonly Dimension[];
}

function access(view: View, offset: number, dims: readonly Dimension[]): Access {
  return {
    buffer: view.buffer,
    partitionStart: view.partitionStart,
    partitionCount: view.partitionCount,
    partitionStride: view.partitionStride,
    offset: view.offset + offset,
    sizes: dims.map((dim) => dim.size),
    strides: dims.map((dim) => dim.stride),
  };
}

/** Merges neighbouring dimensions that are one run in every view, and drops those of size 1. All views have the same sizes. */
function mergeDimensions(views: readonly View[]): Dimension[][] {
  const merged: Dimension[][] = views.map(() => []);
  for (let axis = 0; axis < views[0].dims.length; axis++) {
    const size = views[0].dims[axis].size;
    if (size === 1) continue;
    const last = merged[0].length - 1;
    const joins = last >= 0 && views.every((view, v) => merged[v][last].stride === view.dims[axis].stride * size);
    for (const [v, view] of views.entries()) {
      const stride = view.dims[axis].stride;
      if (joins) merged[v][last] = { size: merged[v][last].size * size, stride };
      else merged[v].push({ size, stride });
    }
  }
  for (const dims of merged) if (dims.length === 0) dims.push({ size: 1, stride: 1 });
  return merged;
}

/**
 * Calls `emit` with one access per view, as often as it takes to cover the views with at most `accessDimensions` free dimensions each.
 * `reserved` is how many trailing dimensions the caller adds itself.
 */
export function jointly(views: readonly View[], emit: (accesses: Access[]) => void, reserved = 0): void {
  for (const view of views) {
    if (view.dims.length !== views[0].dims.length || view.dims.some((dim, axis) => dim.size !== views[0].dims[axis].size)) {
      throw new Error(`views differ in shape: ${JSON.stringify(views[0].dims)} and ${JSON.stringify(view.dims)} of ${view.buffer}`);
    }
  }
  const merged = mergeDimensions(views);
  const outer = Math.max(0, merged[0].length + reserved - hardware.accessDimensions);
  const sizes = merged[0].slice(0, outer).map((dim) => dim.size);
  const index = sizes.map(() => 0);
  for (;;) {
    emit(
      views.map((view, v) => {
        const offset = index.reduce((sum, position, axis) => sum + position * merged[v][axis].stride, 0);
        return access(view, offset, merged[v].slice(outer));
      }),
    );
    let axis = outer - 1;
    while (axis >= 0 && ++index[axis] === sizes[axis]) index[axis--] = 0;
    if (axis < 0) return;
  }
}

/** The one access pattern of a view that needs no more free dimensions than one can have: a scalar operand, a stationary tile. */
export function accessOf(view: View): Access {
  const accesses: Access[] = [];
  jointly([view], ([only]) => accesses.push(only));
  if (accesses.length !== 1) throw new Error(`${view.buffer}: a view of ${accesses.length} accesses`);
  return accesses[0];
}

/** A contiguous view with these free dimensions instead of its own. */
export function withSizes(view: View, sizes: readonly number[]): View {
  const strides = rowMajorStrides(sizes);
  return { ...view, dims: sizes.map((size, axis) => ({ size, stride: strides[axis] })) };
}

/** One axis of a box: `size` positions from `start`, `step` apart. */
export interface Range {
  readonly start: number;
  readonly size: number;
  readonly step: number;
}

export type Box = readonly Range[];

/** The only position of an axis that does not count: of extent 1, or on partitions. */
export const ONE: Range = { start: 0, size: 1, step: 1 };

/** A box of the free axes, with a place for the axis on partitions (as in -1: none). */
export function withAxis(free: Box, axis: number): Box {
  return axis < 0 ? free : [...free.slice(0, axis), ONE, ...free.slice(axis)];
}

export function wholeBox(shape: readonly number[]): Box {
  return shape.map((size) => ({ start: 0, size, step: 1 }));
}

/** Cuts `extents` into boxes of at most `limit` positions each, whole inner axes first; in row-major order. */
export function* tileBoxes(extents: readonly number[], limit: number): Generator<Box> {
  const sizes = extents.map(() => 1);
  let room = limit;
  for (let axis = extents.length - 1; axis >= 0; axis--) {
    const pieces = Math.ceil(extents[axis] / Math.max(1, Math.min(extents[axis], room)));
    sizes[axis] = Math.ceil(extents[axis] / pieces);
    room = Math.floor(room / sizes[axis]);
    if (sizes[axis] < extents[axis]) room = 1;
  }
  const start = extents.map(() => 0);
  if (extents.some((extent) => extent === 0)) return;
  for (;;) {
    yield start.map((from, axis) => ({ start: from, size: Math.min(sizes[axis], extents[axis] - from), step: 1 }));
    let axis = extents.length - 1;
    while (axis >= 0) {
      start[axis] += sizes[axis];
      if (start[axis] < extents[axis]) break;
      start[axis--] = 0;
    }
    if (axis < 0) return;
  }
}

/** A part of a range of channels that lies in one tile of partitions. */
export interface ChannelTile {
  readonly start: number;
  readonly count: number;
  /** Which tile of `sbufPartitions` channels. */
  readonly tile: number;
  /** First partition in that tile. */
  readonly partition: number;
}

/** Splits channels [start, start + count) at multiples of `step` (a divisor of the number of partitions). */
export function channelTiles(start: number, count: number, step: number = hardware.sbufPartitions): ChannelTile[] {
  const tiles: ChannelTile[] = [];
  for (let from = start; from < start + count; ) {
    const to = Math.min(start + count, (Math.floor(from / step) + 1) * step);
    const tile = Math.floor(from / hardware.sbufPartitions);
    tiles.push({ start: from, count: to - from, tile, partition: from - tile * hardware.sbufPartitions });
    from = to;
  }
  return tiles;
}

/** The part of a view that a box of its free dimensions names. */
export function subView(view: View, box: Box): View {
  return {
    ...view,
    offset: view.offset + box.reduce((sum, range, axis) => sum + range.start * view.dims[axis].stride, 0),
    dims: box.map((range, axis) => ({ size: range.size, stride: range.step * view.dims[axis].stride })),
  };
}

/** Positions [start, start + count) of the axis on partitions. */
export function partitions(view: View, start: number, count: number): View {
  if (view.space !== "dram") return { ...view, partitionStart: view.partitionStart + start, partitionCount: count };
  return { ...view, offset: view.offset + start * view.partitionStride, partitionCount: count };
}

/** Whether the innermost dimension makes runs in DRAM that are too short to be worth a descriptor each. */
export function isScattered(view: View): boolean {
  const dims = view.dims.filter((dim) => dim.size > 1);
  const last = dims[dims.length - 1];
  if (view.space !== "dram" || !last) return false;
  const run = last.stride === 1 ? last.size : 1;
  return run * deviceBytes(view.dtype, "dram") < hardware.dmaDescriptorBytes && dims.reduce((product, dim) => product * dim.size, 1) > run;
}
