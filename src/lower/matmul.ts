/** Matrix products: the contracted axis on partitions of both operands; of the result's last two axes one on PSUM partitions. */
import type { Node } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { deviceBytes } from "../program/program.js";
import { accumulate, psumTile } from "./accumulate.js";
import { deviceElements } from "./constants.js";
import { type Context, fetchBroadcast, writeBox } from "./context.js";
import type { Value } from "./values.js";
import { type Box, type ChannelTile, channelTiles, ONE, type Range, subView, tileBoxes, type View } from "./view.js";
import {
  evenOffsets,
  groupColumns,
  type LoadedWeights,
  loadWeights,
  shapeOf,
  type WeightGroup,
  type WeightSource,
  weightGroups,
  weightLists,
} from "./weights.js";

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

/** x [..., k] by a constant [k, n], the columns of the result on partitions: the weights stand still and the rows stream. */
function columnsByWeights(context: Context, node: Node, x: Value, weights: Tensor): void {
  const axis = x.shape.length - 1;
  const rows = x.shape.slice(0, axis);
  const source = matrixSource(weights, x);
  const tiles = channelTiles(0, x.shape[axis]);
  const streamed = Math.max(1, Math.floor(BLOCK_BYTES / (tiles.length * deviceBytes(x.dtype, "sbuf"))));
  const blocks = [...tileBoxes(rows, context.values.keeps(x) ? elementCount(rows) : streamed)];
  const columnsOfGroup = (group: WeightGroup, loaded: LoadedWeights, block: Box) => {
    const inputs = tiles.map((tile) => context.values.fetch(x, axis, tile.start, tile.count, [...block, ONE]));
    for (const tile of tileBoxes(
      block.map((range) => range.size),
      hardware.movingColumnsMax,
    )) {
      const box: Box = [...tile.map((range, index) => ({ ...range, start: range.start + block[index].start })), ONE];
      const window = tile.map((range) => ({ ...range, start: 0 }));
      for (const [index, output] of group.outputs.entries()) {
        const sum = psumTile(
          context,
          output.count,
          tile.map((range) => range.size),
        );
        const products = inputs.map((view, k) => ({ stationary: loaded.stationary(k, 0, index), moving: subView(view, tile), window }));
        accumulate(context, sum, products);
        writeBox(context, node, { computed: sum }, axis, output.start, output.count, box);
      }
    }
  };
  for (const groups of weightLists(context, source, weightGroups(shapeOf(source)), blocks.length > 1)) {
    const loaded = groups.map((group) => loadWeights(context, node.name, source, group));
    for (const block of blocks) {
      for (const [index, group] of groups.entries()) columnsOfGroup(group, loaded[index], block);
      if (blocks.length > 1) context.values.forgetFetched();
    }
  }
}

/** The same with an axis of rows on partitions: the rows stand still and the weights stream. */
function rowsByWeights(context: Context, node: Node, x: Value, weights: Tensor, rowAxis: number): void {
  const axis = x.shape.length - 1;
  const source = matrixSource(weights, x);
  const tiles = channelTiles(0, x.shape[axis]);
  const outer = x.shape.slice(0, axis).map((extent, index) => (index === rowAxis ? 1 : extent));
  const rowsOfGroup = (group: WeightGroup, loaded: LoadedWeights, box: Box, rows: ChannelTile) => {
    const columns = groupColumns(group);
    const window = outer.map((_, index) => (index < outer.length - 1 ? ONE : { ...columns, start: 0 }));
    const sum = psumTile(
      context,
      rows.count,
      window.map(({ size }) => size),
    );
    const products = tiles.map((tile, k) => ({
      stationary: context.values.fetch(x, axis, tile.start, tile.count, [...box, ONE]),
      moving: { ...loaded.moving(k), dims: window.map(({ size }) => ({ size, stride: size === 1 ? 0 : 1 })) },
      window,
    }));
    accumulate(context, sum, products);
    writeBox(context, node, { computed: sum }, rowAxis, rows.start, rows.count, [...box, columns]);
  };
  const streams = !context.values.keeps(x);
  const columnsMax = Math.min(hardware.movingColumnsMax, context.pieceElements);
  for (const groups of weightLists(context, source, weightGroups(shapeOf(source), columnsMax), streams)) {
    const loaded = groups.map((group) => loadWeights(context, node.name, source, group));
    for (const position of tileBoxes(outer, 1)) {
      for (const rows of channelTiles(0, x.shape[rowAxis], hardware.tensorColumns)) {
        const range: Range = { start: rows.start, size: rows.count, step: 1 };
        const box = position.map((single, index) => (index === rowAxis ? range : single));
        for (const [index, group] of groups.entries()) rowsOfGroup(group, loaded[index], box, rows);
        if (streams) context.values.forgetFetched();
      }
    }
  }
}

