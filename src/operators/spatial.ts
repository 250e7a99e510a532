/** Operators on spatial axes without instructions of their own: contractions by weights that are computed, and what only rearranges. */
import { type Attributes, intAttribute, intsAttribute } from "../graph/graph.js";
import { elementCount, toNumbers } from "../graph/tensor.js";
import { type Builder, intsValue, intValue, type Rule, range, refuseExpansion } from "./builder.js";
import { convolutionGeometry, transposedGeometry } from "./convolution.js";
import { overhangs, poolGeometry } from "./pool.js";
import type { ConvolutionGeometry, OperatorUse, Reason } from "./record.js";
import { constantInts, intsOf, normalAxes, reason, staticShape } from "./shapes.js";

/** Every index of a box, in row-major order. */
function places(extents: readonly number[]): number[][] {
  return extents.reduce<number[][]>((list, size) => list.flatMap((place) => range(0, size).map((index) => [...place, index])), [[]]);
}

/** Pads the axes from `first` on; negative amounts cut. */
function padded(builder: Builder, x: string, first: number, begins: readonly number[], ends: readonly number[]): string {
  if ([...begins, ...ends].every((amount) => amount === 0)) return x;
  const none = new Array<number>(first).fill(0);
  return builder.op("Pad", [x, builder.integers([...none, ...begins, ...none, ...ends])]);
}

/** stride - 1 zeros between neighbours on each axis from `first` on. */
function dilated(builder: Builder, x: string, first: number, strides: readonly number[]): string {
  return strides.reduce((value, stride, index) => {
    if (stride === 1) return value;
    const axis = first + index;
    const shape = builder.shape(value);
    const apart = builder.reshape(value, shape.toSpliced(axis + 1, 0, 1));
    const wide = padded(
      builder,
      apart,
      axis + 1,
      [0, ...shape.slice(axis + 1).map(() => 0)],
      [stride - 1, ...shape.slice(axis + 1).map(() => 0)],
    );
    return builder.slice(builder.reshape(wide, shape.with(axis, shape[axis] * stride)), axis, 0, (shape[axis] - 1) * stride + 1);
  }, x);
}

/** The elements that a window's tap sees, for output extents `out`. */
function tapOf(builder: Builder, x: string, tap: readonly number[], geometry: ConvolutionGeometry, out: readonly number[]): string {
  const starts = tap.map((index, axis) => index * geometry.dilations[axis]);
  const ends = starts.map((start, axis) => start + (out[axis] - 1) * geometry.strides[axis] + 1);
  const axes = tap.map((_, axis) => axis + 2);
  return builder.op("Slice", [x, ...[starts, ends, axes, geometry.strides].map((list) => builder.integers(list))]);
}

interface Operands {
  readonly x: string;
  /** [out, in / groups, ...kernel], computed. */
  readonly w: string;
  readonly bias?: string;
}

/** The windows as columns of a matrix, times the weights; the bias is added where the product is still at hand, unrounded. */
function byColumns(builder: Builder, { x, w, bias }: Operands, geometry: ConvolutionGeometry, out: readonly number[]): string | Reason {
  const [batch, channels] = builder.shape(x);
  const [outputs, perGroup, ...kernel] = builder.shape(w);
  const { groups } = geometry;
  const taps = places(kernel);
  const count = elementCount(out);
  const fault = refuseExpansion("windows", batch * channels * taps.length * count);
  if (fault) return fault;
  const input = padded(builder, x, 2, geometry.padsBegin, geometry.padsEnd);
  const columns = taps.map((tap) => builder.reshape(tapOf(builder, input, tap, geometry, out), [batch, groups, perGroup, 1, count]));
  const matrix = builder.reshape(builder.concat(columns, 3), [batch, groups, perGroup * taps.length, count]);
  const rows = builder.reshape(w, [1, groups, outputs / groups, perGroup * taps.length]);
  const product = builder.op("MatMul", [rows, matrix]);
  const result = bias ? builder.op("Add", [product, builder.reshape(bias, [1, groups, outputs / groups, 1])]) : product;
  return builder.reshape(result, [batch, outputs, ...out]);
}

/** Whether the instructions for constant weights apply. */
function hasConstantWeights(use: OperatorUse): boolean {
  return use.inputs.every((type, index) => index === 0 || type === undefined || use.constants[index] !== undefined);
}

const convolution: Rule = (builder, [x, w, bias], use) => {
  if (hasConstantWeights(use) && staticShape(use, 0).length <= 5) return undefined;
  const out = builder.shape(builder.node.outputs[0]).slice(2);
  return byColumns(builder, { x, w, bias }, convolutionGeometry(use), out);
};

