/** Resizing of images, [N, height, width, channels]. */
import type { Attributes } from "../../../graph/graph.js";
import { toNumbers } from "../../../graph/tensor.js";
import { type Conversion, float, int, ints, type Rule, type Rules, range, text } from "./rule.js";

const channelsFirst = (node: Conversion, compute: (image: string) => string, image: string = node.inputs[0]): string =>
  node.transpose(compute(node.transpose(image, [0, 3, 1, 2])), [0, 2, 3, 1]);

type Coordinates = "align_corners" | "half_pixel" | "asymmetric";

function coordinatesOf(node: Conversion): Coordinates {
  if (node.bool("align_corners")) return "align_corners";
  return node.bool("half_pixel_centers") ? "half_pixel" : "asymmetric";
}

function resized(node: Conversion, image: string, attributes: Attributes): string {
  const all = { coordinate_transformation_mode: text(coordinatesOf(node)), axes: ints([2, 3]), ...attributes };
  return channelsFirst(node, (value) => node.emit("Resize", [value, "", "", node.int64(1)], all), image);
}

/** TensorFlow interpolates in FP32, whatever the image is in. */
const asFloat = (node: Conversion): string => node.cast(node.inputs[0], "float32");

const linear: Rule = (node) => [resized(node, asFloat(node), { mode: text("linear") })];

/** The element that a coordinate lies in, by coordinates: with half pixels, rounding up comes to that. */
const nearest: Rule = (node) => {
  const isDown = coordinatesOf(node) === "asymmetric";
  return [resized(node, node.inputs[0], { mode: text("nearest"), nearest_mode: text(isDown ? "floor" : "round_prefer_ceil") })];
};

/** Weights of an axis' elements in each output place: a row each. */
type Weights = readonly (readonly number[])[];

/** Rows and columns as sums with these weights: two matrix products. */
function weighted(node: Conversion, rows: Weights, columns: Weights): string {
  const matrix = (weights: Weights) => node.numbersOf("float32", [weights.length, weights[0].length], weights.flat());
  return channelsFirst(
    node,
    (image) => {
      const wide = node.emit("MatMul", [image, node.transpose(matrix(columns), [1, 0])]);
      return node.emit("MatMul", [matrix(rows), wide]);
    },
    asFloat(node),
  );
}

/** TensorFlow takes a cubic's weights from a table of so many places between two elements. */
const CUBIC_PLACES = 1024;

/** Keys' cubic with a = -0.5 and renormalised borders on half pixels, else with a = -0.75 and repeated borders. */
function cubicWeights(input: number, output: number, coordinates: Coordinates): { weights: Weights; isExact: boolean } {
  const isHalf = coordinates === "half_pixel";
  const a = isHalf ? -0.5 : -0.75;
  const near = (x: number) => ((a + 2) * x - (a + 3)) * x * x + 1;
  const far = (x: number) => ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
  const scale = coordinates === "align_corners" && output > 1 ? (input - 1) / (output - 1) : input / output;
  let isExact = true;
  const weights = range(0, output).map((place) => {
    const at = isHalf ? (place + 0.5) * scale - 0.5 : place * scale;
    const first = Math.floor(at);
    const offset = Math.round((at - first) * CUBIC_PLACES) / CUBIC_PLACES;
    isExact &&= offset === at - first;
    const row = new Array<number>(input).fill(0);
    for (const [index, weight] of [far(offset), near(offset), near(1 - offset), far(1 - offset)].entries()) {
      const source = first - 1 + index;
      const bound = Math.min(Math.max(source, 0), input - 1);
      if (!isHalf || bound === source) row[bound] += weight;
    }
    const sum = isHalf ? row.reduce((total, weight) => total + weight, 0) : 1;
    return row.map((weight) => weight / sum);
  });
  return { weights, isExact };
}

