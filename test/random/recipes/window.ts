/** Convolutions and pooling. */
import { elementCount, fromNumbers } from "../../../src/graph/tensor.js";
import { type Attribute, floatTypes, type Grower, int, ints, LIMIT, text, type Value } from "../grower.js";
import type { Recipe } from "./recipe.js";

/** A value of channels and 1 to 3 spatial dimensions; made if there is none. */
function image(grower: Grower, spatial: readonly number[] = [1, 2, 2, 2, 3]): Value {
  const ranks = spatial.map((count) => count + 2);
  const found = grower.find(({ dtype, shape }) => floatTypes.includes(dtype) && ranks.includes(shape.length));
  return grower.fit(found ?? grower.input(grower.dtype, grower.shape(grower.draw.pick(ranks))), -LIMIT, LIMIT);
}

interface Window {
  readonly kernel: readonly number[];
  readonly attributes: Record<string, Attribute>;
}

/** A window that fits the image, with strides, dilations and borders; undefined where the image is too small. */
function window(grower: Grower, x: Value, options: { dilated?: boolean; bordered?: boolean } = {}): Window | undefined {
  const { draw } = grower;
  const sizes = x.shape.slice(2);
  const kernel = sizes.map((size) => Math.min(size, draw.pick([1, 1, 2, 3, 3, 5])));
  const strides = sizes.map(() => draw.pick([1, 1, 1, 2, 3]));
  const dilations = sizes.map((size, axis) => (options.dilated && draw.chance(0.2) && 2 * (kernel[axis] - 1) < size ? 2 : 1));
  const attributes: Record<string, Attribute> = { kernel_shape: ints(kernel) };
  if (draw.chance(0.8)) attributes.strides = ints(strides);
  if (options.dilated && dilations.some((dilation) => dilation > 1)) attributes.dilations = ints(dilations);
  if (options.bordered === false) return { kernel, attributes };
  const borders = draw.pick(["none", "pads", "pads", "same"]);
  if (borders === "pads") attributes.pads = ints([...kernel, ...kernel].map((size) => draw.integer(0, Math.floor(size / 2))));
  // ONNX Runtime computes negative borders where a stride is wider than its window.
  const overlaps = attributes.strides === undefined || strides.every((stride, axis) => stride <= kernel[axis]);
  if (borders === "same" && attributes.dilations === undefined && overlaps)
    attributes.auto_pad = text(draw.pick(["SAME_UPPER", "SAME_LOWER", "VALID"]));
  return { kernel, attributes };
}

function divisorsOf(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1).filter((size) => count % size === 0);
}

function convolution(grower: Grower): unknown {
  const x = image(grower);
  const { draw } = grower;
  const channels = x.shape[1];
  const group = draw.chance(0.5) ? 1 : draw.chance(0.5) ? channels : draw.pick(divisorsOf(channels));
  const shape = window(grower, x, { dilated: true });
  if (shape === undefined) return undefined;
  const outputs = group * (group === channels ? draw.pick([1, 1, 2]) : draw.integer(1, Math.max(1, Math.floor(24 / group))));
  const fanIn = (channels / group) * elementCount(shape.kernel);
  if (fanIn > 1200 || outputs > 300) return undefined;
  const weights = grower.constant(x.dtype, [outputs, channels / group, ...shape.kernel], false, 1 / Math.sqrt(fanIn));
  const bias = draw.chance(0.5) ? grower.constant(x.dtype, [outputs], false) : undefined;
  return grower.node(
    "Conv",
    [x, weights, bias],
    { ...shape.attributes, group: int(group) },
    { low: -4 * LIMIT, high: 4 * LIMIT, exact: false },
  );
}

function transposedConvolution(grower: Grower): unknown {
  const x = image(grower);
  const { draw } = grower;
  const channels = x.shape[1];
  const group = draw.chance(0.6) ? 1 : draw.pick(divisorsOf(channels));
  const kernel = x.shape.slice(2).map(() => draw.integer(1, 4));
  const strides = kernel.map(() => draw.integer(1, 3));
  const outputs = draw.integer(1, Math.max(1, Math.floor(12 / group)));
  const fanIn = (channels / group) * elementCount(kernel);
  const weights = grower.constant(x.dtype, [channels, outputs, ...kernel], false, 1 / Math.sqrt(fanIn));
  const bias = draw.chance(0.5) ? grower.constant(x.dtype, [outputs * group], false) : undefined;
  const attributes: Record<string, Attribute> = { kernel_shape: ints(kernel), strides: ints(strides), group: int(group) };
  if (draw.chance(0.4)) attributes.pads = ints([...kernel, ...kernel].map((size) => draw.integer(0, Math.floor((size - 1) / 2))));
  if (draw.chance(0.3)) attributes.output_padding = ints(strides.map((stride) => draw.integer(0, stride - 1)));
  return grower.node("ConvTranspose", [x, weights, bias], attributes, { low: -4 * LIMIT, high: 4 * LIMIT, exact: false });
}

