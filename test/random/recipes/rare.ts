/** Operators that few networks have. */
import { elementCount, fromNumbers } from "../../../src/graph/tensor.js";
import { type Attribute, float, floatTypes, type Grower, int, ints, LIMIT, text, type Value } from "../grower.js";
import type { Recipe } from "./recipe.js";

const moved = ["float32", "float16", "bfloat16", "int32", "int64", "bool", "uint8", "int8", "int16", "uint16"] as const;

function floats(grower: Grower, ranks: readonly number[]): Value {
  const found = grower.find(({ dtype, shape }) => dtype === "float32" && ranks.includes(shape.length));
  return grower.fit(found ?? grower.input("float32", grower.shape(grower.draw.pick(ranks))), -LIMIT, LIMIT);
}

/** So many places below `size`, each once. */
function places(grower: Grower, size: number, count: number): number[] {
  return grower.draw.shuffle(Array.from({ length: size }, (_, index) => index)).slice(0, count);
}

function gatherND(grower: Grower): unknown {
  const x = grower.find(({ dtype, shape }) => moved.some((type) => type === dtype) && shape.length >= 1 && shape.length <= 4);
  if (x === undefined || grower.firstAxis === 1) return undefined;
  const depth = grower.draw.integer(1, x.shape.length);
  const count = grower.draw.integer(1, 6);
  const tuples = Array.from({ length: count }, () =>
    x.shape.slice(0, depth).map((size) => grower.draw.integer(grower.draw.chance(0.2) ? -size : 0, size - 1)),
  );
  return grower.node("GatherND", [x, grower.integers(tuples.flat(), [count, depth])], {}, x);
}

function scatterND(grower: Grower): unknown {
  const x = grower.find(({ dtype, shape }) => moved.some((type) => type === dtype) && shape.length >= 1 && shape.length <= 4);
  if (x === undefined || grower.firstAxis === 1) return undefined;
  const count = grower.draw.integer(1, x.shape[0]);
  const indices = grower.integers(places(grower, x.shape[0], count), [count, 1]);
  const updates = grower.input(x.dtype, [count, ...x.shape.slice(1)]);
  const bounds = { low: Math.min(x.low, updates.low), high: Math.max(x.high, updates.high), exact: x.exact && updates.exact };
  return grower.node("ScatterND", [x, indices, updates], {}, bounds);
}

function compress(grower: Grower): unknown {
  const x = grower.find(({ dtype, shape }) => moved.some((type) => type === dtype) && shape.length > grower.firstAxis);
  if (x === undefined) return undefined;
  const axis = grower.draw.pick(grower.axesOf(x));
  const kept = x.shape[axis] === 1 ? [1] : [1, ...Array.from({ length: x.shape[axis] - 1 }, () => grower.draw.integer(0, 1))];
  const condition = grower.fixed(fromNumbers("bool", [kept.length], kept), { low: 0, high: 1, exact: true });
  return grower.node("Compress", [x, condition], { axis: int(axis) }, x);
}

function centerCropPad(grower: Grower): unknown {
  const x = floats(grower, [1, 2, 3, 4].slice(grower.firstAxis));
  const axes = grower.draw.some(grower.axesOf(x));
  const target = axes.map((axis) => Math.max(1, x.shape[axis] + grower.draw.integer(-3, 3)));
  const bounds = { low: Math.min(0, x.low), high: Math.max(0, x.high), exact: x.exact };
  return grower.node("CenterCropPad", [x, grower.integers(target)], { axes: ints(axes) }, bounds);
}

function eyeLike(grower: Grower): unknown {
  const x = grower.find(({ shape }) => shape.length === 2);
  if (x === undefined || grower.firstAxis === 1) return undefined;
  return grower.node(
    "EyeLike",
    [x],
    { dtype: int(grower.draw.pick([1, 6, 9, 10])), k: int(grower.draw.integer(-2, 2)) },
    { low: 0, high: 1, exact: true },
  );
}

function cumProd(grower: Grower): unknown {
  const found = grower.find(({ dtype, shape }) => dtype === "float32" && shape.length > grower.firstAxis);
  const axis = found && grower.draw.pick(grower.axesOf(found));
  if (found === undefined || axis === undefined || found.shape[axis] > 20) return undefined;
  const x = grower.fit(found, 0.75, 1.25);
  const attributes = { exclusive: int(grower.draw.integer(0, 1)), reverse: int(grower.draw.integer(0, 1)) };
  const size = x.shape[axis];
  return grower.node("CumProd", [x, grower.integers([axis], [])], attributes, { low: 0.75 ** size, high: 1.25 ** size, exact: false });
}

/** Of class scores [batch, classes, ...] and a target in each place: computed ones would have to be below the number of classes. */
function loss(op: string): Recipe {
  return (grower) => {
    if (grower.firstAxis === 1) return undefined;
    const { draw } = grower;
    const x = floats(grower, [2, 3, 4]);
    const shape = x.shape.toSpliced(1, 1);
    if (elementCount(shape) > 500) return undefined;
    const values = Array.from({ length: elementCount(shape) }, () => draw.integer(0, x.shape[1] - 1));
    const target = grower.integers(values, shape);
    const weight = draw.chance(0.4) ? grower.within("float32", [x.shape[1]], 0.5, 1.5) : undefined;
    const reduction = draw.pick(["mean", "sum", "none"]);
    const ignored: Record<string, Attribute> =
      draw.chance(0.3) && values.some((value) => value !== values[0]) ? { ignore_index: int(values[0]) } : {};
    const most = 40 * (reduction === "sum" ? elementCount(shape) : 1);
    return grower.node(op, [x, target, weight], { reduction: text(reduction), ...ignored }, { low: -most, high: most, exact: false });
  };
}

