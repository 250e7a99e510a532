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
    if (scales) result[axis] = { output: value === 1 ? size : extent([size], ([n]) => Math.floor(Math.fround(n * value))), scale: value };
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

/** The input coordinate of an output place, in FP32 as ONNX Runtime computes it. */
function coordinate(transform: string, place: number, scale: number, input: number, output: number): number {
  switch (transform) {
    case "asymmetric":
      return round(place / scale);
    case "pytorch_half_pixel":
      return output > 1 ? round(round((place + 0.5) / scale) - 0.5) : 0;
    case "align_corners":
      return output === 1 ? 0 : round(round(place * (input - 1)) / (output - 1));
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

/** Weights of the four neighbours from floor(position) - 1 on (Keys' cubic convolution). */
function cubicWeights(fraction: number, a: number): number[] {
  const near = (t: number): number => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t: number): number => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return [far(fraction + 1), near(fraction), near(1 - fraction), far(2 - fraction)];
}

/** Samples of one output place: input index (maybe outside) and weight. */
function samples(use: OperatorUse, position: number, input: number): { index: number; weight: number }[] {
  const mode = word(use, "mode");
  if (mode === "nearest") return [{ index: nearest(word(use, "nearest_mode"), position), weight: 1 }];
  if (mode === "linear") {
    const inside = Math.min(Math.max(position, 0), input - 1);
    const low = Math.min(Math.floor(inside), input - 1);
    return [
      { index: low, weight: 1 - (inside - low) },
      { index: low + 1, weight: inside - low },
    ];
  }
  const low = Math.floor(position);
  const weights = cubicWeights(position - low, floatAttribute(use.attributes, "cubic_coeff_a", -0.75));
  const list = weights.map((weight, tap) => ({ index: low - 1 + tap, weight }));
  if (intAttribute(use.attributes, "exclude_outside", 0) === 0) return list;
  const inside = list.map(({ index, weight }) => ({ index, weight: index >= 0 && index < input ? weight : 0 }));
  const sum = inside.reduce((total, sample) => total + sample.weight, 0);
  return inside.map(({ index, weight }) => ({ index, weight: weight / sum }));
}

/** The taps of an axis: y[i] = sum over taps of weight[i] x[index[i]]. Undefined: the axis stays as it is. */
export function axisTaps(use: OperatorUse, axis: number): readonly Tap[] | undefined {
  const input = staticShape(use, 0)[axis];
  const { output, scale } = axisScales(use)?.[axis] ?? { output: OPEN };
  if (typeof output === "string" || scale === undefined) throw new Error(`${use.op}: open extents`);
  // ONNX Runtime copies where no extent changes, whatever the scales are.
  const unchanged = axisScales(use)?.every((other, index) => other.output === staticShape(use, 0)[index]) ?? false;
  if (unchanged || (scale === 1 && output === input)) return undefined;
  const transform = word(use, "coordinate_transformation_mode");
  const places = Array.from({ length: output }, (_, place) => samples(use, coordinate(transform, place, scale, input, output), input));
  return (places[0] ?? []).map((_, tap) => ({
    indices: places.map((list) => Math.min(Math.max(list[tap].index, 0), input - 1)),
    weights: places.map((list) => list[tap].weight),
  }));
}

/** Why no mode's samples can be listed: outputs too long, or samples that depend on more than the place on one axis. */
export function refuseSampling(use: OperatorUse): Reason | undefined {
  const long = resizeShape(use)?.find((size) => Number(size) > LONGEST_LISTED_AXIS);
  if (long !== undefined) return reason("size", "output", long, `axes of at most ${LONGEST_LISTED_AXIS}`);
  if (intAttribute(use.attributes, "antialias", 0) !== 0) return reason("attribute", "antialias", 1, "antialias 0");
  const transform = word(use, "coordinate_transformation_mode");
  return transform === "tf_crop_and_resize" ? reason("attribute", "coordinate_transformation_mode", transform, "half_pixel") : undefined;
}

function nearestMaps(use: OperatorUse): AxisMap[] {
  return staticShape(use, 0).map((size, axis) => {
    const taps = axisTaps(use, axis);
    return taps === undefined ? [run(size)] : compress(taps[0]?.indices ?? []);
  });
}

/** Coordinates that rounding in the last bit moves over the edge, so that no two implementations agree; whole scales are safe. */
const delicate = ["half_pixel_symmetric floor", "half_pixel_symmetric ceil", "asymmetric round_prefer_ceil"];

function refuseResize(use: OperatorUse): Reason | undefined {
  const mode = word(use, "mode");
  const unsampled = refuseSampling(use);
  if (unsampled !== undefined) return unsampled;
  if (mode !== "nearest") return reason("attribute", "mode", mode, "nearest");
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
      movements: resizeMovements,
      refuse: refuseResize,
    }),
    exactness: "fp32",
  },
];
