/** Data movement as strided boxes: building, joining and simplifying pieces. */
import { elementCount, rowMajorStrides } from "../graph/tensor.js";
import type { Movement, MovementPiece } from "./record.js";

/**
 * Part of an output axis: index `outStart + sum i_d outStep_d` reads input index `inStart + sum i_d inStep_d`, for i_d < size_d,
 * outermost first. Elements of an axis that no run covers keep the fill value.
 */
export interface Run {
  readonly outStart: number;
  readonly inStart: number;
  readonly steps: readonly { readonly size: number; readonly inStep: number; readonly outStep: number }[];
}

/** How one output axis is made from the same input axis. */
export type AxisMap = readonly Run[];

/** Most pieces that a movement may have: beyond it, the operator is left to the CPU. */
export const MOST_PIECES = 4096;
/** Longest axis whose map is made index by index. */
export const LONGEST_LISTED_AXIS = 1 << 20;

/** `size` output elements from `outStart` on, reading from `inStart` with a step. */
export function run(size: number, inStart = 0, inStep = 1, outStart = 0): Run {
  return { outStart, inStart, steps: [{ size, inStep, outStep: 1 }] };
}

/** The whole axis `count` times in a row. */
export function repeated(size: number, count: number): Run {
  return {
    outStart: 0,
    inStart: 0,
    steps: [
      { size: count, inStep: 0, outStep: size },
      { size, inStep: 1, outStep: 1 },
    ],
  };
}

const LONGEST_PERIOD = 16;

/** How often the block of `period` indices at `start` repeats, each time further by the same amount. Gaps (-1) end it. */
function repetitions(indices: readonly number[], start: number, period: number): number {
  for (let offset = 0; offset < period; offset++) if ((indices[start + offset] ?? -1) < 0) return 0;
  const shift = (indices[start + period] ?? -1) - indices[start];
  let end = start + period;
  while (end < indices.length && indices[end] >= 0 && indices[end] - indices[end - period] === shift) end++;
  return Math.floor((end - start) / period);
}

function lengthOfLine(indices: readonly number[], start: number): number {
  return repetitions(indices, start, 1);
}

/**
 * The runs of a map that is listed index by index (-1: fill). At each place it takes the period whose blocks cover most elements
 * a run: a straight line, repeated lines (an integer upscale, a tile), or one run a phase (a rational scale).
 */
export function compress(indices: readonly number[]): AxisMap {
  const runs: Run[] = [];
  for (let start = 0; start < indices.length; ) {
    if (indices[start] < 0) {
      start++;
      continue;
    }
    const line = lengthOfLine(indices, start);
    let best = { period: 1, count: line, pieces: 1 };
    for (const period of [...Array.from({ length: LONGEST_PERIOD - 1 }, (_, index) => index + 2), line]) {
      const count = repetitions(indices, start, period);
      const pieces = period <= line ? 1 : period;
      if (count >= 2 && (count * period) / pieces > (best.count * best.period) / best.pieces) best = { period, count, pieces };
    }
    const { period, count, pieces } = best;
    const outer = { size: count, inStep: count > 1 ? indices[start + period] - indices[start] : 0, outStep: period };
    if (pieces === 1) {
      const inner = { size: period, inStep: period > 1 ? indices[start + 1] - indices[start] : 0, outStep: 1 };
      runs.push({ outStart: start, inStart: indices[start], steps: [outer, inner] });
    } else {
      for (let phase = 0; phase < period; phase++) {
        runs.push({ outStart: start + phase, inStart: indices[start + phase], steps: [outer] });
      }
    }
    start += count * period;
  }
  return runs;
}

export function pieceCount(maps: readonly AxisMap[]): number {
  return elementCount(maps.map((map) => map.length));
}

