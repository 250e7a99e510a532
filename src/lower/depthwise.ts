/** Depthwise convolutions: no channel meets another, so the vector engine multiplies and adds, tap by tap, in FP32. */
import type { Node } from "../graph/graph.js";
import { elementCount, floatTensor, type Tensor, toFloat32 } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { Operation } from "../program/program.js";
import { type Context, writeBox } from "./context.js";
import { type Grid, inputBand, outputBands, outputBox, type Tap, tapView, tapWindow, withChannels } from "./grid.js";
import { accessOf, type Box, type ChannelTile, channelTiles, jointly, subView, tileBoxes, type View } from "./view.js";

/** Outputs a partition that are accumulated at a time. */
const CHUNK = 2048;

/** A window of the outputs of a chunk, and the input that they see through one tap. */
export interface TapPart {
  readonly tap: number;
  readonly window: View;
  readonly input: View;
  readonly whole: boolean;
}

/** What each tap contributes to the outputs of `box`, held in `sum`, in the grid's order. */
export function tapParts(sum: View, seen: View, band: Box, grid: Grid, box: Box, spatial: readonly number[]): TapPart[] {
  return grid.taps.flatMap((tap: Tap): TapPart[] => {
    const window = tapWindow(grid, tap, box, spatial);
    if (!window) return [];
    const inBox = window.map((range, axis) => ({ ...range, start: range.start - box[axis].start }));
    const whole = inBox.every((range, axis) => range.size === box[axis].size);
    return [{ tap: tap.index, window: subView(sum, inBox), input: tapView(seen, band, grid, tap, window), whole }];
  });
}

function lowerChunk(
  context: Context,
  node: Node,
  grid: Grid,
  columns: readonly Tensor[],
  tile: ChannelTile,
  seen: View,
  band: Box,
  box: Box,
): void {
  const x = context.values.value(node.inputs[0]);
  const sum = context.values.temporary(
    "depthwise",
    "float32",
    tile.partition,
    tile.count,
    box.map((range) => range.size),
  );
  const parts = tapParts(sum, seen, band, grid, box, x.shape.slice(2));
  const emit = (operation: Operation) => context.emitter.step("vector", operation);
  if (!parts[0]?.whole) jointly([sum], ([out]) => emit({ kind: "memset", out, value: 0 }));
  for (const [index, part] of parts.entries()) {
    const scalar = accessOf(context.values.column(columns[part.tap], `${node.name}.tap${part.tap}`, tile.start, tile.count));
    jointly([part.window, part.input], ([out, input]) => {
      if (index === 0 && part.whole) emit({ kind: "tensor_scalar", out, in: input, op0: "multiply", scalar0: scalar, reverse0: false });
      else emit({ kind: "scalar_tensor_tensor", out, in0: input, in1: out, op0: "multiply", scalar, op1: "add" });
    });
  }
  writeBox(context, node, { computed: sum, bias: 2 }, 1, tile.start, tile.count, outputBox(grid, box));
}

export function lowerDepthwise(context: Context, node: Node, grid: Grid, weights: Tensor): void {
  const x = context.values.value(node.inputs[0]);
  const channels = x.shape[1];
  const taps = elementCount(weights.shape) / channels;
  const values = toFloat32(weights);
  const columns = Array.from({ length: taps }, (_, tap) =>
    floatTensor(
      [channels],
      Float32Array.from({ length: channels }, (_, channel) => values[channel * taps + tap]),
    ),
  );
  const tiles = Math.ceil(channels / hardware.sbufPartitions);
  for (const band of outputBands(context, x, grid, x.shape[0], 1)) {
    const region = inputBand(grid, band, x.shape.slice(2));
    for (const tile of channelTiles(0, x.shape[1])) {
      const seen = context.values.fetch(x, 1, tile.start, tile.count, withChannels(region));
      for (const chunk of tileBoxes(
        band.map((range) => range.size),
        CHUNK,
      )) {
        const box = chunk.map((range, axis) => ({ ...range, start: range.start + band[axis].start }));
        lowerChunk(context, node, grid, columns, tile, seen, region, box);
      }
      if (tiles > 1) context.values.forgetFetched();
    }
    context.values.forgetFetched();
  }
}