/** The convolution of the input, with zeros between its elements, by the weights turned over. */
const transposedConvolution: Rule = (builder, [x, w, bias], use) => {
  if (hasConstantWeights(use) && staticShape(use, 0).length <= 5) return undefined;
  const geometry = transposedGeometry(use);
  const { groups, dilations, strides } = geometry;
  const [channels, perGroup, ...kernel] = staticShape(use, 1);
  const out = builder.shape(builder.node.outputs[0]).slice(2);
  const axes = kernel.map((_, axis) => axis + 2);
  const [first, past, step] = [kernel.map(() => -1), kernel.map((size) => -size - 1), kernel.map(() => -1)];
  const turned = builder.op("Slice", [w, ...[first, past, axes, step].map((list) => builder.integers(list))]);
  const apart = builder.reshape(turned, [groups, channels / groups, perGroup, ...kernel]);
  const swapped = builder.transpose(apart, [0, 2, 1, ...kernel.map((_, axis) => axis + 3)]);
  const weights = builder.reshape(swapped, [groups * perGroup, channels / groups, ...kernel]);
  const wide = dilated(builder, x, 2, strides);
  const reach = kernel.map((size, axis) => (size - 1) * dilations[axis]);
  const padsBegin = reach.map((size, axis) => size - geometry.padsBegin[axis]);
  const padsEnd = reach.map((size, axis) => out[axis] + size - padsBegin[axis] - builder.shape(wide)[axis + 2]);
  const plain = { ...geometry, strides: strides.map(() => 1), padsBegin, padsEnd };
  return byColumns(builder, { x: wide, w: weights, bias }, plain, out);
};

/** A window is taken along one axis after the other where that compares fewer elements by this factor. */
const WORTHWHILE = 2;

/** The maximum of a large window: along one axis after the other, in the order that compares fewer elements. */
const separateMaximum: Rule = (builder, [x], use) => {
  if (use.outputCount > 1) return undefined;
  const { kernel, strides, dilations, padsBegin, padsEnd } = poolGeometry(use);
  if (padsBegin.some((pad) => pad < 0)) return undefined;
  const out = builder.shape(builder.node.outputs[0]);
  const compared = (order: readonly number[]): number => {
    const extents = [...builder.shape(x)];
    return order.reduce((sum, axis) => {
      extents[axis + 2] = out[axis + 2];
      return sum + kernel[axis] * elementCount(extents);
    }, 0);
  };
  const forwards = kernel.map((_, axis) => axis);
  const [order] = [forwards, forwards.toReversed()].sort((a, b) => compared(a) - compared(b));
  if (WORTHWHILE * compared(order) > elementCount(kernel) * elementCount(out)) return undefined;
  return order.reduce((value, axis) => {
    const along = (list: readonly number[], other: number) => list.map((each, index) => (index === axis ? each : other));
    return builder.op("MaxPool", [value], {
      kernel_shape: intsValue(along(kernel, 1)),
      strides: intsValue(along(strides, 1)),
      dilations: intsValue(along(dilations, 1)),
      pads: intsValue([...along(padsBegin, 0), ...along(padsEnd, 0)]),
    });
  }, x);
};

/** |x| to the power p, and back. */
function power(builder: Builder, x: string, p: number): string {
  if (p === 1) return builder.op("Abs", [x]);
  return p === 2 ? builder.op("Mul", [x, x]) : builder.op("Pow", [builder.op("Abs", [x]), builder.scalar(p)]);
}

function root(builder: Builder, x: string, p: number): string {
  if (p === 1) return x;
  return p === 2 ? builder.op("Sqrt", [x]) : builder.op("Pow", [x, builder.scalar(1 / p)]);
}

/** The p-norm of a window: the mean of the powers times their number, and its root. */
const normPool: Rule = (builder, [x], use) => {
  if (overhangs(use)) return reason("attribute", "ceil_mode", "1, and the last window reaches beyond the border", "ceil_mode 0");
  const p = intAttribute(use.attributes, "p", 2);
  const { p: _, ...window } = use.attributes;
  const attributes: Attributes = { ...window, count_include_pad: intValue(1) };
  const mean = builder.op("AveragePool", [power(builder, x, p)], attributes);
  const count = elementCount(intsOf(use, "kernel_shape", staticShape(use, 0).length - 2, 1, 1));
  return root(builder, builder.op("Mul", [mean, builder.scalar(count)]), p);
};

