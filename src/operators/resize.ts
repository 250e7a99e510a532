/** Resize: where each output place of an axis samples the input, for every mode; nearest is data movement, linear and cubic are decomposed. */
import { type Dim, floatAttribute, intAttribute, intsAttribute, stringAttribute } from "../graph/graph.js";
import { toNumbers } from "../graph/tensor.js";
import { movementRecord, typed } from "./movement.js";
import { type AxisMap, compress, LONGEST_LISTED_AXIS, MOST_PIECES, pieceCount, run, separable } from "./pieces.js";
import type { Movement, OperatorRecord, OperatorUse, Reason } from "./record.js";
import {
  attributeFault,
  constantInts,
  extent,
  float,
  inputFault,
  int,
  ints,
  normalAxes,
  OPEN,
  reason,
  type Shape,
  shapeOf,
  staticShape,
  text,
} from "./shapes.js";

const words = {
  mode: ["nearest", "linear", "cubic"],
  coordinate_transformation_mode: [
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
  ],
  nearest_mode: ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
  keep_aspect_ratio_policy: ["stretch", "not_larger", "not_smaller"],
} as const;

/** One of an attribute's words, the first by default. */
function word(use: OperatorUse, name: keyof typeof words): string {
  const known: readonly string[] = words[name];
  const value = stringAttribute(use.attributes, name, known[0]);
  if (!known.includes(value)) throw attributeFault(use, name, value, `use ${known.join(", ")}`);
  return value;
}

interface AxisScale {
  readonly output: Dim;
  /** Undefined where it is open. */
  readonly scale?: number;
  /** Output extent as the scale gives it, before it is rounded down; as `output` if absent. */
  readonly length?: number;
}

/** Numbers of a constant float input; undefined where it is absent, empty or not constant. */
function floats(use: OperatorUse, index: number): readonly number[] | undefined {
  const tensor = use.constants[index];
  if (tensor === undefined || tensor.shape.includes(0)) return undefined;
  if (tensor.dtype === "string" || tensor.shape.length !== 1) throw inputFault(use, index, "a list of numbers");
  return toNumbers(tensor);
}

/** Output extent and scale of each axis. Undefined: the rank is unknown. */
function axisScales(use: OperatorUse): AxisScale[] | undefined {
  const input = shapeOf(use, 0);
  if (input === undefined) return undefined;
  const all = input.map((_, axis) => axis);
  const axes = normalAxes(use, "axes", intsAttribute(use.attributes, "axes") ?? all, input.length);
  const result: AxisScale[] = input.map((output) => ({ output, scale: 1 }));
  const scales = floats(use, 2);
  const sizes = scales === undefined && use.inputs[3] ? constantInts(use, 3) : undefined;
  const given = scales ?? sizes;
  if (given === undefined) {
    for (const axis of axes) result[axis] = { output: OPEN };
    return result;
  }
  const index = scales ? 2 : 3;
  if (given.length !== axes.length || given.some((value) => !(value > 0) || value > 2 ** 40)) {
    throw inputFault(use, index, `${axes.length} values above 0, not [${given.join(", ")}]`);
  }
  for (const [position, axis] of axes.entries()) {
    const size = input[axis];
    const value = given[position];
    const length = typeof size === "number" ? Math.fround(size * value) : undefined;
    if (scales)
      result[axis] = { output: value === 1 ? size : extent([size], ([n]) => Math.floor(Math.fround(n * value))), scale: value, length };
    else result[axis] = { output: value, ...(typeof size === "number" ? { scale: Math.fround(value / size) } : {}) };
  }
  const policy = word(use, "keep_aspect_ratio_policy");
  if (sizes === undefined || policy === "stretch") return result;
  const ratios = axes.map((axis) => result[axis].scale);
  if (ratios.some((ratio) => ratio === undefined)) return result.map((scale, axis) => (axes.includes(axis) ? { output: OPEN } : scale));
  const pick = policy === "not_larger" ? Math.min : Math.max;
  const scale = pick(...ratios.map((ratio) => ratio ?? 1));
  for (const axis of axes) result[axis] = { output: extent([input[axis]], ([n]) => Math.round(Math.fround(n * scale))), scale };
  return result;
}

function resizeShape(use: OperatorUse): Shape | undefined {
  word(use, "mode");
  return axisScales(use)?.map((axis) => axis.output);
}

const round = Math.fround;

/** An axis that is sampled; all in FP32, as ONNX Runtime computes. */
interface Axis {
  readonly input: number;
  readonly output: number;
  readonly scale: number;
  /** Output extent before it is rounded down. */
  readonly length: number;
  /** Start and end of the region of interest, in parts of the axis. */
  readonly region: readonly [number, number];
}

