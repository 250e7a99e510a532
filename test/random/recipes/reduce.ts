/** Reductions, normalisations, searches. */
import { type DType, elementCount, isFloat } from "../../../src/graph/tensor.js";
import { type Attribute, type Bounds, float, floatTypes, type Grower, int, ints, LIMIT, type Value } from "../grower.js";
import type { Range, Recipe } from "./recipe.js";

interface Reduction {
  readonly domain?: Range;
  of(x: Bounds, count: number): Range;
  readonly exact?: boolean;
  readonly types?: readonly DType[];
}

const withIntegers: readonly DType[] = [...floatTypes, "int32"];
/** What ArgMax and TopK look through. */
const sought: readonly DType[] = [...withIntegers, "float16", "uint8", "int8", "int16", "uint16", "uint32"];
const largest = ({ low, high }: Bounds) => Math.max(-low, high);

const reductions: Readonly<Record<string, Reduction>> = {
  ReduceSum: { of: ({ low, high }, count) => [Math.min(low, low * count), Math.max(high, high * count)], types: withIntegers },
  ReduceMean: { of: ({ low, high }) => [low, high] },
  ReduceMax: { of: ({ low, high }) => [low, high], exact: true, types: [...withIntegers, "uint8", "int8", "uint32"] },
  ReduceMin: { of: ({ low, high }) => [low, high], exact: true, types: [...withIntegers, "uint8", "int8", "uint32"] },
  ReduceProd: { domain: [0.75, 1.25], of: (_, count) => [0.75 ** count, 1.25 ** count] },
  ReduceL1: { of: (x, count) => [0, largest(x) * count] },
  ReduceL2: { of: (x, count) => [0, largest(x) * Math.sqrt(count)] },
  ReduceSumSquare: { of: (x, count) => [0, largest(x) ** 2 * count] },
  ReduceLogSum: { domain: [0.25, LIMIT], of: ({ low, high }, count) => [Math.log(low), Math.log(high * count)] },
  ReduceLogSumExp: { of: ({ low, high }, count) => [low, high + Math.log(count)] },
};

function reduce(op: string, { domain = [-LIMIT, LIMIT], of, exact = false, types = floatTypes }: Reduction): Recipe {
  return (grower) => {
    const found = grower.find((value) => types.includes(value.dtype) && value.shape.length >= grower.firstAxis);
    if (found === undefined) return undefined;
    const x = isFloat(found.dtype) ? grower.fit(found, ...domain) : found;
    const { draw, firstAxis } = grower;
    const axes = grower.axesOf(x);
    const all = firstAxis === 0 && draw.chance(0.2);
    if (!all && axes.length === 0) return undefined;
    const chosen = all ? axes : draw.some(axes, 0.4);
    const count = elementCount(chosen.map((axis) => x.shape[axis]));
    if (op === "ReduceProd" && count > 20) return undefined;
    const [low, high] = of(x, count);
    const named = chosen.map((axis) => (draw.chance(0.3) ? axis - x.shape.length : axis));
    const inputs = all ? [x] : [x, grower.integers(named)];
    return grower.node(op, inputs, { keepdims: int(draw.integer(0, 1)) }, { low, high, exact: exact && x.exact });
  };
}

function floats(grower: Grower, leastRank: number, dtypes: readonly DType[] = floatTypes): Value | undefined {
  const found = grower.find(({ dtype, shape }) => dtypes.includes(dtype) && shape.length >= leastRank);
  return found && grower.fit(found, -LIMIT, LIMIT);
}

function mixedAxis(grower: Grower, x: Value): number | undefined {
  const axes = grower.axesOf(x);
  if (axes.length === 0) return undefined;
  const axis = grower.draw.pick([...axes, x.shape.length - 1]);
  return grower.draw.chance(0.3) ? axis - x.shape.length : axis;
}

/** An operator with an axis whose result has the operand's shape. */
function along(
  op: string,
  bounds: (x: Value) => Bounds,
  options: { jumps?: true; attributes?: (grower: Grower) => Record<string, Attribute> } = {},
): Recipe {
  return (grower) => {
    const x = floats(grower, grower.firstAxis + 1, op === "Hardmax" ? ["float32"] : floatTypes);
    const axis = x && mixedAxis(grower, x);
    if (x === undefined || axis === undefined || (options.jumps && !x.exact)) return undefined;
    return grower.node(op, [x], { axis: int(axis), ...options.attributes?.(grower) }, bounds(x));
  };
}

function search(op: string): Recipe {
  return (grower) => {
    const x = grower.find(({ dtype, shape, exact }) => exact && sought.includes(dtype) && shape.length > grower.firstAxis);
    const axis = x && mixedAxis(grower, x);
    if (x === undefined || axis === undefined) return undefined;
    const size = x.shape.at(axis) ?? 1;
    const attributes = { axis: int(axis), keepdims: int(grower.draw.integer(0, 1)), select_last_index: int(grower.draw.integer(0, 1)) };
    return grower.node(op, [x], attributes, { low: 0, high: size, exact: true });
  };
}

function topK(grower: Grower): unknown {
  const x = grower.find(({ dtype, shape, exact }) => exact && sought.includes(dtype) && shape.length > grower.firstAxis);
  const axis = x && mixedAxis(grower, x);
  if (x === undefined || axis === undefined) return undefined;
  const count = grower.draw.integer(1, x.shape.at(axis) ?? 1);
  const attributes = { axis: int(axis), largest: int(grower.draw.integer(0, 1)), sorted: int(1) };
  return grower.add("TopK", [x, grower.integers([count])], attributes, x, { low: 0, high: x.shape.at(axis) ?? 1, exact: true });
}