const globalNorm: Rule = (builder, [x], use) => {
  const p = intAttribute(use.attributes, "p", 2);
  return root(builder, builder.reduce("ReduceSum", power(builder, x, p), range(2, staticShape(use, 0).length)), p);
};

/** Each axis cut or padded to its extent, equally at both ends. */
const centerCropPad: Rule = (builder, [x], use) => {
  const shape = staticShape(use, 0);
  const given = intsAttribute(use.attributes, "axes") ?? range(0, shape.length);
  const axes = normalAxes(use, "axes", given, shape.length);
  const wanted = constantInts(use, 1) ?? [];
  const missing = shape.map((size, axis) => (axes.includes(axis) ? wanted[axes.indexOf(axis)] - size : 0));
  const begins = missing.map((size) => (size > 0 ? Math.floor(size / 2) : -Math.floor(-size / 2)));
  const result = padded(
    builder,
    x,
    0,
    begins,
    missing.map((size, axis) => size - begins[axis]),
  );
  return result;
};

/** Places in [-1, 1] of each axis, the last one first, mapped by a matrix [2 or 3, 3 or 4] for each item of the batch. */
const affineGrid: Rule = (builder, [theta], use) => {
  const [batch, , ...extents] = constantInts(use, 1) ?? [];
  const aligned = intAttribute(use.attributes, "align_corners", 0) !== 0;
  const rank = extents.length;
  const at = (size: number, index: number): number =>
    aligned ? (size > 1 ? (2 * index) / (size - 1) - 1 : 0) : (2 * index + 1) / size - 1;
  const column = (index: number): string =>
    builder.reshape(builder.slice(theta, 2, index, index + 1), [batch, ...extents.map(() => 1), rank]);
  const terms = range(0, rank).map((index) => {
    const axis = rank - 1 - index;
    const shape = new Array<number>(rank + 2).fill(1).with(axis + 1, extents[axis]);
    const coordinates = builder.values(
      shape,
      range(0, extents[axis]).map((place) => at(extents[axis], place)),
    );
    return builder.op("Mul", [coordinates, column(index)]);
  });
  return [...terms, column(rank)].reduce((sum, term) => builder.op("Add", [sum, term]));
};

/** The sum of blocks, each laid where its column's window is. */
const columnsToImage: Rule = (builder, [x], use) => {
  const [image, block] = [1, 2].map((index) => constantInts(use, index) ?? []);
  const axes = image.length;
  const [strides, dilations] = ["strides", "dilations"].map((name) => intsOf(use, name, axes, 1, 1));
  const pads = intsOf(use, "pads", 2 * axes, 0, 0);
  const [batch, rows] = staticShape(use, 0);
  const taps = places(block);
  const counts = image.map(
    (size, axis) => Math.floor((size + pads[axis] + pads[axes + axis] - dilations[axis] * (block[axis] - 1) - 1) / strides[axis]) + 1,
  );
  const channels = rows / taps.length;
  const fault = refuseExpansion("blocks", batch * channels * taps.length * elementCount(image));
  if (fault) return fault;
  const blocks = builder.reshape(x, [batch, channels, taps.length, ...counts]);
  const laid = taps.map((tap, index) => {
    const wide = dilated(builder, builder.reshape(builder.slice(blocks, 2, index, index + 1), [batch, channels, ...counts]), 2, strides);
    const begins = tap.map((place, axis) => place * dilations[axis] - pads[axis]);
    return padded(
      builder,
      wide,
      2,
      begins,
      begins.map((begin, axis) => image[axis] - begin - builder.shape(wide)[axis + 2]),
    );
  });
  return laid.reduce((sum, part) => builder.op("Add", [sum, part]));
};

/** The places along an axis (or of the flat input) where a constant condition holds. */
const compress: Rule = (builder, [x], use) => {
  const kept = use.constants[1] ? toNumbers(use.constants[1]).flatMap((value, index) => (value !== 0 ? [index] : [])) : [];
  if (kept.length === 0) return reason("empty", "output", "[0]", "at least one element");
  const flat = use.attributes.axis === undefined;
  const data = flat ? builder.reshape(x, [elementCount(staticShape(use, 0))]) : x;
  return builder.op("Gather", [data, builder.integers(kept)], { axis: intValue(flat ? 0 : intAttribute(use.attributes, "axis", 0)) });
};

export const spatialRules: Readonly<Record<string, Rule>> = {
  AffineGrid: affineGrid,
  CenterCropPad: centerCropPad,
  Col2Im: columnsToImage,
  Compress: compress,
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  GlobalLpPool: globalNorm,
  LpPool: normPool,
  MaxPool: separateMaximum,
};
