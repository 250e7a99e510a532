/** Operators that move elements. */
import { type DType, elementCount, fromNumbers } from "../../../src/graph/tensor.js";
import { type Attribute, type Grower, int, ints, text, type Value } from "../grower.js";
import type { Recipe } from "./recipe.js";

const movedTypes: readonly DType[] = [
  ...(["float32", "float16", "bfloat16", "float64", "bool"] as const),
  ...(["int32", "uint8", "int64", "int8", "uint64", "int16", "uint32", "uint16"] as const),
];

const isMoved = ({ dtype }: Value): boolean => movedTypes.includes(dtype);

function anyValue(grower: Grower, leastRank = 0, mostRank = 5): Value | undefined {
  return grower.find(({ dtype, shape }) => movedTypes.includes(dtype) && shape.length >= leastRank && shape.length <= mostRank);
}

/** An axis that may be mixed, from either end. */
function axisOf(grower: Grower, x: Value): number | undefined {
  const axes = grower.axesOf(x);
  return axes.length === 0 ? undefined : grower.draw.pick(axes);
}

/** The same axis, at times counted from the end. */
function written(grower: Grower, axis: number, rank: number): number {
  return grower.draw.chance(0.3) ? axis - rank : axis;
}

function transpose(grower: Grower): unknown {
  const x = anyValue(grower, grower.firstAxis + 1);
  if (x === undefined) return undefined;
  const fixed = x.shape.map((_, axis) => axis).slice(0, grower.firstAxis);
  const plain = grower.firstAxis === 0 && grower.draw.chance(0.15);
  return grower.node("Transpose", [x], plain ? {} : { perm: ints([...fixed, ...grower.draw.shuffle(grower.axesOf(x))]) }, x);
}

function concat(grower: Grower): unknown {
  const x = anyValue(grower, grower.firstAxis + 1);
  const axis = x && axisOf(grower, x);
  if (x === undefined || axis === undefined) return undefined;
  const joins = (other: Value) =>
    other.dtype === x.dtype &&
    other.shape.length === x.shape.length &&
    other.shape.every((size, at) => at === axis || size === x.shape[at]);
  const parts = [x];
  for (let count = grower.draw.integer(0, 3); count > 0; count--) {
    const other = grower.draw.chance(0.7) ? grower.find(joins) : undefined;
    const shape = x.shape.map((size, at) => (at === axis ? grower.draw.integer(1, 4) : size));
    parts.push(
      other ?? (grower.firstAxis === 0 && grower.draw.chance(0.5) ? grower.constant(x.dtype, shape, true) : grower.input(x.dtype, shape)),
    );
  }
  const bounds = {
    low: Math.min(...parts.map(({ low }) => low)),
    high: Math.max(...parts.map(({ high }) => high)),
    exact: parts.every(({ exact }) => exact),
  };
  return grower.node("Concat", grower.draw.shuffle(parts), { axis: int(written(grower, axis, x.shape.length)) }, bounds);
}

function split(grower: Grower): unknown {
  const x = anyValue(grower, grower.firstAxis + 1);
  const axis = x && grower.draw.shuffle(grower.axesOf(x)).find((at) => x.shape[at] > 1);
  if (x === undefined || axis === undefined) return undefined;
  const count = grower.draw.integer(2, Math.min(4, x.shape[axis]));
  const attributes = { axis: int(written(grower, axis, x.shape.length)) };
  const outputs = new Array(count).fill(x);
  // Parts of one size, the last one smaller: that must not leave it empty.
  const size = Math.ceil(x.shape[axis] / count);
  if (grower.draw.chance(0.4) && size * (count - 1) < x.shape[axis])
    return grower.add("Split", [x], { ...attributes, num_outputs: int(count) }, ...outputs);
  const cuts = grower.draw.shuffle(Array.from({ length: x.shape[axis] - 1 }, (_, index) => index + 1)).slice(0, count - 1);
  const ends = [...cuts.sort((a, b) => a - b), x.shape[axis]];
  const sizes = ends.map((end, index) => end - (ends[index - 1] ?? 0));
  return grower.add("Split", [x, grower.integers(sizes)], attributes, ...outputs);
}

