/** Convolutions, plain and transposed, as sums over taps of matmuls on shifted windows of the input. */
import type { Node } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { ConvolutionGeometry, Lowering } from "../operators/record.js";
import { deviceBytes } from "../program/program.js";
import { accumulate, type Product, psumTile } from "./accumulate.js";
import { deviceElements } from "./constants.js";
import { type Context, mainUse, writeBox } from "./context.js";
import { lowerDepthwise } from "./depthwise.js";
import { lowerPackedConvolution, packsRows } from "./packed.js";
import type { Value } from "./values.js";
import { type Box, type ChannelTile, type Range, tileBoxes, type View } from "./view.js";
import { loadWeights, type WeightGroup, type WeightSource, weightBytes, weightGroups } from "./weights.js";

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
/** SBUF bytes a partition up to which a layer's weights are held while its input streams past. */
const HELD_WEIGHT_BYTES = 40 * 1024;

/** Every index of a box of the given extents, in row-major order. */
export function positions(extents: readonly number[]): number[][] {
  return extents.reduce<number[][]>((all, extent) => all.flatMap((head) => Array.from({ length: extent }, (_, i) => [...head, i])), [[]]);
}

export function convolutionGrid(geometry: ConvolutionGeometry, output: readonly number[]): Grid {
  const { kernel, strides, dilations, padsBegin } = geometry;
  return {
    extent: output,
    start: output.map(() => 0),
    step: output.map(() => 1),
    inputStep: strides,
    taps: positions(kernel).map((position, index) => ({ index, offset: position.map((k, axis) => k * dilations[axis] - padsBegin[axis]) })),
  };
}

/** A transposed convolution adds input i * weight k to output i * stride + k * dilation - pad: for each phase of the output a plain one. */
function transposedGrids(geometry: ConvolutionGeometry, output: readonly number[]): Grid[] {
  const { kernel, strides, dilations, padsBegin } = geometry;
  return positions(strides).map((phase) => ({
    extent: output.map((size, axis) => Math.ceil((size - phase[axis]) / strides[axis])),
    start: phase,
    step: strides,
    inputStep: output.map(() => 1),
    taps: positions(kernel).flatMap((position, index) => {
      const distance = position.map((k, axis) => phase[axis] + padsBegin[axis] - k * dilations[axis]);
      if (distance.some((d, axis) => d % strides[axis] !== 0)) return [];
      return [{ index, offset: distance.map((d, axis) => d / strides[axis]) }];
    }),
  }));
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
  return [box[0], { start: 0, size: 1, step: 1 }, ...spatial];
}

/** A box of [n, ...spatial] with a place for the channel axis. */
export function withChannels(box: Box): Box {
  return [box[0], { start: 0, size: 1, step: 1 }, ...box.slice(1)];
}

/** The weights of a grid's taps; tap t of the source is the grid's t-th. */
function weightSource(
  weights: Tensor,
  x: Value,
  geometry: ConvolutionGeometry,
  grid: Grid,
  outputs: number,
  transposed: boolean,
): WeightSource {
  const { groups } = geometry;
  const kernel = elementCount(geometry.kernel);
  const inputs = x.shape[1];
  const [inputsPerGroup, outputsPerGroup] = [inputs / groups, outputs / groups];
  const inputOffset = (k: number) => (transposed ? k * outputsPerGroup : k % inputsPerGroup) * kernel;
  const outputOffset = (m: number) => (transposed ? m % outputsPerGroup : m * inputsPerGroup) * kernel;
  return {
    dtype: x.dtype,
    data: deviceElements(weights, x.dtype),
    inputOffsets: Int32Array.from({ length: inputs }, (_, k) => inputOffset(k)),
    tapOffsets: Int32Array.from(grid.taps, (tap) => tap.index),
    outputOffsets: Int32Array.from({ length: outputs }, (_, m) => outputOffset(m)),
    groups,
  };
}