function swish(grower: Grower): unknown {
  const found = grower.find(({ dtype }) => floatTypes.includes(dtype));
  const x = found && grower.fit(found, -LIMIT, LIMIT);
  const bounds = { low: -LIMIT, high: LIMIT, exact: false };
  return x && grower.node("Swish", [x], { alpha: float(grower.draw.real(0.5, 2)) }, bounds);
}

/** Two 8-bit matrices and what they and their product are scaled by; the result is coarse, so that sums near a half of it can't be told. */
function quantisedProduct(grower: Grower): unknown {
  const x = grower.find(({ dtype, shape }) => dtype === "uint8" && shape.length === 2) ?? grower.input("uint8", grower.shape(2));
  if (x.shape[1] > 100 || grower.firstAxis === 1) return undefined;
  const { draw } = grower;
  const weights = grower.constant("uint8", [x.shape[1], draw.integer(1, 20)], true);
  const number = (dtype: "float32" | "uint8", value: number) =>
    grower.fixed(fromNumbers(dtype, [], [value]), { low: value, high: value, exact: true });
  // Powers of two, the product's 2^-1 + 2^-3: no sum lies in the middle of two results.
  const scales = [2 ** -4, 2 ** -3].map((scale) => number("float32", scale));
  const zeros = [0, 1, 2].map(() => number("uint8", draw.integer(0, 20)));
  const inputs = [x, scales[0], zeros[0], weights, scales[1], zeros[1], number("float32", 4 / 3), zeros[2]];
  return grower.node("QLinearMatMul", inputs, {}, { low: 0, high: 200, exact: true });
}

/** Queries [batch, heads, positions, size] turned by angles of their positions. */
function rotary(grower: Grower): unknown {
  const x = floats(grower, [4]);
  if (x.shape[3] % 2 === 1) return undefined;
  const half = x.shape[3] / 2;
  const [cosines, sines] = [0, 1].map(() => grower.within("float32", [x.shape[2] + 2, half], -1, 1));
  const positions = Array.from({ length: x.shape[0] * x.shape[2] }, () => grower.draw.integer(0, x.shape[2] + 1));
  if (grower.firstAxis === 1) return undefined;
  const ids = grower.integers(positions, [x.shape[0], x.shape[2]]);
  const most = 2 * Math.max(-x.low, x.high);
  return grower.node(
    "RotaryEmbedding",
    [x, cosines, sines, ids],
    { interleaved: int(grower.draw.integer(0, 1)) },
    {
      low: -most,
      high: most,
      exact: false,
    },
  );
}

function columns(grower: Grower): unknown {
  const { draw } = grower;
  const [block, strides] = [0, 1].map(() => [draw.integer(1, 3), draw.integer(1, 3)]);
  const image = block.map((size) => size + draw.integer(0, 6));
  const count = image.map((size, axis) => Math.floor((size - block[axis]) / strides[axis]) + 1);
  const shape = [grower.leading(), draw.integer(1, 4) * elementCount(block), elementCount(count)];
  const found = grower.find(({ dtype, shape: own }) => dtype === "float32" && own.join() === shape.join());
  const x = grower.fit(found ?? grower.input("float32", shape), -LIMIT, LIMIT);
  const most = elementCount(block) * Math.max(-x.low, x.high);
  return grower.node(
    "Col2Im",
    [x, grower.integers(image), grower.integers(block)],
    { strides: ints(strides) },
    {
      low: -most,
      high: most,
      exact: false,
    },
  );
}

function affineGrid(grower: Grower): unknown {
  const shape = [grower.leading(), 2, 3];
  const found = grower.find(({ dtype, shape: own }) => dtype === "float32" && own.join() === shape.join());
  const theta = grower.fit(found ?? grower.input("float32", shape), -2, 2);
  if (grower.firstAxis === 1) return undefined;
  const size = grower.integers([shape[0], 1, grower.draw.integer(2, 6), grower.draw.integer(2, 6)]);
  return grower.node("AffineGrid", [theta, size], { align_corners: int(grower.draw.integer(0, 1)) }, { low: -6, high: 6, exact: false });
}

/** A cache with new entries, at computed places. */
function tensorScatter(grower: Grower): unknown {
  const x = grower.find(({ dtype, shape }) => moved.some((type) => type === dtype) && shape.length >= 3);
  if (x === undefined || grower.firstAxis === 1) return undefined;
  const axis = x.shape.length - 2;
  const count = grower.draw.integer(1, x.shape[axis]);
  const updates = grower.input(x.dtype, x.shape.with(axis, count));
  const starts = grower.integers(Array.from({ length: x.shape[0] }, () => grower.draw.integer(0, x.shape[axis] - count)));
  const bounds = { low: Math.min(x.low, updates.low), high: Math.max(x.high, updates.high), exact: x.exact && updates.exact };
  return grower.node("TensorScatter", [x, updates, starts], {}, bounds);
}

export const rare: Readonly<Record<string, Recipe>> = {
  GatherND: gatherND,
  ScatterND: scatterND,
  Compress: compress,
  CenterCropPad: centerCropPad,
  EyeLike: eyeLike,
  CumProd: cumProd,
  NegativeLogLikelihoodLoss: loss("NegativeLogLikelihoodLoss"),
  SoftmaxCrossEntropyLoss: loss("SoftmaxCrossEntropyLoss"),
  Swish: swish,
  QLinearMatMul: quantisedProduct,
  RotaryEmbedding: rotary,
  Col2Im: columns,
  AffineGrid: affineGrid,
  TensorScatter: tensorScatter,
};