function slice(grower: Grower): unknown {
  const x = anyValue(grower, grower.firstAxis + 1);
  if (x === undefined) return undefined;
  const { draw } = grower;
  const ranges = draw.some(grower.axesOf(x)).map((axis) => {
    const size = x.shape[axis];
    const step = draw.pick([1, 1, 1, 2, 3, -1, -2]);
    const [first, last] = [draw.integer(0, size - 1), draw.integer(0, size - 1)].sort((a, b) => (step > 0 ? a - b : b - a));
    const beyond = step > 0 ? last + 1 : last - 1 < 0 ? -size - 1 : last - 1;
    const [start, end] = draw.chance(0.2) ? [step > 0 ? 0 : size - 1, step > 0 ? 2 ** 31 - 1 : -(2 ** 31)] : [first, beyond];
    return { axis: written(grower, axis, x.shape.length), start: draw.chance(0.2) ? start - size : start, end, step };
  });
  const parts = (["start", "end", "axis", "step"] as const).map((part) => ranges.map((range) => range[part]));
  const isLeading = ranges.every(({ axis }, index) => axis === index);
  const plain = ranges.every(({ step }) => step === 1);
  const inputs = parts.slice(0, plain ? (isLeading ? 2 : 3) : 4).map((values) => grower.integers(values));
  return grower.node("Slice", [x, ...inputs], {}, x);
}

function pad(grower: Grower): unknown {
  const x = anyValue(grower, grower.firstAxis + 1);
  if (x === undefined || x.dtype === "float64") return undefined;
  const { draw } = grower;
  const mode = draw.pick(["constant", "constant", "reflect", "edge", "wrap"]);
  const chosen = draw.some(grower.axesOf(x));
  // Reflection and wrapping reach at most over the whole extent; a border may also be cut off.
  const amount = (axis: number): number => {
    const most = mode === "reflect" ? x.shape[axis] - 1 : mode === "wrap" ? x.shape[axis] : 3;
    return draw.integer(mode === "constant" && x.shape[axis] > 2 && draw.chance(0.15) ? -1 : 0, Math.max(0, Math.min(3, most)));
  };
  const [begins, ends] = [0, 1].map(() => x.shape.map((_, axis) => (chosen.includes(axis) ? amount(axis) : 0)));
  const value =
    mode === "constant" && draw.chance(0.5)
      ? grower.scalar(x.dtype, x.dtype === "bool" ? 1 : draw.integer(x.dtype.startsWith("u") ? 0 : -3, 3))
      : undefined;
  const some = draw.chance(0.3);
  const pads = some ? [...chosen.map((axis) => begins[axis]), ...chosen.map((axis) => ends[axis])] : [...begins, ...ends];
  const axes = some ? grower.integers(chosen) : undefined;
  const fill = value?.low ?? 0;
  const bounds = { low: Math.min(x.low, fill), high: Math.max(x.high, fill), exact: x.exact };
  return grower.node("Pad", [x, grower.integers(pads), value, axes], { mode: text(mode) }, bounds);
}

function expand(grower: Grower): unknown {
  const x = anyValue(grower);
  if (x === undefined) return undefined;
  const { draw, firstAxis } = grower;
  const shape = x.shape.map((size, axis) => (axis < firstAxis ? 1 : size === 1 ? draw.integer(1, 5) : draw.pick([1, size])));
  const leading = firstAxis === 0 && draw.chance(0.3) ? [draw.integer(1, 3)] : [];
  return grower.node("Expand", [x, grower.integers([...leading, ...shape])], {}, x);
}

function tile(grower: Grower): unknown {
  const x = anyValue(grower, 1);
  if (x === undefined) return undefined;
  const repeats = x.shape.map((_, axis) => (axis < grower.firstAxis ? 1 : grower.draw.pick([1, 1, 2, 3])));
  return grower.node("Tile", [x, grower.integers(repeats)], {}, x);
}

function depthToSpace(grower: Grower): unknown {
  const x = grower.find((value) => isMoved(value) && value.shape.length === 4 && value.shape[1] % 4 === 0);
  return x && grower.node("DepthToSpace", [x], { blocksize: int(2), mode: text(grower.draw.pick(["DCR", "CRD"])) }, x);
}

function spaceToDepth(grower: Grower): unknown {
  const fits = (block: number) => (value: Value) =>
    isMoved(value) && value.shape.length === 4 && value.shape[2] % block === 0 && value.shape[3] % block === 0;
  const block = grower.draw.pick([2, 3]);
  const x = grower.find(fits(block));
  return x && grower.node("SpaceToDepth", [x], { blocksize: int(block) }, x);
}

function gather(grower: Grower): unknown {
  const x = anyValue(grower, grower.firstAxis + 1);
  const axis = x && axisOf(grower, x);
  if (x === undefined || axis === undefined) return undefined;
  const { draw } = grower;
  const size = x.shape[axis];
  const shape = draw.pick([[], [1], [draw.integer(1, 6)], [2, 3]]);
  const indices = Array.from({ length: elementCount(shape) }, () => draw.integer(draw.chance(0.2) ? -size : 0, size - 1));
  const dtype = draw.pick<DType>(["int64", "int64", "int32"]);
  const constant = grower.fixed(fromNumbers(dtype, shape, indices), { low: -size, high: size, exact: true });
  return grower.node("Gather", [x, constant], { axis: int(written(grower, axis, x.shape.length)) }, x);
}

