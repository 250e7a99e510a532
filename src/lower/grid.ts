/** Windows: how outputs of convolutions and pools see their inputs, in boxes of [n, ...spatial]. */
import { elementCount } from "../graph/tensor.js";
import type { ConvolutionGeometry } from "../operators/record.js";
import { deviceBytes } from "../program/program.js";
import type { Context } from "./context.js";
import type { Value } from "./values.js";
import { type Box, ONE, type Range, tileBoxes, type View, wholeBox, withAxis } from "./view.js";

/** A kernel position: an output at j (along each spatial axis of a grid) sees the input at j * step + offset. */
export interface Tap {
  readonly index: number;
  readonly offset: readonly number[];
}

/** Outputs that the same taps reach: all of a convolution's, or one phase of a transposed one's. Output = start + step * j. */
export interface Grid {
  readonly extent: readonly number[];
  readonly start: readonly number[];
  readonly step: readonly number[];
  readonly inputStep: readonly number[];
  readonly taps: readonly Tap[];
}

/** SBUF bytes a partition for one band of a streamed input; three or so are live at a time. */
const BAND_BYTES = 10 * 1024;
/** Every index of a box of the given extents, in row-major order. */
export function positions(extents: readonly number[]): number[][] {
  return extents.reduce<number[][]>((all, extent) => all.flatMap((head) => Array.from({ length: extent }, (_, i) => [...head, i])), [[]]);
}

export function convolutionGrid(geometry: ConvolutionGeometry, output: readonly number[], input: readonly number[]): Grid {
  const { kernel, strides, dilations, padsBegin } = geometry;
  const taps = positions(kernel).map((position, index) => ({
    index,
    offset: position.map((k, axis) => k * dilations[axis] - padsBegin[axis]),
  }));
  const grid = { extent: output, start: output.map(() => 0), step: output.map(() => 1), inputStep: strides, taps };
  return coveringFirst(grid, input);
}

/**
 * The grid with its first tap that reaches the input for every output moved to the front: a sum can start with it. The order of the taps,
 * and so of every sum, depends on the grid alone, not on how it is tiled.
 */
export function coveringFirst(grid: Grid, input: readonly number[]): Grid {
  const whole: Box = [ONE, ...wholeBox(grid.extent)];
  const covers = (tap: Tap) => tapWindow(grid, tap, whole, input)?.every((range, axis) => range.size === whole[axis].size) ?? false;
  const first = grid.taps.findIndex(covers);
  if (first <= 0) return grid;
  return { ...grid, taps: [grid.taps[first], ...grid.taps.slice(0, first), ...grid.taps.slice(first + 1)] };
}
/** The outputs j in `range` whose input j * step + offset is inside [0, extent). */
function insideRange(range: Range, step: number, offset: number, extent: number): Range {
  const first = Math.max(range.start, Math.ceil(-offset / step));
  const last = Math.min(range.start + range.size - 1, Math.floor((extent - 1 - offset) / step));
  return { start: first, size: Math.max(0, last - first + 1), step: 1 };
}

/** The products of one tap with one input tile for the outputs of `box` ([n, ...spatial]); none if the tap sees only padding. */
export function tapWindow(grid: Grid, tap: Tap, box: Box, input: readonly number[]): Box | undefined {
  const spatial = box.slice(1).map((range, axis) => insideRange(range, grid.inputStep[axis], tap.offset[axis], input[axis]));
  if (spatial.some((range) => range.size === 0)) return undefined;
  return [box[0], ...spatial];
}

/** The input's elements that a window of outputs sees through a tap. `band` is the box of the input that `view` holds. */
export function tapView(view: View, band: Box, grid: Grid, tap: Tap, window: Box): View {
  let offset = view.offset + (window[0].start - band[0].start) * view.dims[0].stride;
  const dims = [{ size: window[0].size, stride: view.dims[0].stride }];
  for (const [axis, range] of window.slice(1).entries()) {
    const { stride } = view.dims[axis + 1];
    offset += (range.start * grid.inputStep[axis] + tap.offset[axis] - band[axis + 1].start) * stride;
    dims.push({ size: range.size, stride: grid.inputStep[axis] * stride });
  }
  return { ...view, offset, dims };
}

/** The box of the input that the outputs of `box` see through all taps, cut to the input. */
export function inputBand(grid: Grid, box: Box, input: readonly number[]): Box {
  const spatial = box.slice(1).map((range, axis) => {
    const offsets = grid.taps.map((tap) => tap.offset[axis]);
    const first = Math.max(0, range.start * grid.inputStep[axis] + Math.min(...offsets));
    const last = Math.min(input[axis] - 1, (range.start + range.size - 1) * grid.inputStep[axis] + Math.max(...offsets));
    return { start: first, size: Math.max(1, last - first + 1), step: 1 };
  });
  return [box[0], ...spatial];
}

/** Bands of outputs whose input fits in `BAND_BYTES`: everything if the input is on chip. */
export function outputBands(context: Context, x: Value, grid: Grid, images: number, tiles: number): Box[] {
  const extents = [images, ...grid.extent];
  const whole: Box = extents.map((size) => ({ start: 0, size, step: 1 }));
  if (context.values.isOnChip(x, 1) || grid.taps.length === 0) return [whole];
  const input = x.shape.slice(2);
  let outputs = elementCount(extents);
  const bytes = (box: Box) =>
    inputBand(grid, box, input).reduce((product, range) => product * range.size, tiles * deviceBytes(x.dtype, "sbuf"));
  for (;;) {
    const boxes = [...tileBoxes(extents, outputs)];
    if (outputs === 1 || boxes.every((box) => bytes(box) <= BAND_BYTES)) return boxes;
    outputs = Math.max(1, Math.floor(outputs / 2));
  }
}

/** Maps a box of a grid ([n, ...spatial]) to a box of the output ([n, channels, ...spatial]; the channel range is ignored). */
export function outputBox(grid: Grid, box: Box): Box {
  const spatial = box.slice(1).map((range, axis) => ({
    start: grid.start[axis] + range.start * grid.step[axis],
    size: range.size,
    step: grid.step[axis],
  }));
  return [box[0], ONE, ...spatial];
}

/** A box of [n, ...spatial] with a place for the channel axis. */
export function withChannels(box: Box): Box {
  return withAxis(box, 1);
}
