/** First layers: few input channels would leave most rows of the tensor engine idle, so rows of the kernel go on partitions too. */
import type { Node } from "../graph/graph.js";
import type { Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { packsKernelRows } from "../operators/convolution.js";
import type { ConvolutionGeometry } from "../operators/record.js";
import { accumulate, psumTile } from "./accumulate.js";
import { deviceElements } from "./constants.js";
import { type Context, writeBox } from "./context.js";
import type { Grid } from "./grid.js";
import { straightenRows } from "./staged.js";
import type { Value } from "./values.js";
import { type Box, jointly, subView, tileBoxes, type View } from "./view.js";
import { evenOffsets, loadWeights, shapeOf, type WeightSource, weightGroups } from "./weights.js";

/** Elements a partition of one packed band. */
const BAND_ELEMENTS = 4096;

/** Whether a convolution over an input in DRAM packs kernel rows and channels on partitions. */
export function packsRows({ groups, kernel }: ConvolutionGeometry, input: readonly number[]): boolean {
  return groups === 1 && packsKernelRows(kernel, input[1]);
}

/** Weights with input row i * channels + c for kernel row i, channel c; the taps are the kernel's columns. */
function packedSource(weights: Tensor, x: Value, geometry: ConvolutionGeometry, outputs: number): WeightSource {
  const [rows, columns] = geometry.kernel;
  const channels = x.shape[1];
  return {
    tensor: weights,
    dtype: x.dtype,
    data: deviceElements(weights, x.dtype),
    inputOffsets: Int32Array.from({ length: rows * channels }, (_, k) => ((k % channels) * rows + Math.floor(k / channels)) * columns),
    tapOffsets: evenOffsets(columns, 1),
    outputOffsets: evenOffsets(outputs, channels * rows * columns),
    groups: 1,
  };
}

/** The input rows of one band, [kernel row x channel partitions][output rows][padded columns]. */
function loadBand(context: Context, x: Value, geometry: ConvolutionGeometry, box: Box): View {
  const [image, rows] = box;
  const [height, width] = x.shape.slice(2);
  const channels = x.shape[1];
  const [padTop, padLeft] = geometry.padsBegin;
  const columns = width + padLeft + geometry.padsEnd[1];
  const band = context.values.temporary("packed", x.dtype, 0, geometry.kernel[0] * channels, [image.size, rows.size, columns]);
  jointly([band], ([out]) => context.emitter.step("vector", { kind: "memset", out, value: 0 }));
  for (let k = 0; k < geometry.kernel[0]; k++) {
    const offset = k * geometry.dilations[0] - padTop;
    const first = Math.max(rows.start, Math.ceil(-offset / geometry.strides[0]));
    const last = Math.min(rows.start + rows.size - 1, Math.floor((height - 1 - offset) / geometry.strides[0]));
    if (last < first) continue;
    const size = last - first + 1;
    const whole = { start: 0, size: width, step: 1 };
    const source = { start: first * geometry.strides[0] + offset, size, step: geometry.strides[0] };
    const from = context.values.dramView(x, 1, 0, channels, [image, { start: 0, size: 1, step: 1 }, source, whole]);
    const to = subView(band, [
      { start: 0, size: image.size, step: 1 },
      { start: first - rows.start, size, step: 1 },
      { ...whole, start: padLeft },
    ]);
    context.values.move(from, { ...to, partitionStart: k * channels, partitionCount: channels });
  }
  return band;
}

export function lowerPackedConvolution(context: Context, node: Node, geometry: ConvolutionGeometry, grid: Grid, weights: Tensor): void {
  const x = context.values.value(node.inputs[0]);
  const out = context.values.value(node.outputs[0]);
  const source = packedSource(weights, x, geometry, out.shape[1]);
  const groups = weightGroups(shapeOf(source));
  const loaded = groups.map((group) => loadWeights(context, node.name, source, group));
  straightenRows(context, x);
  const columns = x.shape[3] + geometry.padsBegin[1] + geometry.padsEnd[1];
  const rowsPerBand = Math.max(1, Math.floor(BAND_ELEMENTS / columns));
  for (const rows of tileBoxes([x.shape[0], grid.extent[0]], rowsPerBand)) {
    const band = loadBand(context, x, geometry, rows);
    const extents = [rows[0].size, rows[1].size, grid.extent[1]];
    for (const tile of tileBoxes(extents, hardware.movingColumnsMax)) {
      for (const [g, group] of groups.entries()) {
        for (const [index, output] of group.outputs.entries()) {
          const sum = psumTile(
            context,
            output.count,
            tile.map((range) => range.size),
          );
          const window = tile.map((range) => ({ ...range, start: 0 }));
          const products = Array.from({ length: geometry.kernel[1] }, (_, tap) => {
            const column = {
              start: tile[2].start * geometry.strides[1] + tap * geometry.dilations[1],
              size: tile[2].size,
              step: geometry.strides[1],
            };
            return { stationary: loaded[g].stationary(0, tap, index), moving: subView(band, [tile[0], tile[1], column]), window };
          });
          accumulate(context, sum, products);
          const shift = (axis: number, by: number) => ({ ...tile[axis], start: tile[axis].start + by });
          const box: Box = [shift(0, rows[0].start), { start: 0, size: 1, step: 1 }, shift(1, rows[1].start), tile[2]];
          writeBox(context, node, { computed: sum, bias: 2 }, 1, output.start, output.count, box);
        }
      }
    }
  }
}