function gatherElements(grower: Grower): unknown {
  const x = anyValue(grower, grower.firstAxis + 1);
  const axis = x && axisOf(grower, x);
  if (x === undefined || axis === undefined) return undefined;
  const shape = x.shape.map((size, at) =>
    at === axis ? grower.draw.integer(1, 4) : at < grower.firstAxis ? size : grower.draw.integer(1, size),
  );
  const indices = Array.from({ length: elementCount(shape) }, () => grower.draw.integer(0, x.shape[axis] - 1));
  // With the batch open, indices of each of it are not known.
  if (grower.firstAxis === 1) return undefined;
  return grower.node("GatherElements", [x, grower.integers(indices, shape)], { axis: int(axis) }, x);
}

/** Sizes whose product is `count`. */
function factors(grower: Grower, count: number): number[] {
  const result: number[] = [];
  let rest = count;
  while (rest > 1 && result.length < 3) {
    const divisors = Array.from({ length: Math.min(rest, 64) }, (_, index) => index + 1).filter((size) => rest % size === 0);
    const next = grower.draw.pick(divisors);
    result.push(next);
    rest /= next;
  }
  return rest > 1 || result.length === 0 ? [...result, rest] : result;
}

function reshape(grower: Grower): unknown {
  const x = anyValue(grower);
  if (x === undefined) return undefined;
  const { draw, firstAxis } = grower;
  const kept = x.shape.slice(0, firstAxis);
  const shape: number[] = [...kept.map(() => 0), ...factors(grower, elementCount(x.shape.slice(firstAxis)))];
  if (draw.chance(0.4) && shape.length > firstAxis) shape[draw.integer(firstAxis, shape.length - 1)] = -1;
  return grower.node("Reshape", [x, grower.integers(shape)], {}, x);
}

function flatten(grower: Grower): unknown {
  const x = anyValue(grower, Math.max(1, grower.firstAxis));
  if (x === undefined) return undefined;
  const axis = grower.firstAxis === 1 ? 1 : grower.draw.integer(0, x.shape.length);
  return grower.node("Flatten", [x], { axis: int(axis) }, x);
}

function squeeze(grower: Grower): unknown {
  const ones = (value: Value) => grower.axesOf(value).filter((axis) => value.shape[axis] === 1);
  const x = grower.find((value) => movedTypes.includes(value.dtype) && ones(value).length > 0);
  if (x === undefined) return undefined;
  const all = grower.firstAxis === 0 && grower.draw.chance(0.3);
  const axes = grower.draw.some(ones(x)).map((axis) => written(grower, axis, x.shape.length));
  return grower.node("Squeeze", all ? [x] : [x, grower.integers(axes)], {}, x);
}

function unsqueeze(grower: Grower): unknown {
  const x = anyValue(grower, 0, 4);
  if (x === undefined) return undefined;
  const axis = grower.draw.integer(grower.firstAxis, x.shape.length);
  const axes = x.shape.length < 4 && grower.draw.chance(0.3) ? [axis, axis + 1] : [axis];
  return grower.node("Unsqueeze", [x, grower.integers(axes)], {}, x);
}

function trilu(grower: Grower): unknown {
  const x = grower.find((value) => isMoved(value) && value.shape.length >= grower.firstAxis + 2);
  if (x === undefined) return undefined;
  const bounds = { low: Math.min(0, x.low), high: Math.max(0, x.high), exact: x.exact };
  const inputs = grower.draw.chance(0.5) ? [x] : [x, grower.fixed(fromNumbers("int64", [], [grower.draw.integer(-3, 3)]), bounds)];
  return grower.node("Trilu", inputs, { upper: int(grower.draw.integer(0, 1)) }, bounds);
}

/** What a mode of coordinates is used with. */
const coordinates = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"];

