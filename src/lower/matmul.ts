/** Matrix products: the contracted axis on partitions of both operands, the result's last axis on PSUM partitions. */
import type { Node } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { deviceBytes } from "../program/program.js";
import { accumulate, psumTile } from "./accumulate.js";
import { deviceElements } from "./constants.js";
import { type Context, fetchBroadcast, writeBox } from "./context.js";
import type { Value } from "./values.js";
import { type Box, channelTiles, ONE, tileBoxes } from "./view.js";
import { evenOffsets, loadWeights, shapeOf, type WeightSource, weightGroups } from "./weights.js";

/** SBUF bytes a partition for a block of streamed rows. */
const BLOCK_BYTES = 10 * 1024;

function matrixSource(weights: Tensor, x: Value): WeightSource {
  const [inputs, outputs] = weights.shape;
  return {
    tensor: weights,
    dtype: x.dtype,
    data: deviceElements(weights, x.dtype),
    inputOffsets: evenOffsets(inputs, outputs),
    tapOffsets: evenOffsets(1, 0),
    outputOffsets: evenOffsets(outputs, 1),
    groups: 1,
  };
}

/** x [..., k] by a constant [k, n]. */
function lowerByWeights(context: Context, node: Node, x: Value, weights: Tensor): void {
  const axis = x.shape.length - 1;
  const rows = x.shape.slice(0, axis);
  const source = matrixSource(weights, x);
  const tiles = channelTiles(0, x.shape[axis]);
  const streamed = Math.max(1, Math.floor(BLOCK_BYTES / (tiles.length * deviceBytes(x.dtype, "sbuf"))));
  const blocks = [...tileBoxes(rows, context.values.isOnChip(x, axis) ? elementCount(rows) : streamed)];
  for (const group of weightGroups(shapeOf(source))) {
    const loaded = loadWeights(context, node.name, source, group);
    for (const block of blocks) {
      const inputs = tiles.map((tile) => context.values.fetch(x, axis, tile.start, tile.count, [...block, ONE]));
      for (const tile of tileBoxes(
        block.map((range) => range.size),
        hardware.movingColumnsMax,
      )) {
        const box: Box = [...tile.map((range, index) => ({ ...range, start: range.start + block[index].start })), ONE];
        for (const [index, output] of group.outputs.entries()) {
          const sum = psumTile(
            context,
            output.count,
            tile.map((range) => range.size),
          );
          const window = tile.map((range) => ({ ...range, start: 0 }));
          const products = inputs.map((view, k) => ({
            stationary: loaded.stationary(k, 0, index),
            moving: {
              ...view,
              offset: view.offset + tile.reduce((offset, range, d) => offset + range.start * view.dims[d].stride, 0),
              dims: tile.map((range, d) => ({ size: range.size, stride: view.dims[d].stride })),
            },
            window,
          }));
          accumulate(context, sum, products);
          writeBox(context, node, { computed: sum }, axis, output.start, output.count, box);
        }
      }
      if (blocks.length > 1) context.values.forgetFetched();
    }
  }
}

/** Both operands computed at run time (or batched): one matrix of the batch at a time. */
function lowerBatched(context: Context, node: Node, a: Value, b: Value, out: Value): void {
  const axis = out.shape.length - 1;
  const inner = a.shape[a.shape.length - 1];
  const [m, n] = out.shape.slice(-2);
  for (const batch of tileBoxes(out.shape.slice(0, -2), 1)) {
    for (const output of channelTiles(0, n, hardware.tensorColumns)) {
      const columns = { start: output.start, size: output.count, step: 1 };
      for (const [rows] of tileBoxes([m], hardware.movingColumnsMax)) {
        const sum = psumTile(context, output.count, [...batch.map(() => 1), rows.size]);
        const products = channelTiles(0, inner).map((tile) => ({
          stationary: fetchBroadcast(context, b, axis - 1, tile.start, tile.count, [...batch, ONE, columns]),
          moving: fetchBroadcast(context, a, axis, tile.start, tile.count, [...batch, rows, ONE]),
          window: [...batch.map(() => ONE), { ...rows, start: 0 }],
        }));
        accumulate(context, sum, products);
        writeBox(context, node, { computed: sum }, axis, output.start, output.count, [...batch, rows, ONE]);
      }
    }
    context.values.forgetFetched();
  }
}

/** inputs a [..., m, k], b [..., k, n]; both of rank 2 or more. */
export function lowerMatmul(context: Context, node: Node): void {
  const a = context.values.value(node.inputs[0]);
  const b = context.values.value(node.inputs[1]);
  if (b.constant && b.shape.length === 2) lowerByWeights(context, node, a, b.constant);
  else lowerBatched(context, node, a, b, context.values.value(node.outputs[0]));
}