/** With a place of the table for each coordinate, as for twice the size, what Resize does. */
const cubic: Rule = (node) => {
  const coordinates = coordinatesOf(node);
  const [input, output] = [node.dims(node.inputs[0]).slice(1, 3), node.known(node.inputs[1])];
  const [rows, columns] = input.map((extent, axis) =>
    typeof extent === "number" && output ? cubicWeights(extent, toNumbers(output)[axis], coordinates) : undefined,
  );
  if (rows && columns && !(rows.isExact && columns.isExact)) return [weighted(node, rows.weights, columns.weights)];
  const isHalf = coordinates === "half_pixel";
  const attributes = { mode: text("cubic"), cubic_coeff_a: float(isHalf ? -0.5 : -0.75), exclude_outside: int(isHalf ? 1 : 0) };
  return [resized(node, asFloat(node), attributes)];
};

/** Each output place is the mean of the part of the axis that it covers. */
function areaWeights(input: number, output: number, isAligned: boolean): Weights {
  const scale = isAligned && output > 1 ? (input - 1) / (output - 1) : input / output;
  return range(0, output).map((place) => {
    const [start, end] = [place * scale, (place + 1) * scale];
    const row = new Array<number>(input).fill(0);
    for (let at = Math.floor(start); at < end; at++) {
      row[Math.min(at, input - 1)] += (Math.min(at + 1, end) - Math.max(at, start)) / scale;
    }
    return row;
  });
}

/** Extents of the image's rows and columns, of which weights are made. */
const imageExtents = (node: Conversion): number[] => node.staticDims(node.inputs[0], [1, 2]);

const area: Rule = (node) => {
  const [height, width] = imageExtents(node);
  const [rows, columns] = node.numbers(1);
  const isAligned = node.bool("align_corners");
  return [weighted(node, areaWeights(height, rows, isAligned), areaWeights(width, columns, isAligned))];
};