function resize(grower: Grower): unknown {
  const x = grower.find(({ dtype, shape }) => dtype === "float32" && shape.length === 4 && shape[2] > 1 && shape[3] > 1);
  if (x === undefined) return undefined;
  const { draw } = grower;
  const mode = draw.pick(["nearest", "linear", "cubic"]);
  // Powers of two: nearest positions are then not a matter of rounding.
  const scales = [1, 1, draw.pick([1, 2, 0.5, 4]), draw.pick([1, 2, 0.5, 4])];
  if (scales.some((scale, axis) => !Number.isInteger(scale * x.shape[axis]))) return undefined;
  const attributes: Record<string, Attribute> = {
    mode: text(mode),
    coordinate_transformation_mode: text(mode === "nearest" ? "asymmetric" : draw.pick(coordinates)),
    ...(mode === "nearest" ? { nearest_mode: text("floor") } : {}),
  };
  const most = (mode === "cubic" ? 2 : 1) * Math.max(-x.low, x.high);
  const bySizes = grower.firstAxis === 0 && draw.chance(0.4);
  const target = bySizes
    ? [undefined, undefined, grower.integers(x.shape.map((size, axis) => size * scales[axis]))]
    : [undefined, grower.fixed(fromNumbers("float32", [4], scales), { low: 0, high: 4, exact: true })];
  return grower.node("Resize", [x, ...target], attributes, { low: -most, high: most, exact: x.exact && mode === "nearest" });
}

function scatterElements(grower: Grower): unknown {
  const x = grower.find((value) => isMoved(value) && value.shape.length >= 1 && value.shape.length <= 3 && elementCount(value.shape) < 500);
  const axis = x && axisOf(grower, x);
  if (x === undefined || axis === undefined || grower.firstAxis === 1) return undefined;
  // Along the axis each index once, so that the order of writing does not matter.
  const count = grower.draw.integer(1, x.shape[axis]);
  const shape = x.shape.map((size, at) => (at === axis ? count : size));
  const order = grower.draw.shuffle(Array.from({ length: x.shape[axis] }, (_, index) => index)).slice(0, count);
  const inner = elementCount(shape.slice(axis + 1));
  const indices = Array.from({ length: elementCount(shape) }, (_, index) => order[Math.floor(index / inner) % count]);
  const updates = grower.input(x.dtype, shape);
  const bounds = { low: Math.min(x.low, updates.low), high: Math.max(x.high, updates.high), exact: x.exact && updates.exact };
  return grower.node("ScatterElements", [x, grower.integers(indices, shape), updates], { axis: int(axis) }, bounds);
}

function oneHot(grower: Grower): unknown {
  const x = grower.find(
    ({ dtype, shape, low, high }) =>
      dtype === "int64" && shape.length >= 1 && shape.length <= 3 && low >= -20 && high <= 20 && elementCount(shape) < 300,
  );
  if (x === undefined) return undefined;
  const depth = grower.draw.integer(2, 21);
  const values = grower.fixed(fromNumbers("float32", [2], [0, grower.draw.integer(1, 3)]), { low: 0, high: 3, exact: true });
  const axis = grower.draw.integer(grower.firstAxis, x.shape.length);
  return grower.node("OneHot", [x, grower.fixed(fromNumbers("int64", [], [depth]), values), values], { axis: int(axis) }, values);
}

function reverseSequence(grower: Grower): unknown {
  const x = grower.find((value) => isMoved(value) && value.shape.length >= 2);
  if (x === undefined || grower.firstAxis === 1) return undefined;
  const [time, batch] = grower.draw.shuffle([0, 1]);
  const lengths = Array.from({ length: x.shape[batch] }, () => grower.draw.integer(1, x.shape[time]));
  return grower.node("ReverseSequence", [x, grower.integers(lengths)], { time_axis: int(time), batch_axis: int(batch) }, x);
}

const sizes = { low: 0, high: 20_000, exact: true };

/** The shape as a value; with a batch, what exporters write for a reshape: the batch's extent, and -1 for the rest. */
function byShape(grower: Grower): unknown {
  const x = anyValue(grower, 1);
  if (x === undefined) return undefined;
  if (grower.firstAxis === 0) return grower.node("Shape", [x], {}, sizes);
  const batch = grower.node("Shape", [x], { start: int(0), end: int(1) }, sizes);
  const target = batch && grower.node("Concat", [batch, grower.integers([-1])], { axis: int(0) }, sizes);
  for (const value of [batch, target]) if (value) grower.hide(value);
  return target && grower.typed("Reshape", [x, target], {}, { ...x, shape: [x.shape[0], elementCount(x.shape.slice(1))] });
}

function size(grower: Grower): unknown {
  const x = anyValue(grower, 1);
  return x && grower.firstAxis === 0 ? grower.node("Size", [x], {}, sizes) : undefined;
}

export const movement: Readonly<Record<string, Recipe>> = {
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Expand: expand,
  Tile: tile,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Gather: gather,
  GatherElements: gatherElements,
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Trilu: trilu,
  Resize: resize,
  ScatterElements: scatterElements,
  OneHot: oneHot,
  ReverseSequence: reverseSequence,
  Shape: byShape,
  Size: size,
};