function cumSum(grower: Grower): unknown {
  const found = grower.find(({ dtype, shape }) => ["float32", "int32"].includes(dtype) && shape.length > grower.firstAxis);
  if (found === undefined) return undefined;
  const x = isFloat(found.dtype) ? grower.fit(found, -LIMIT, LIMIT) : found;
  const axis = grower.draw.pick(grower.axesOf(x));
  const most = largest(x) * x.shape[axis];
  const attributes = { exclusive: int(grower.draw.integer(0, 1)), reverse: int(grower.draw.integer(0, 1)) };
  return grower.node("CumSum", [x, grower.integers([axis], [])], attributes, { low: -most, high: most, exact: false });
}

/** A value of a few channels behind the batch. */
function channels(grower: Grower, leastRank: number): Value | undefined {
  const found = grower.find(({ dtype, shape }) => floatTypes.includes(dtype) && shape.length >= leastRank && shape.length <= 5);
  return found && grower.fit(found, -LIMIT, LIMIT);
}

const normal: Bounds = { low: -LIMIT, high: LIMIT, exact: false };
const epsilon = { epsilon: float(0.1) };

function batchNormalization(grower: Grower): unknown {
  const x = channels(grower, 2);
  if (x === undefined) return undefined;
  const size = [x.shape[1]];
  const [scale, bias, mean] = [0.3, 1, 1].map((deviation) => grower.constant(x.dtype, size, false, deviation));
  const variance = grower.within(x.dtype, size, 0.5, 2);
  return grower.node("BatchNormalization", [x, scale, bias, mean, variance], epsilon, { low: -30, high: 30, exact: false });
}

function groupNormalization(op: string): Recipe {
  return (grower) => {
    const x = channels(grower, 3);
    if (x === undefined) return undefined;
    const count = x.shape[1];
    const groups = grower.draw.pick(Array.from({ length: count }, (_, index) => index + 1).filter((size) => count % size === 0));
    const parts = [0.3, 1].map((deviation) => grower.constant(x.dtype, [count], false, deviation));
    const attributes = op === "GroupNormalization" ? { ...epsilon, num_groups: int(groups) } : epsilon;
    return grower.node(op, [x, ...parts], attributes, normal);
  };
}

function layerNormalization(op: string): Recipe {
  return (grower) => {
    const x = floats(grower, grower.firstAxis + 1);
    if (x === undefined) return undefined;
    const axis = grower.draw.pick([...grower.axesOf(x), x.shape.length - 1]);
    const size = x.shape.slice(axis);
    const scale = grower.constant(x.dtype, size, false, 0.5);
    const bias = op === "LayerNormalization" && grower.draw.chance(0.7) ? grower.constant(x.dtype, size, false) : undefined;
    return grower.node(op, [x, scale, bias], { axis: int(grower.draw.chance(0.5) ? axis : axis - x.shape.length), ...epsilon }, normal);
  };
}

function lrn(grower: Grower): unknown {
  const x = channels(grower, 4);
  if (x === undefined || x.shape.length !== 4 || x.dtype !== "float32") return undefined;
  const attributes = { size: int(grower.draw.pick([1, 3, 5])), alpha: float(grower.draw.real(0.01, 1)), bias: float(1) };
  return grower.node("LRN", [x], attributes, { low: x.low, high: x.high, exact: false });
}

function meanVariance(grower: Grower): unknown {
  const x = floats(grower, grower.firstAxis + 1, ["float32"]);
  if (x === undefined || x.shape.length !== 4) return undefined;
  // What is divided by has no epsilon: noise, so that it is not small.
  const axes = [2, 3];
  if (elementCount(axes.map((axis) => x.shape[axis])) < 4) return undefined;
  const noisy = grower.node(
    "Add",
    [x, grower.constant("float32", [1, 1, x.shape[2], x.shape[3]], false, 2)],
    {},
    { low: -16, high: 16, exact: false },
  );
  return noisy && grower.node("MeanVarianceNormalization", [noisy], { axes: ints(axes) }, normal);
}

function lpNormalization(grower: Grower): unknown {
  const x = floats(grower, grower.firstAxis + 1, ["float32"]);
  if (x === undefined) return undefined;
  const away = grower.fit(x, 0.5, 4);
  return grower.node(
    "LpNormalization",
    [away],
    { axis: int(grower.draw.pick(grower.axesOf(away))), p: int(grower.draw.integer(1, 2)) },
    {
      low: 0,
      high: 1,
      exact: false,
    },
  );
}

export const reduction: Readonly<Record<string, Recipe>> = {
  ...Object.fromEntries(Object.entries(reductions).map(([op, entry]) => [op, reduce(op, entry)])),
  Softmax: along("Softmax", () => ({ low: 0, high: 1, exact: false })),
  LogSoftmax: along("LogSoftmax", () => ({ low: -26, high: 0, exact: false })),
  Hardmax: along("Hardmax", () => ({ low: 0, high: 1, exact: true }), { jumps: true }),
  ArgMax: search("ArgMax"),
  ArgMin: search("ArgMin"),
  TopK: topK,
  CumSum: cumSum,
  BatchNormalization: batchNormalization,
  InstanceNormalization: groupNormalization("InstanceNormalization"),
  GroupNormalization: groupNormalization("GroupNormalization"),
  LayerNormalization: layerNormalization("LayerNormalization"),
  RMSNormalization: layerNormalization("RMSNormalization"),
  LRN: lrn,
  MeanVarianceNormalization: meanVariance,
  LpNormalization: lpNormalization,
};