const sinc = (x: number): number => (Math.abs(x) < 1e-3 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const lanczos = (radius: number) => ({
  radius,
  weight: (x: number) => (Math.abs(x) > radius ? 0 : sinc(x) * sinc(x / radius)),
});

/** What each kernel of ScaleAndTranslate reaches, and its weight at a distance. */
const kernels: Readonly<Record<string, { readonly radius: number; weight(distance: number): number }>> = {
  lanczos1: lanczos(1),
  lanczos3: lanczos(3),
  lanczos5: lanczos(5),
  gaussian: { radius: 1.5, weight: (x) => (Math.abs(x) >= 1.5 ? 0 : Math.exp((-x * x) / (2 * 0.5 ** 2))) },
  box: { radius: 1, weight: (x) => (Math.abs(x) < 0.5 ? 1 : Math.abs(x) === 0.5 ? 0.5 : 0) },
  triangle: { radius: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  keyscubic: {
    radius: 2,
    weight: (x) => {
      const t = Math.abs(x);
      if (t >= 2) return 0;
      return t >= 1 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : (1.5 * t - 2.5) * t * t + 1;
    },
  },
  mitchellcubic: {
    radius: 2,
    weight: (x) => {
      const t = Math.abs(x);
      if (t >= 2) return 0;
      return t >= 1 ? (((-7 / 18) * t + 2) * t - 10 / 3) * t + 16 / 9 : ((7 / 6) * t - 2) * t * t + 8 / 9;
    },
  },
};

function kernelWeights(node: Conversion, axis: number, input: number, output: number): Weights {
  const kernel = kernels[node.text("kernel_type", "lanczos3")];
  if (kernel === undefined) throw node.refusal(`its kernel ${node.text("kernel_type", "")} is not known`);
  const step = 1 / node.numbers(2)[axis];
  const offset = -step * node.numbers(3)[axis];
  const stretch = node.bool("antialias", true) ? Math.max(step, 1) : 1;
  return range(0, output).map((place) => {
    const at = (place + 0.5) * step + offset;
    const reach = kernel.radius * stretch;
    const isOutside = at < 0 || at > input;
    const [first, last] = [Math.max(0, Math.ceil(at - reach - 0.5)), Math.min(input - 1, Math.floor(at + reach - 0.5))];
    const row = range(0, input).map((source) =>
      isOutside || source < first || source > last ? 0 : kernel.weight((source + 0.5 - at) / stretch),
    );
    const sum = row.reduce((total, weight) => total + weight, 0);
    return Math.abs(sum) < 1e-30 ? row : row.map((weight) => weight / sum);
  });
}

const scaleAndTranslate: Rule = (node) => {
  const extents = imageExtents(node);
  const [rows, columns] = node.numbers(1).map((output, axis) => kernelWeights(node, axis, extents[axis], output));
  return [weighted(node, rows, columns)];
};

/** Positions of `count` points between a box's borders along one axis (0 height, 1 width), as parts of the image: [boxes, count]. */
function points(node: Conversion, axis: number, count: number): string {
  const [start, end] = [axis, axis + 2].map((column) => node.slice(node.inputs[1], 1, column, column + 1));
  if (count === 1) return node.emit("Mul", [node.emit("Add", [start, end]), node.scalar(0.5, "float32")]);
  const steps = node.numbersOf(
    "float32",
    [1, count],
    range(0, count).map((step) => step / (count - 1)),
  );
  return node.emit("Add", [start, node.emit("Mul", [node.emit("Sub", [end, start]), steps])]);
}

/** Samples between elements: positions become ONNX's, from -1 to 1. `shape` is [boxes, rows, columns]. */
function sampledBetween(node: Conversion, [ys, xs]: readonly string[], shape: string): string {
  const grid = [xs, ys].map((list) => {
    const centred = node.emit("Sub", [node.emit("Mul", [list, node.scalar(2, "float32")]), node.scalar(1, "float32")]);
    return node.unsqueeze(node.emit("Expand", [centred, shape]), [3]);
  });
  const sources = node.emit("Gather", [asFloat(node), node.inputs[2]], { axis: int(0) });
  const attributes = { mode: text("linear"), padding_mode: text("border"), align_corners: int(1) };
  return channelsFirst(node, (image) => node.emit("GridSample", [image, node.concat(grid, 3)], attributes), sources);
}

/** The nearest elements, halves rounded up. */
function sampledNearest(node: Conversion, positions: readonly string[], shape: string): string {
  const places = positions.map((list, index) => {
    const extent = node.emit("Sub", [node.shapeOf([node.extent(node.inputs[0], 1 + index)]), node.integers([1])]);
    const last = node.cast(extent, "float32");
    const rounded = node.emit("Floor", [node.emit("Add", [node.emit("Mul", [list, last]), node.scalar(0.5, "float32")])]);
    return node.cast(node.emit("Max", [node.emit("Min", [rounded, last]), node.scalar(0, "float32")]), "int64");
  });
  const owners = node.unsqueeze(node.int64(2), [1, 2]);
  const indices = [owners, ...places].map((list) => node.unsqueeze(node.emit("Expand", [list, shape]), [3]));
  return node.emit("GatherND", [asFloat(node), node.concat(indices, 3)]);
}

/**
 * A box [y1, x1, y2, x2] of the image, from 0 to 1, for each row of boxes, at `crop_size` points between its borders; a point outside
 * the image is `extrapolation_value`.
 */
const cropAndResize: Rule = (node) => {
  const size = node.numbers(3);
  const isInside = (list: string): string =>
    node.emit("And", [
      node.emit("GreaterOrEqual", [list, node.scalar(0, "float32")]),
      node.emit("LessOrEqual", [list, node.scalar(1, "float32")]),
    ]);
  const positions = [node.unsqueeze(points(node, 0, size[0]), [2]), node.unsqueeze(points(node, 1, size[1]), [1])];
  const inside = node.emit("And", positions.map(isInside));
  const shape = node.emit("Shape", [inside]);
  const sample = node.text("method", "bilinear") === "nearest" ? sampledNearest : sampledBetween;
  const outside = node.scalar(node.float("extrapolation_value", 0), "float32");
  return [node.emit("Where", [node.unsqueeze(inside, [3]), sample(node, positions, shape), outside])];
};

export const resizeRules: Rules = {
  CropAndResize: cropAndResize,
  ResizeArea: area,
  ResizeBicubic: cubic,
  ResizeBilinear: linear,
  ResizeNearestNeighbor: nearest,
  ScaleAndTranslate: scaleAndTranslate,
};