interface Convolution {
  readonly context: Context;
  readonly node: Node;
  readonly x: Value;
  readonly grid: Grid;
  readonly source: WeightSource;
}

/** All output tiles of one weight group over one band. */
function lowerGroup(convolution: Convolution, group: WeightGroup, weights: ReturnType<typeof loadWeights>, band: Box): void {
  const { context, x, grid } = convolution;
  const spatial = x.shape.slice(2);
  const seen = inputBand(grid, band, spatial);
  const inputs = grid.taps.length === 0 ? [] : group.inputs;
  const views = inputs.map((tile) => context.values.fetch(x, 1, tile.start, tile.count, withChannels(seen)));
  const extents = band.map((range) => range.size);
  for (const tile of tileBoxes(extents, hardware.movingColumnsMax)) {
    const box = tile.map((range, axis) => ({ ...range, start: range.start + band[axis].start }));
    for (const [index, output] of group.outputs.entries()) {
      const products: Product[] = [];
      for (const [k, view] of views.entries()) {
        for (const [t, tap] of grid.taps.entries()) {
          const window = tapWindow(grid, tap, box, spatial);
          if (!window) continue;
          products.push({
            stationary: weights.stationary(k, t, index),
            moving: tapView(view, seen, grid, tap, window),
            window: window.map((range, axis) => ({ ...range, start: range.start - box[axis].start })),
          });
        }
      }
      finishTile(convolution, output, box, products);
    }
  }
}

function finishTile(convolution: Convolution, output: ChannelTile, box: Box, products: readonly Product[]): void {
  const { context, node, grid } = convolution;
  const sum = psumTile(
    context,
    output.count,
    box.map((range) => range.size),
  );
  accumulate(context, sum, products);
  writeBox(context, node, { computed: sum, bias: 2 }, 1, output.start, output.count, outputBox(grid, box));
}

function lowerGrid(convolution: Convolution): void {
  const { context, node, x, grid, source } = convolution;
  const groups = weightGroups(source);
  const bands = outputBands(context, x, grid, x.shape[0], Math.ceil(x.shape[1] / hardware.sbufPartitions));
  const hold = bands.length > 1 && (context.resident.has(node.name) || weightBytes(source, groups) <= HELD_WEIGHT_BYTES);
  const load = (group: WeightGroup) => loadWeights(context, node.name, source, group);
  if (!hold) {
    for (const group of groups) {
      const weights = load(group);
      for (const band of bands) {
        lowerGroup(convolution, group, weights, band);
        if (bands.length > 1) context.values.startNode(node.name);
      }
    }
    return;
  }
  const held = groups.map(load);
  for (const band of bands) {
    for (const [index, group] of groups.entries()) lowerGroup(convolution, group, held[index], band);
    context.values.startNode(node.name);
  }
}

export function lowerConvolution(context: Context, node: Node, lowering: Extract<Lowering, { kind: "convolution" }>): void {
  const geometry = lowering.geometry(mainUse(context, node));
  const x = context.values.value(node.inputs[0]);
  const out = context.values.value(node.outputs[0]);
  const weights = context.graph.constants.get(node.inputs[1]);
  if (!weights) throw new Error(`${node.name}: weights are not constant`);
  const outputs = out.shape[1];
  const spatial = out.shape.slice(2);
  if (lowering.transposed) {
    for (const grid of transposedGrids(geometry, spatial)) {
      const source = weightSource(weights, x, geometry, grid, outputs, true);
      lowerGrid({ context, node, x, grid, source });
    }
    return;
  }
  const grid = convolutionGrid(geometry, spatial);
  if (geometry.groups === x.shape[1] && outputs === x.shape[1]) return lowerDepthwise(context, node, grid, weights);
  if (packsRows(geometry, x.shape) && !context.values.isOnChip(x, 1)) return lowerPackedConvolution(context, node, geometry, grid, weights);
  lowerGrid({ context, node, x, grid, source: weightSource(weights, x, geometry, grid, outputs, false) });
}
