/** Pooling, tap by tap on the vector engine: each kernel position meets the outputs whose window has it inside the input. */
import type { Node } from "../graph/graph.js";
import { multiply, operand } from "../operators/expression.js";
import type { Lowering, PoolGeometry } from "../operators/record.js";
import type { Operation } from "../program/program.js";
import { type Context, mainUse, writeBox } from "./context.js";
import { type TapPart, tapParts } from "./depthwise.js";
import { convolutionGrid, type Grid, inputBand, outputBands, outputBox, positions, withChannels } from "./grid.js";
import { type Box, type ChannelTile, channelTiles, jointly, type Range, subView, tileBoxes, type View } from "./view.js";

/** Outputs a partition at a time. */
const CHUNK = 2048;

interface Pooling {
  readonly context: Context;
  readonly node: Node;
  readonly grid: Grid;
  readonly geometry: PoolGeometry;
  readonly op: "maximum" | "average";
}

function emitParts(pooling: Pooling, sum: View, parts: readonly TapPart[]): void {
  const { context, op } = pooling;
  const emit = (operation: Operation) => context.emitter.step("vector", operation);
  const started = parts[0]?.whole ?? false;
  if (!started) jointly([sum], ([out]) => emit({ kind: "memset", out, value: op === "maximum" ? Number.NEGATIVE_INFINITY : 0 }));
  for (const [index, part] of parts.entries()) {
    jointly([part.window, part.input], ([out, input]) => {
      if (index === 0 && started) emit({ kind: "copy", out, in: input });
      else emit({ kind: "tensor_tensor", out, in0: out, in1: input, op: op === "maximum" ? "maximum" : "add" });
    });
  }
}

/** Runs of outputs along one axis that average over the same number of inputs. */
function countRuns(geometry: PoolGeometry, axis: number, range: Range, extent: number): { range: Range; count: number }[] {
  const { kernel, strides, dilations, padsBegin, padsGiven, countIncludePad } = geometry;
  const low = countIncludePad ? -padsBegin[axis] : 0;
  const high = countIncludePad ? extent + padsGiven[axis] : extent;
  const runs: { range: Range; count: number }[] = [];
  for (let j = range.start; j < range.start + range.size; j++) {
    let count = 0;
    for (let k = 0; k < kernel[axis]; k++) {
      const position = j * strides[axis] + k * dilations[axis] - padsBegin[axis];
      if (position >= low && position < high) count++;
    }
    const last = runs[runs.length - 1];
    if (last?.count === count) runs[runs.length - 1] = { count, range: { ...last.range, size: last.range.size + 1 } };
    else runs.push({ count, range: { start: j, size: 1, step: 1 } });
  }
  return runs;
}

/** Divides sums by their counts where these differ over the box; returns the common factor that is left to apply. */
function applyCounts(pooling: Pooling, sum: View, box: Box, spatial: readonly number[]): number {
  const runs = box.slice(1).map((range, axis) => countRuns(pooling.geometry, axis, range, spatial[axis]));
  const factor = (index: readonly number[]) => 1 / index.reduce((product, run, axis) => product * runs[axis][run].count, 1);
  const regions = positions(runs.map((list) => list.length));
  if (regions.length === 1) return Math.fround(factor(regions[0]));
  for (const index of regions) {
    const window = index.map((run, axis) => ({ ...runs[axis][run].range, start: runs[axis][run].range.start - box[axis + 1].start }));
    const part = subView(sum, [{ start: 0, size: box[0].size, step: 1 }, ...window]);
    jointly([part], ([out]) =>
      pooling.context.emitter.step("vector", {
        kind: "tensor_scalar",
        out,
        in: out,
        op0: "multiply",
        scalar0: Math.fround(factor(index)),
        reverse0: false,
      }),
    );
  }
  return 1;
}

function lowerChunk(pooling: Pooling, tile: ChannelTile, seen: View, region: Box, box: Box): void {
  const { context, node, grid, op } = pooling;
  const x = context.values.value(node.inputs[0]);
  const spatial = x.shape.slice(2);
  if (op === "maximum" && !node.epilogue?.length) {
    const target = context.values.target(context.values.value(node.outputs[0]), 1, tile.start, tile.count, outputBox(grid, box));
    emitParts(pooling, target.view, tapParts(target.view, seen, region, grid, box, spatial));
    target.commit();
    return;
  }
  const dtype = op === "maximum" ? x.dtype : "float32";
  const sum = context.values.temporary(
    "pool",
    dtype,
    tile.partition,
    tile.count,
    box.map((range) => range.size),
  );
  emitParts(pooling, sum, tapParts(sum, seen, region, grid, box, spatial));
  const factor = op === "average" ? applyCounts(pooling, sum, box, spatial) : 1;
  const main = factor === 1 ? operand(null) : multiply(operand(null), factor);
  writeBox(context, node, { computed: sum, main }, 1, tile.start, tile.count, outputBox(grid, box));
}

export function lowerPool(context: Context, node: Node, lowering: Extract<Lowering, { kind: "pool" }>): void {
  const geometry = lowering.geometry(mainUse(context, node));
  const x = context.values.value(node.inputs[0]);
  const out = context.values.value(node.outputs[0]);
  const grid = convolutionGrid({ ...geometry, groups: 1 }, out.shape.slice(2), x.shape.slice(2));
  const pooling: Pooling = { context, node, grid, geometry, op: lowering.op };
  for (const tile of channelTiles(0, x.shape[1])) {
    for (const band of outputBands(context, x, grid, x.shape[0], 1)) {
      const region = inputBand(grid, band, x.shape.slice(2));
      const seen = context.values.fetch(x, 1, tile.start, tile.count, withChannels(region));
      for (const chunk of tileBoxes(
        band.map((range) => range.size),
        CHUNK,
      )) {
        const box = chunk.map((range, axis) => ({ ...range, start: range.start + band[axis].start }));
        lowerChunk(pooling, tile, seen, region, box);
      }
      context.values.forgetFetched();
    }
  }
}