/** One operand of a batched product, its contracted axis on partitions, for some matrices of the batch. */
function operandOf(context: Context, value: Value, axis: number, tile: ChannelTile, batch: Box, matrix: Box): (single: Box) => View {
  if (context.values.keeps(value)) return (single) => fetchBroadcast(context, value, axis, tile.start, tile.count, [...single, ...matrix]);
  const whole = fetchBroadcast(context, value, axis, tile.start, tile.count, [...batch, ...matrix]);
  const last = whole.dims[whole.dims.length - 1];
  return (single) =>
    subView(whole, [
      ...single.map((range, index) => ({ ...range, start: range.start - batch[index].start })),
      { start: 0, size: last.size, step: 1 },
    ]);
}

/** Boxes of matrices of the batch whose products share a PSUM tile: `limit` at most, and one position of the axes that lie on partitions. */
function batchBoxes(out: Value, limit: number): Box[] {
  const batch = out.shape.slice(0, -2);
  const isSingle = (axis: number) => out.layout.includes(axis);
  const alone = [
    ...tileBoxes(
      batch.map((extent, axis) => (isSingle(axis) ? extent : 1)),
      1,
    ),
  ];
  const together = [
    ...tileBoxes(
      batch.map((extent, axis) => (isSingle(axis) ? 1 : extent)),
      limit,
    ),
  ];
  return together.flatMap((box) => alone.map((single) => box.map((range, axis) => (isSingle(axis) ? single[axis] : range))));
}

/** Both operands computed at run time (or batched). The axis of each matrix that lies on partitions in the result stands still, the other streams. */
function lowerBatched(context: Context, node: Node, a: Value, b: Value, out: Value): void {
  const [rows, columns] = [out.shape.length - 2, out.shape.length - 1];
  const byRows = out.axis === rows;
  const [still, streaming] = byRows ? [rows, columns] : [columns, rows];
  const inner = a.shape[a.shape.length - 1];
  const limit = Math.max(1, Math.floor(hardware.movingColumnsMax / out.shape[streaming]));
  for (const batch of batchBoxes(out, limit)) {
    const sizes = batch.map((range) => range.size);
    for (const { start, count } of channelTiles(0, out.shape[still], hardware.tensorColumns)) {
      for (const [range] of tileBoxes([out.shape[streaming]], hardware.movingColumnsMax)) {
        const fixed: Range = { start, size: count, step: 1 };
        const [rowRange, columnRange] = byRows ? [fixed, range] : [range, fixed];
        const operands = channelTiles(0, inner).map((tile) => ({
          left: operandOf(context, a, columns, tile, batch, [rowRange, ONE]),
          right: operandOf(context, b, rows, tile, batch, [ONE, columnRange]),
        }));
        const sum = psumTile(context, count, [...sizes, range.size]);
        for (const position of tileBoxes(sizes, 1)) {
          const single = position.map((each, axis) => ({ ...each, start: each.start + batch[axis].start }));
          const window = [...position.map(() => ONE), { ...range, start: 0 }];
          const products = operands.map(({ left, right }) => {
            const [stationary, moving] = byRows ? [left(single), right(single)] : [right(single), left(single)];
            return { stationary, moving, window };
          });
          accumulate(context, subView(sum, [...position, { ...range, start: 0 }]), products);
        }
        const box = byRows ? [...batch, ONE, range] : [...batch, range, ONE];
        writeBox(context, node, { computed: sum }, still, start, count, box);
      }
    }
    context.values.forgetFetched();
  }
}

/** inputs a [..., m, k], b [..., k, n]; both of rank 2 or more. */
export function lowerMatmul(context: Context, node: Node): void {
  const a = context.values.value(node.inputs[0]);
  const b = context.values.value(node.inputs[1]);
  const out = context.values.value(node.outputs[0]);
  if (!b.constant || b.shape.length !== 2) lowerBatched(context, node, a, b, out);
  else if (out.axis < out.shape.length - 1) rowsByWeights(context, node, a, b.constant, out.axis);
  else columnsByWeights(context, node, a, b.constant);
}