/** The pieces of an output whose every axis is made from the same axis of `input` by its own map. */
export function separable(
  input: number,
  inShape: readonly number[],
  outShape: readonly number[],
  maps: readonly AxisMap[],
): MovementPiece[] {
  const [inStrides, outStrides] = [rowMajorStrides(inShape), rowMajorStrides(outShape)];
  let pieces: MovementPiece[] = [{ input, inOffset: 0, inStrides: [], outOffset: 0, outStrides: [], sizes: [] }];
  for (const [axis, map] of maps.entries()) {
    pieces = pieces.flatMap((piece) =>
      map.map((part) => ({
        input,
        inOffset: piece.inOffset + part.inStart * inStrides[axis],
        inStrides: [...piece.inStrides, ...part.steps.map((step) => step.inStep * inStrides[axis])],
        outOffset: piece.outOffset + part.outStart * outStrides[axis],
        outStrides: [...piece.outStrides, ...part.steps.map((step) => step.outStep * outStrides[axis])],
        sizes: [...piece.sizes, ...part.steps.map((step) => step.size)],
      })),
    );
  }
  return pieces.filter((piece) => !piece.sizes.includes(0)).map(simplifyPiece);
}

/** The input, of `shape`, with axis i of the result taken from axis `permutation[i]`. */
export function transposed(input: number, shape: readonly number[], permutation: readonly number[]): MovementPiece {
  const strides = rowMajorStrides(shape);
  const sizes = permutation.map((axis) => shape[axis]);
  const inStrides = permutation.map((axis) => strides[axis]);
  return simplifyPiece({ input, inOffset: 0, inStrides, outOffset: 0, outStrides: rowMajorStrides(sizes), sizes });
}

/** `count` elements in their order. */
export function contiguous(input: number, count: number, inOffset = 0): MovementPiece {
  return { input, inOffset, inStrides: [1], outOffset: 0, outStrides: [1], sizes: [count] };
}

/** Drops dimensions of extent 1 and joins neighbours that both sides walk with one stride. At least one dimension stays. */
export function simplifyPiece(piece: MovementPiece): MovementPiece {
  const sizes: number[] = [];
  const inStrides: number[] = [];
  const outStrides: number[] = [];
  for (const [dimension, size] of piece.sizes.entries()) {
    if (size === 1) continue;
    const [inStride, outStride] = [piece.inStrides[dimension], piece.outStrides[dimension]];
    const last = sizes.length - 1;
    if (last >= 0 && inStrides[last] === inStride * size && outStrides[last] === outStride * size) {
      sizes[last] *= size;
      inStrides[last] = inStride;
      outStrides[last] = outStride;
    } else {
      sizes.push(size);
      inStrides.push(inStride);
      outStrides.push(outStride);
    }
  }
  if (sizes.length === 0) return { ...piece, sizes: [1], inStrides: [1], outStrides: [1] };
  return { ...piece, sizes, inStrides, outStrides };
}

/** Calls `visit` with the input and output index of each element of a piece, in row-major order of its sizes. */
export function forEachElement(piece: MovementPiece, visit: (inIndex: number, outIndex: number) => void): void {
  const { sizes, inStrides, outStrides } = piece;
  const walk = (dimension: number, inIndex: number, outIndex: number): void => {
    if (dimension === sizes.length) return visit(inIndex, outIndex);
    for (let index = 0; index < sizes[dimension]; index++) {
      walk(dimension + 1, inIndex + index * inStrides[dimension], outIndex + index * outStrides[dimension]);
    }
  };
  walk(0, piece.inOffset, piece.outOffset);
}

/** A movement's output of `count` elements from the inputs' elements in row-major order. */
export function applyMovement<Element>(movement: Movement, inputs: readonly ArrayLike<Element>[], count: number, fill: Element): Element[] {
  const output = new Array<Element>(count).fill(fill);
  for (const piece of movement.pieces) {
    const source = inputs[piece.input];
    forEachElement(piece, (inIndex, outIndex) => {
      output[outIndex] = source[inIndex];
    });
  }
  return output;
}
