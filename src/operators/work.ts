/**
 * FLOP of operators that have no lowering and whose decomposition can't count for them: it may be refused, or finds by comparing what a host looks up. A
 * multiply-add is two, a function of an element one. Shapes are static.
 */
import { intAttribute, stringAttribute } from "../graph/graph.js";
import { elementCount } from "../graph/tensor.js";
import type { OperatorUse } from "./record.js";
import { constantInts, staticShape } from "./shapes.js";

/** Of operators that find or move elements: a host looks them up. */
export const noFlops = (): number => 0;

/** One for each element of the first input. */
export const elementFlops = (use: OperatorUse): number => elementCount(staticShape(use, 0));

/** By operator: gates, and what a step does for each hidden element beside the gates' preactivations and activations. */
const cells: Readonly<Record<string, { readonly gates: number; readonly state: number }>> = {
  RNN: { gates: 1, state: 0 },
  GRU: { gates: 3, state: 4 },
  LSTM: { gates: 4, state: 5 },
};

/** Products with the input and the state, their sum, the bias and the activation of each gate; then the state. */
export function recurrentFlops(use: OperatorUse): number {
  const [input, [directions, , hidden]] = [staticShape(use, 0), staticShape(use, 2)];
  const { gates, state } = cells[use.op];
  const gate = 2 * (input[2] + hidden) + 2 + Number(use.inputs[3] !== undefined);
  const peepholes = use.inputs[7] === undefined ? 0 : 6;
  return directions * input[0] * input[1] * hidden * (gates * gate + state + peepholes);
}

/** `scores` [batch, heads, queries, keys], from keys and of values of such extents: both products, the scale, the mask and the softmax (5). */
export function attentionFlops(scores: readonly number[], keyExtent: number, valueExtent: number, masked: boolean): number {
  return elementCount(scores) * (2 * keyExtent + 2 * valueExtent + 6 + Number(masked));
}

/** A comparison for each element at each level of a heap of the `k` best. */
export function topKFlops(use: OperatorUse): number {
  const [k = 1] = constantInts(use, 1) ?? [];
  return elementFlops(use) * Math.max(1, Math.ceil(Math.log2(Math.max(1, k))));
}

/** Updates that are combined with what they meet. */
export function scatterFlops(use: OperatorUse): number {
  return stringAttribute(use.attributes, "reduction", "none") === "none" ? 0 : elementCount(staticShape(use, 2));
}

/** The fast Fourier transform's 5 n log2(n), for so many transforms. */
function fourierFlops(length: number, transforms: number): number {
  return transforms * 5 * length * Math.log2(Math.max(2, length));
}

/** Of `[..., 1 or 2]`, real or complex, along one axis. */
export function dftFlops(use: OperatorUse): number {
  const shape = staticShape(use, 0);
  const [given = -2] = constantInts(use, 2) ?? [];
  const axis = given < 0 ? given + shape.length : given;
  const [length = shape[axis]] = constantInts(use, 1) ?? [];
  return fourierFlops(length, elementCount(shape.slice(0, -1)) / Math.max(1, shape[axis]));
}

/** Frames of the signal `[batch, length, 1 or 2]`; each is multiplied with the window. */
export function stftFlops(use: OperatorUse): number {
  const [batch, length] = staticShape(use, 0);
  const [step = 1] = constantInts(use, 1) ?? [];
  const [frame = use.inputs[2] ? staticShape(use, 2)[0] : length] = constantInts(use, 3) ?? [];
  const frames = batch * Math.max(0, Math.floor((length - frame) / Math.max(1, step)) + 1);
  return frames * frame + fourierFlops(frame, frames);
}

/** Elimination: 2/3 n^3 for each matrix. */
export function determinantFlops(use: OperatorUse): number {
  const shape = staticShape(use, 0);
  return (elementCount(shape.slice(0, -2)) * 2 * (shape.at(-1) ?? 1) ** 3) / 3;
}

/** Points that an interpolated value is made of along each axis. */
const taps: Readonly<Record<string, number>> = { nearest: 0, linear: 2, bilinear: 2, cubic: 4, bicubic: 4 };

/** Of each output element a weighted sum of the neighbourhood of its place. */
export function gridSampleFlops(use: OperatorUse): number {
  const [input, grid] = [staticShape(use, 0), staticShape(use, 1)];
  const along = taps[stringAttribute(use.attributes, "mode", "linear")] ?? 2;
  return 2 * along ** (input.length - 2) * elementCount([input[0], input[1], ...grid.slice(1, -1)]);
}

/** Bilinear samples, at least one a bin and axis, and their mean. */
export function roiAlignFlops(use: OperatorUse): number {
  const [channels, regions] = [staticShape(use, 0)[1], staticShape(use, 1)[0]];
  const bins = ["output_height", "output_width"].map((name) => intAttribute(use.attributes, name, 1));
  const samples = Math.max(1, intAttribute(use.attributes, "sampling_ratio", 0)) ** 2;
  return regions * channels * elementCount(bins) * samples * 9;
}

/** A convolution over samples at the places that the offsets `[batch, 2 taps, ...]` say, each interpolated between 2 ^ axes neighbours. */
export function deformedFlops(use: OperatorUse): number {
  const [input, weights, offsets] = [0, 1, 2].map((index) => staticShape(use, index));
  const [kernel, places] = [elementCount(weights.slice(2)), input[0] * elementCount(offsets.slice(2))];
  const samples = places * kernel * input[1];
  return places * weights[0] * weights[1] * kernel * 2 + samples * 2 * 2 ** (input.length - 2);
}

/** The terms that the targets pick, and the softmax (5) of the scores. */
export function lossFlops(use: OperatorUse): number {
  const targets = elementCount(staticShape(use, 1));
  return 2 * targets + (use.op === "SoftmaxCrossEntropyLoss" ? 5 * elementFlops(use) : 0);
}