/** The input coordinate of an output place. */
function coordinate(transform: string, place: number, axis: Axis): number {
  const { input, output, scale, length } = axis;
  switch (transform) {
    case "asymmetric":
      return round(place / scale);
    case "pytorch_half_pixel":
      return output > 1 ? round(round((place + 0.5) / scale) - 0.5) : 0;
    case "align_corners":
      return length === 1 ? 0 : round(round(place * (input - 1)) / round(length - 1));
    case "tf_crop_and_resize": {
      const [start, end] = axis.region;
      if (length === 1) return round(0.5 * (start + end) * (input - 1));
      return round(round(start * (input - 1)) + round(round(place * round(end - start) * (input - 1)) / round(length - 1)));
    }
    case "half_pixel_symmetric": {
      const adjustment = round(output / round(scale * input));
      const offset = round((input / 2) * round(1 - adjustment));
      return round(round(offset + round((place + 0.5) / scale)) - 0.5);
    }
    default:
      return round(round((place + 0.5) / scale) - 0.5);
  }
}

function nearest(mode: string, position: number): number {
  switch (mode) {
    case "floor":
      return Math.floor(position);
    case "ceil":
      return Math.ceil(position);
    case "round_prefer_ceil":
      return Math.floor(position + 0.5);
    default:
      return Math.ceil(position - 0.5);
  }
}

/** One weighted sample of the input for each output place of an axis. */
export interface Tap {
  readonly indices: readonly number[];
  readonly weights: readonly number[];
}

/** How an axis is made: y[i] = sum over taps of weight[i] x[index[i]], and where it lies outside the input. */
export interface Sampling {
  readonly taps: readonly Tap[];
  /** Places that take the extrapolation value; undefined: none. */
  readonly outside?: readonly boolean[];
}

