/** Convolution and pooling from their geometry, element by element. */
import { elementCount, rowMajorStrides, type Tensor, toNumbers } from "../../src/graph/tensor.js";
import type { ConvolutionGeometry, PoolGeometry } from "../../src/operators/record.js";

/** All index vectors of a box, in row-major order. */
function indices(shape: readonly number[]): number[][] {
  const strides = rowMajorStrides(shape);
  return Array.from({ length: elementCount(shape) }, (_, index) => shape.map((size, axis) => Math.floor(index / strides[axis]) % size));
}

const at = (shape: readonly number[], index: readonly number[]): number => {
  const strides = rowMajorStrides(shape);
  return index.reduce((sum, position, axis) => sum + position * strides[axis], 0);
};

const inside = (shape: readonly number[], place: readonly number[]): boolean =>
  place.every((value, axis) => value >= 0 && value < shape[axis]);

/** Checks that the output extents follow from the geometry. */
function checkExtents(
  geometry: ConvolutionGeometry | PoolGeometry,
  input: readonly number[],
  output: readonly number[],
  transposed: boolean,
): void {
  for (const [axis, size] of input.entries()) {
    const reach = (geometry.kernel[axis] - 1) * geometry.dilations[axis] + 1;
    const pads = geometry.padsBegin[axis] + geometry.padsEnd[axis];
    const stride = geometry.strides[axis];
    const made = transposed ? (size - 1) * stride + reach - pads : Math.floor((size + pads - reach) / stride) + 1;
    if (made !== output[axis]) throw new Error(`geometry gives extent ${made} on axis ${axis}, not ${output[axis]}`);
  }
}

export function convolve(
  transposed: boolean,
  geometry: ConvolutionGeometry,
  tensors: readonly Tensor[],
  outShape: readonly number[],
): number[] {
  const [x, w, bias] = tensors;
  checkExtents(geometry, x.shape.slice(2), outShape.slice(2), transposed);
  const [inputs, weights] = [toNumbers(x), toNumbers(w)];
  const output = indices(outShape).map((index) => (bias && bias.shape[0] > 0 ? toNumbers(bias)[index[1]] : 0));
  const [from, to] = transposed ? [x.shape, outShape] : [outShape, x.shape];
  const inGroup = x.shape[1] / geometry.groups;
  const outGroup = outShape[1] / geometry.groups;
  for (const place of indices([from[0], ...from.slice(2)])) {
    for (const tap of indices(geometry.kernel)) {
      const other = tap.map(
        (k, axis) => place[axis + 1] * geometry.strides[axis] + k * geometry.dilations[axis] - geometry.padsBegin[axis],
      );
      if (!inside(to.slice(2), other)) continue;
      const [inPlace, outPlace] = transposed ? [place.slice(1), other] : [other, place.slice(1)];
      for (const [group, inChannel, outChannel] of indices([geometry.groups, inGroup, outGroup])) {
        const [source, target] = [group * inGroup + inChannel, group * outGroup + outChannel];
        const weight = transposed ? [source, outChannel, ...tap] : [target, inChannel, ...tap];
        output[at(outShape, [place[0], target, ...outPlace])] +=
          inputs[at(x.shape, [place[0], source, ...inPlace])] * weights[at(w.shape, weight)];
      }
    }
  }
  return output;
}

export function pool(op: "maximum" | "average", geometry: PoolGeometry, x: Tensor, outShape: readonly number[]): number[] {
  checkExtents(geometry, x.shape.slice(2), outShape.slice(2), false);
  const values = toNumbers(x);
  return indices(outShape).map(([batch, channel, ...place]) => {
    const taps = indices(geometry.kernel).map((tap) =>
      tap.map((k, axis) => place[axis] * geometry.strides[axis] + k * geometry.dilations[axis] - geometry.padsBegin[axis]),
    );
    const seen = taps.filter((tap) => inside(x.shape.slice(2), tap)).map((tap) => values[at(x.shape, [batch, channel, ...tap])]);
    if (op === "maximum") return seen.reduce((left, right) => Math.max(left, right), Number.NEGATIVE_INFINITY);
    const given = taps.filter((tap) => tap.every((at, axis) => at < x.shape[axis + 2] + geometry.padsGiven[axis]));
    const count = geometry.countIncludePad ? given.length : seen.length;
    return seen.reduce((left, right) => left + right, 0) / count;
  });
}
