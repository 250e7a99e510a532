/** The tiles of a convolution over one grid of outputs: for each, the sum over input tiles and taps, then the epilogue. */
import type { Node } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { ConvolutionGeometry } from "../operators/record.js";
import { accumulate, type Product, psumTile } from "./accumulate.js";
import { deviceElements } from "./constants.js";
import { type Context, writeBox } from "./context.js";
import { type Grid, inputBand, outputBands, outputBox, tapView, tapWindow, withChannels } from "./grid.js";
import type { Value } from "./values.js";
import { type Box, type ChannelTile, subView, tileBoxes, type View } from "./view.js";
import { type LoadedWeights, loadWeights, shapeOf, type WeightGroup, type WeightSource, weightGroups, weightLists } from "./weights.js";

/** The weights of a grid's taps; tap t of the source is the grid's t-th. */
export function weightSource(
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
    tensor: weights,
    dtype: x.dtype,
    data: deviceElements(weights, x.dtype),
    inputOffsets: Int32Array.from({ length: inputs }, (_, k) => inputOffset(k)),
    tapOffsets: Int32Array.from(grid.taps, (tap) => tap.index),
    outputOffsets: Int32Array.from({ length: outputs }, (_, m) => outputOffset(m)),
    groups,
  };
}

export interface Convolution {
  readonly context: Context;
  readonly node: Node;
  readonly x: Value;
  readonly grid: Grid;
  readonly source: WeightSource;
  /** A box of some output channels that is being gathered on chip, to be stored as a whole: where its parts go. */
  readonly gathering?: Gathering;
}

/** One tile of output channels over `box`, and the box of the input that all of its parts see. */
interface Gathering {
  readonly view: View;
  readonly box: Box;
  readonly output: ChannelTile;
  readonly seen: Box;
}

/** All output tiles of one weight group over one band. */
export function lowerGroup(convolution: Convolution, group: WeightGroup, weights: LoadedWeights, band: Box): void {
  const { context, x, grid } = convolution;
  const spatial = x.shape.slice(2);
  const seen = convolution.gathering?.seen ?? inputBand(grid, band, spatial);
  const inputs = grid.taps.length === 0 ? [] : group.inputs;
  const views = inputs.map((tile) => context.values.fetch(x, 1, tile.start, tile.count, withChannels(seen)));
  const extents = band.map((range) => range.size);
  for (const tile of tileBoxes(extents, hardware.movingColumnsMax)) {
    const box = tile.map((range, axis) => ({ ...range, start: range.start + band[axis].start }));
    for (const [index, output] of group.outputs.entries()) {
      if (convolution.gathering && convolution.gathering.output.start !== output.start) continue;
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
  const out = outputBox(grid, box);
  const into = convolution.gathering && partOf(convolution.gathering, out);
  writeBox(context, node, { computed: sum, bias: 2, ...(into && { into }) }, 1, output.start, output.count, out);
}

/** The part of a gathered box ([n, channels, ...spatial]) that a smaller one names. */
function partOf(gathering: Gathering, box: Box): View {
  const free = box.flatMap((range, axis) => (axis === 1 ? [] : [{ ...range, start: range.start - gathering.box[axis].start }]));
  return subView(gathering.view, free);
}

export function lowerGrid(convolution: Convolution): void {
  const { context, node, x, grid, source } = convolution;
  const shape = shapeOf(source);
  const bands = outputBands(context, x, grid, x.shape[0], Math.ceil(x.shape[1] / hardware.sbufPartitions));
  for (const groups of weightLists(context, source, weightGroups(shape), bands.length > 1)) {
    const loaded = groups.map((group) => loadWeights(context, node.name, source, group));
    for (const band of bands) {
      for (const [index, group] of groups.entries()) lowerGroup(convolution, group, loaded[index], band);
      if (bands.length > 1) context.values.forgetFetched();
    }
  }
}