/** Keys' cubic convolution. */
function cubic(distance: number, a: number): number {
  const t = Math.abs(distance);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/** The kernels, by mode: how far each reaches, and its value. */
function kernelOf(use: OperatorUse): { reach: number; weight: (distance: number) => number } {
  const a = floatAttribute(use.attributes, "cubic_coeff_a", -0.75);
  if (word(use, "mode") === "cubic") return { reach: 2, weight: (distance) => cubic(distance, a) };
  return { reach: 1, weight: (distance) => Math.max(0, 1 - Math.abs(distance)) };
}

/** Samples of one output place: input index (maybe outside) and weight. With antialias a kernel widens as the tensor shrinks. */
function samples(use: OperatorUse, position: number, { input, scale }: Axis): { index: number; weight: number }[] {
  if (word(use, "mode") === "nearest") return [{ index: nearest(word(use, "nearest_mode"), position), weight: 1 }];
  const antialias = intAttribute(use.attributes, "antialias", 0) !== 0;
  const { reach, weight } = kernelOf(use);
  const narrow = antialias ? Math.min(scale, 1) : 1;
  const inside = reach === 1 && !antialias ? Math.min(Math.max(position, 0), input - 1) : position;
  // Of an antialiased place on an element, that element is the last one on the left.
  const low = antialias ? Math.ceil(inside) - 1 : Math.floor(inside);
  const first = Math.floor(-reach / narrow) + 1;
  const list = Array.from({ length: 2 - 2 * first }, (_, tap) => {
    const index = low + first + tap;
    return { index, weight: weight((index - inside) * narrow) };
  });
  const excludes = reach === 2 && intAttribute(use.attributes, "exclude_outside", 0) !== 0;
  const kept = excludes ? list.map(({ index, weight }) => ({ index, weight: index >= 0 && index < input ? weight : 0 })) : list;
  if (!excludes && !antialias) return list;
  const sum = kept.reduce((total, sample) => total + sample.weight, 0);
  return kept.map((sample) => ({ index: sample.index, weight: sample.weight / sum }));
}

/** The sampling of an axis. Undefined: it stays as it is. */
export function axisSampling(use: OperatorUse, axis: number): Sampling | undefined {
  const shape = staticShape(use, 0);
  const input = shape[axis];
  const scales = axisScales(use);
  const { output, scale, length } = scales?.[axis] ?? { output: OPEN };
  if (typeof output === "string" || scale === undefined) throw new Error(`${use.op}: open extents`);
  const transform = word(use, "coordinate_transformation_mode");
  const crops = transform === "tf_crop_and_resize";
  // ONNX Runtime copies where no extent changes, whatever the scales are.
  const unchanged = scales?.every((other, index) => other.output === shape[index]) ?? false;
  if (!crops && (unchanged || (scale === 1 && output === input))) return undefined;
  const own: Axis = { input, output, scale, length: length ?? output, region: regionOf(use, axis, shape.length) };
  const positions = Array.from({ length: output }, (_, place) => coordinate(transform, place, own));
  const places = positions.map((position) => samples(use, position, own));
  const outside = positions.map((position) => crops && (position < 0 || position > input - 1));
  const taps = (places[0] ?? []).map((_, tap) => ({
    indices: places.map((list) => Math.min(Math.max(list[tap].index, 0), input - 1)),
    weights: places.map((list) => list[tap].weight),
  }));
  return outside.includes(true) ? { taps, outside } : { taps };
}

/** The region of interest along an axis: all starts, then all ends, of the axes that are resized. */
function regionOf(use: OperatorUse, axis: number, rank: number): [number, number] {
  const region = floats(use, 1);
  const axes =
    intsAttribute(use.attributes, "axes")?.map((each) => (each < 0 ? each + rank : each)) ??
    Array.from({ length: rank }, (_, each) => each);
  const place = axes.indexOf(axis);
  if (region === undefined || place < 0) return [0, 1];
  if (region.length !== 2 * axes.length) throw inputFault(use, 1, `${2 * axes.length} values: starts, then ends`);
  return [region[place], region[axes.length + place]];
}

/** Why no mode's samples can be listed. */
export function refuseSampling(use: OperatorUse): Reason | undefined {
  const long = resizeShape(use)?.find((size) => Number(size) > LONGEST_LISTED_AXIS);
  return long === undefined ? undefined : reason("size", "output", long, `axes of at most ${LONGEST_LISTED_AXIS}`);
}

/** Whether it is data movement alone: each element of the output is one of the input. */
export function isMovement(use: OperatorUse): boolean {
  return word(use, "mode") === "nearest" && word(use, "coordinate_transformation_mode") !== "tf_crop_and_resize";
}

function nearestMaps(use: OperatorUse): AxisMap[] {
  return staticShape(use, 0).map((size, axis) => {
    const sampling = axisSampling(use, axis);
    return sampling === undefined ? [run(size)] : compress(sampling.taps[0]?.indices ?? []);
  });
}

/** Coordinates that rounding in the last bit moves over the edge, so that no two implementations agree; whole scales are safe. */
const delicate = ["half_pixel_symmetric floor", "half_pixel_symmetric ceil", "asymmetric round_prefer_ceil"];

function refuseResize(use: OperatorUse): Reason | undefined {
  const mode = word(use, "mode");
  const unsampled = refuseSampling(use);
  if (unsampled !== undefined) return unsampled;
  if (!isMovement(use)) return reason("attribute", "mode", mode, "nearest");
  const axes = axisScales(use);
  if (axes === undefined || axes.some(({ output, scale }) => typeof output === "string" || scale === undefined))
    return reason("not-constant", "scales and sizes", "computed at run time", "constants");
  const rounding = `${word(use, "coordinate_transformation_mode")} ${word(use, "nearest_mode")}`;
  const fractional = axisScales(use)?.some(({ scale }) => !Number.isInteger(scale)) ?? true;
  if (fractional && delicate.includes(rounding)) return reason("attribute", "nearest_mode", rounding, "asymmetric floor, or whole scales");
  const count = pieceCount(nearestMaps(use));
  return count > MOST_PIECES ? reason("irregular", "scales", `${count} pieces`, `at most ${MOST_PIECES} strided pieces`) : undefined;
}

function resizeMovements(use: OperatorUse): Movement[] {
  const shape = (resizeShape(use) ?? []).map(Number);
  return [{ output: 0, pieces: separable(0, staticShape(use, 0), shape, nearestMaps(use)) }];
}

export const resizeRecords: readonly OperatorRecord[] = [
  {
    ...movementRecord({
      name: "Resize",
      since: 19,
      inputs: [1, 4],
      attributes: {
        antialias: int(0),
        axes: ints,
        coordinate_transformation_mode: text("half_pixel"),
        cubic_coeff_a: float(-0.75),
        exclude_outside: int(0),
        extrapolation_value: float(0),
        keep_aspect_ratio_policy: text("stretch"),
        mode: text("nearest"),
        nearest_mode: text("round_prefer_floor"),
      },
      parameters: [1, 2, 3],
      summary: "sampled at another resolution: nearest, linear or cubic",
      infer: (use) => typed(use, resizeShape(use)),
      items: "by axis",
      movements: resizeMovements,
      refuse: refuseResize,
    }),
    exactness: "fp32",
  },
];
