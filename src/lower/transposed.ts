/** Transposed convolutions: for each phase of the output (position modulo the strides) a plain convolution. */
import type { Node } from "../graph/graph.js";
import { elementCount, type Tensor } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { ConvolutionGeometry } from "../operators/record.js";
import { deviceBytes } from "../program/program.js";
import type { Context } from "./context.js";
import { type Convolution, lowerGrid, lowerGroup, weightSource } from "./contraction.js";
import { coveringFirst, type Grid, inputBand, positions } from "./grid.js";
import type { Value } from "./values.js";
import { type Box, channelTiles, tileBoxes } from "./view.js";
import { loadWeights, shapeOf, weightGroups } from "./weights.js";

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
/** What a phase has of a band of steps; undefined if nothing. */
function phasePart(grid: Grid, band: Box): Box | undefined {
  const part = band.map((range, axis) =>
    axis === 0 ? range : { ...range, size: Math.min(range.size, grid.extent[axis - 1] - range.start) },
  );
  return part.every((range) => range.size > 0) ? part : undefined;
}

/** The smallest box around some. */
function hull(boxes: readonly Box[]): Box {
  return boxes[0].map((range, axis) => {
    const start = Math.min(...boxes.map((box) => box[axis].start));
    const end = Math.max(...boxes.map((box) => box[axis].start + box[axis].size));
    return { ...range, start, size: end - start };
  });
}

/** SBUF bytes a partition in which the phases of a transposed convolution meet. */
const GATHER_BYTES = 8 * 1024;

/**
 * The phases of a transposed convolution whose output goes to DRAM: each writes every stride-th element, so that they are gathered on chip,
 * a band of rows at a time, and stored in long runs.
 */
function lowerPhases(phases: readonly Convolution[], out: Value, strides: readonly number[]): void {
  const [{ context, node, x }] = phases;
  const weights = phases.map((phase) =>
    weightGroups(shapeOf(phase.source)).map((group) => ({ group, loaded: loadWeights(context, node.name, phase.source, group) })),
  );
  const steps = phases.reduce<readonly number[]>(
    (most, { grid }) => most.map((e, axis) => Math.max(e, grid.extent[axis])),
    strides.map(() => 0),
  );
  const input = x.shape.slice(2);
  const perStep = elementCount(strides) * deviceBytes(out.dtype, "sbuf");
  for (const band of tileBoxes([x.shape[0], ...steps], Math.max(1, Math.floor(GATHER_BYTES / perStep)))) {
    const box: Box = [
      band[0],
      { start: 0, size: 1, step: 1 },
      ...band.slice(1).map((range, axis) => {
        const start = range.start * strides[axis];
        return { start, size: Math.min(range.size * strides[axis], out.shape[axis + 2] - start), step: 1 };
      }),
    ];
    const parts = phases.map((phase) => phasePart(phase.grid, band));
    const bands = parts.flatMap((part, index) =>
      part && phases[index].grid.taps.length > 0 ? [inputBand(phases[index].grid, part, input)] : [],
    );
    const seen = hull(bands.length > 0 ? bands : [band]);
    for (const output of channelTiles(0, out.shape[1], hardware.tensorColumns)) {
      const target = context.values.target(out, 1, output.start, output.count, box);
      const gathering = { view: target.view, box, output, seen };
      for (const [index, phase] of phases.entries()) {
        const part = parts[index];
        const holder = weights[index].find(({ group }) => group.outputs.some((tile) => tile.start === output.start));
        if (part && holder) lowerGroup({ ...phase, gathering }, holder.group, holder.loaded, part);
      }
      target.commit();
    }
    context.values.forgetFetched();
  }
}

export function lowerTransposed(context: Context, node: Node, geometry: ConvolutionGeometry, weights: Tensor): void {
  const x = context.values.value(node.inputs[0]);
  const out = context.values.value(node.outputs[0]);
  const phases = transposedGrids(geometry, out.shape.slice(2)).map((phase): Convolution => {
    const grid = coveringFirst(phase, x.shape.slice(2));
    const source = weightSource(weights, x, geometry, grid, out.shape[1], true);
    return { context, node, x, grid, source };
  });
  context.values.prepare(out);
  if (out.chip) for (const phase of phases) lowerGrid(phase);
  else lowerPhases(phases, out, geometry.strides);
}