function pool(op: string): Recipe {
  return (grower) => {
    const x = image(grower);
    const shape = window(grower, x, { dilated: op === "MaxPool" });
    if (shape === undefined) return undefined;
    const attributes = { ...shape.attributes };
    // With ceil_mode ONNX Runtime lets the last window start beyond the image; with borders of its own choice it has none.
    if (op === "AveragePool" && attributes.auto_pad === undefined) attributes.count_include_pad = int(grower.draw.integer(0, 1));
    if (op === "LpPool") attributes.p = int(2);
    const exact = op === "MaxPool" && x.exact;
    const most = op === "LpPool" ? LIMIT * Math.sqrt(elementCount(shape.kernel)) : 0;
    return grower.node(op, [x], attributes, { low: op === "LpPool" ? 0 : Math.min(0, x.low), high: Math.max(0, x.high, most), exact });
  };
}

function globalPool(op: string): Recipe {
  return (grower) => {
    const x = image(grower);
    if (op === "GlobalLpPool" && x.dtype !== "float32") return undefined;
    const most = op === "GlobalLpPool" ? LIMIT * Math.sqrt(elementCount(x.shape.slice(2))) : x.high;
    const low = op === "GlobalLpPool" ? 0 : x.low;
    return grower.node(op, [x], {}, { low, high: most, exact: op === "GlobalMaxPool" && x.exact });
  };
}

/** Integers in 8 bits, as quantised models hold them. */
function quantised(grower: Grower, rank: number): Value {
  return grower.find(({ dtype, shape }) => dtype === "uint8" && shape.length === rank) ?? grower.input("uint8", grower.shape(rank));
}

function integerConvolution(grower: Grower): unknown {
  const x = quantised(grower, 4);
  const kernel = x.shape.slice(2).map((size) => Math.min(size, grower.draw.integer(1, 3)));
  const outputs = grower.draw.integer(1, 8);
  const weights = grower.constant("uint8", [outputs, x.shape[1], ...kernel], true);
  const zeros = grower.draw.chance(0.5)
    ? [3, 5].map((zero) => grower.fixed(fromNumbers("uint8", [], [zero]), { low: zero, high: zero, exact: true }))
    : [];
  const most = 200 * 20 * x.shape[1] * elementCount(kernel);
  return grower.node("ConvInteger", [x, weights, ...zeros], { kernel_shape: ints(kernel) }, { low: -most, high: most, exact: true });
}

function integerProduct(grower: Grower): unknown {
  const x = quantised(grower, 2 + grower.firstAxis);
  const weights = grower.constant("uint8", [x.shape[x.shape.length - 1], grower.extent()], true);
  const most = 200 * 20 * x.shape[x.shape.length - 1];
  return grower.node("MatMulInteger", [x, weights], {}, { low: -most, high: most, exact: true });
}

function quantise(grower: Grower): unknown {
  const x = grower.find(({ dtype, exact }) => dtype === "float32" && exact);
  if (x === undefined) return undefined;
  // A power of two: division by it is exact, and the jump is where it is on every engine.
  const scale = grower.scalar("float32", grower.draw.pick([0.25, 0.5, 0.125]));
  const zero = grower.fixed(fromNumbers("uint8", [], [grower.draw.integer(0, 40)]), { low: 0, high: 40, exact: true });
  return grower.node("QuantizeLinear", [x, scale, zero], {}, { low: 0, high: 200, exact: true });
}

function dequantise(grower: Grower): unknown {
  const x = grower.find(({ dtype }) => dtype === "uint8" || dtype === "int8");
  if (x === undefined) return undefined;
  const scale = grower.fixed(fromNumbers("float32", [], [grower.draw.real(0.01, 0.1)]), { low: 0, high: 0.1, exact: false });
  const zero = grower.fixed(fromNumbers(x.dtype, [], [grower.draw.integer(0, 20)]), { low: 0, high: 20, exact: true });
  return grower.node("DequantizeLinear", [x, scale, zero], {}, { low: -22, high: 22, exact: false });
}

export const windows: Readonly<Record<string, Recipe>> = {
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  MaxPool: pool("MaxPool"),
  AveragePool: pool("AveragePool"),
  LpPool: pool("LpPool"),
  GlobalAveragePool: globalPool("GlobalAveragePool"),
  GlobalMaxPool: globalPool("GlobalMaxPool"),
  GlobalLpPool: globalPool("GlobalLpPool"),
  ConvInteger: integerConvolution,
  MatMulInteger: integerProduct,
  QuantizeLinear: quantise,
  DequantizeLinear: dequantise,
};
