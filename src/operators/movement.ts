/** Operators that only move elements: slices, joins, permutations, repetitions, padding, gathering by constants. */
import { type Dim, intAttribute, intsAttribute, stringAttribute, type TensorType } from "../graph/graph.js";
import { elementCount, isFloat, numberAt } from "../graph/tensor.js";
import { type AxisMap, compress, LONGEST_LISTED_AXIS, MOST_PIECES, pieceCount, repeated, run, separable, transposed } from "./pieces.js";
import { movedTypes } from "./pointwise.js";
import type { AttributeSpec, ItemOrder, Movement, OperatorRecord, OperatorUse, Reason } from "./record.js";
import {
  attributeFault,
  axisAttribute,
  broadcast,
  constantInts,
  dtypeOf,
  extent,
  inputFault,
  int,
  ints,
  mergeDims,
  normalAxes,
  OPEN,
  productOf,
  reason,
  required,
  requireRank,
  requireSameType,
  type Shape,
  shapeOf,
  shapeText,
  staticShape,
  text,
} from "./shapes.js";

export interface MovementForm {
  readonly name: string;
  readonly since: number;
  readonly inputs: readonly [number, number];
  readonly attributes?: Readonly<Record<string, AttributeSpec>>;
  readonly parameters?: readonly number[];
  readonly types?: OperatorRecord["types"];
  readonly inputTypes?: OperatorRecord["inputTypes"];
  readonly isConstant?: true;
  readonly summary: string;
  infer(use: OperatorUse): readonly TensorType[];
  readonly items?: ItemOrder;
  movements?(use: OperatorUse): readonly Movement[];
  refuse?(use: OperatorUse): Reason | undefined;
}

export function movementRecord(form: MovementForm): OperatorRecord {
  const { inputs, items, movements, ...rest } = form;
  return {
    domain: "",
    attributes: {},
    ...rest,
    ...(movements ? { types: movedTypes } : {}),
    minInputs: inputs[0],
    maxInputs: inputs[1],
    ...(movements ? { lowering: { kind: "movement" as const, items, movements } } : {}),
    flops: () => 0,
    exactness: "exact",
  };
}

export const typed = (use: OperatorUse, shape: Shape | undefined): TensorType[] => [{ dtype: dtypeOf(use, 0), shape }];
const numeric = (types: readonly TensorType[]): number[] => (types[0].shape ?? []).map(Number);

/** Maps of all axes, where the axis maps are known. `-` axes are whole. */
const mapsOf = (shape: readonly number[], special: ReadonlyMap<number, AxisMap>): AxisMap[] =>
  shape.map((size, axis) => special.get(axis) ?? [run(size)]);

// Transpose.

function permutation(use: OperatorUse, rank: number): readonly number[] {
  const perm = intsAttribute(use.attributes, "perm") ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  if (perm.length !== rank) throw attributeFault(use, "perm", `[${perm.join(", ")}]`, `name each of the ${rank} axes once`);
  return normalAxes(use, "perm", perm, rank);
}

// Concat and Split.

function concatShape(use: OperatorUse): Shape | undefined {
  const shapes = use.inputs.map((_, index) => shapeOf(use, index));
  for (let index = 1; index < shapes.length; index++) requireSameType(use, 0, index);
  const rank = shapes.find((shape) => shape !== undefined)?.length;
  if (rank === undefined) return undefined;
  const axis = axisAttribute(use, 0, rank);
  return Array.from({ length: rank }, (_, dimension) => {
    let joined: Dim = shapes[0]?.[dimension] ?? OPEN;
    for (const [index, shape] of shapes.entries()) {
      requireRank(use, index, rank, rank);
      const own: Dim = shape?.[dimension] ?? OPEN;
      if (index === 0) continue;
      const merged: Dim | undefined = dimension === axis ? extent([joined, own], ([a, b]) => a + b) : mergeDims(joined, own);
      if (merged === undefined) throw inputFault(use, index, `of extent ${joined} on axis ${dimension}`);
      joined = merged;
    }
    return joined;
  });
}

function concatMovements(use: OperatorUse): Movement[] {
  const shape = (concatShape(use) ?? []).map(Number);
  const axis = axisAttribute(use, 0, shape.length);
  let start = 0;
  const pieces = use.inputs.flatMap((_, index) => {
    const own = staticShape(use, index);
    const special = new Map([[axis, [run(own[axis], 0, 1, start)]]]);
    start += own[axis];
    return separable(index, own, shape, mapsOf(own, special));
  });
  return [{ output: 0, pieces }];
}

/** Extents of the outputs on the split axis; undefined where they are open. */
function splitSizes(use: OperatorUse, whole: Dim): readonly number[] | undefined {
  const given = constantInts(use, 1);
  const count = intAttribute(use.attributes, "num_outputs", use.outputCount);
  if (use.inputs[1] !== undefined && given === undefined) return undefined;
  if (given !== undefined) {
    const fits = typeof whole === "string" || given.reduce((sum, size) => sum + size, 0) === whole;
    if (given.length !== use.outputCount || given.some((size) => size < 0) || !fits) {
      throw inputFault(use, 1, `${use.outputCount} extents that sum to ${whole}, not [${given.join(", ")}]`);
    }
    return given;
  }
  if (count !== use.outputCount) throw attributeFault(use, "num_outputs", count, `the node has ${use.outputCount} outputs`);
  if (typeof whole === "string") return undefined;
  const share = Math.ceil(whole / count);
  if (share * (count - 1) > whole) throw attributeFault(use, "num_outputs", count, `axis of ${whole} elements can't be split so`);
  return Array.from({ length: count }, (_, index) => (index < count - 1 ? share : whole - share * (count - 1)));
}

function inferSplit(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  const dtype = dtypeOf(use, 0);
  if (input === undefined) return Array.from({ length: use.outputCount }, () => ({ dtype }));
  const axis = axisAttribute(use, 0, input.length);
  const sizes = splitSizes(use, input[axis]);
  return Array.from({ length: use.outputCount }, (_, output) => ({
    dtype,
    shape: input.map((dim, index) => (index === axis ? (sizes?.[output] ?? OPEN) : dim)),
  }));
}

function splitMovements(use: OperatorUse): Movement[] {
  const input = staticShape(use, 0);
  const axis = axisAttribute(use, 0, input.length);
  let start = 0;
  return inferSplit(use).map((type, output) => {
    const shape = numeric([type]);
    const special = new Map([[axis, [run(shape[axis], start)]]]);
    start += shape[axis];
    return { output, pieces: separable(0, input, shape, mapsOf(shape, special)) };
  });
}

// Slice.

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

function ranges(use: OperatorUse, rank: number): Range[] | undefined {
  const [starts, ends] = [constantInts(use, 1), constantInts(use, 2)];
  const axes = use.inputs[3] ? constantInts(use, 3) : starts?.map((_, index) => index);
  const steps = use.inputs[4] ? constantInts(use, 4) : starts?.map(() => 1);
  if (!starts || !ends || !axes || !steps) return undefined;
  if ([ends, axes, steps].some((list) => list.length !== starts.length)) throw inputFault(use, 2, `${starts.length} values, as the starts`);
  if (steps.includes(0)) throw inputFault(use, 4, "without zeros");
  return normalAxes(use, "axes", axes, rank).map((axis, index) => ({ axis, start: starts[index], end: ends[index], step: steps[index] }));
}

/** Ends that mean "to the very end" whatever the sign of the step, as ONNX Runtime reads them. */
const farthest = [2 ** 31 - 1, 2 ** 63];

/** First index and count of a range on an axis of known extent. */
function resolve({ start, end, step }: Range, size: number): { first: number; count: number } {
  const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value < 0 ? value + size : value, low), high);
  const first = step > 0 ? clamp(start, 0, size) : clamp(start, 0, size - 1);
  const last = step > 0 ? clamp(end, 0, size) : farthest.includes(end) ? -1 : clamp(end, -1, size - 1);
  return { first, count: size === 0 ? 0 : Math.max(0, Math.ceil((last - first) / step)) };
}

function sliceShape(use: OperatorUse): Shape | undefined {
  const input = shapeOf(use, 0);
  if (input === undefined) return undefined;
  const list = ranges(use, input.length);
  if (list === undefined) return input.map(() => OPEN);
  const shape = [...input];
  for (const range of list) {
    const size = shape[range.axis];
    const whole = range.start === 0 && range.step === 1 && range.end >= 2 ** 31 - 1;
    shape[range.axis] = typeof size === "number" ? resolve(range, size).count : whole ? size : OPEN;
  }
  return shape;
}

function sliceMovements(use: OperatorUse): Movement[] {
  const input = staticShape(use, 0);
  const special = new Map<number, AxisMap>();
  for (const range of ranges(use, input.length) ?? []) {
    const { first, count } = resolve(range, input[range.axis]);
    special.set(range.axis, [run(count, first, range.step)]);
  }
  return [{ output: 0, pieces: separable(0, input, (sliceShape(use) ?? []).map(Number), mapsOf(input, special)) }];
}

// Pad.

const padModes = ["constant", "reflect", "edge", "wrap"];

function padding(use: OperatorUse, rank: number): [number, number][] | undefined {
  const pads = constantInts(use, 1);
  const mode = stringAttribute(use.attributes, "mode", "constant");
  if (!padModes.includes(mode)) throw attributeFault(use, "mode", mode, `use ${padModes.join(", ")}`);
  const axes = use.inputs[3] ? constantInts(use, 3) : Array.from({ length: rank }, (_, axis) => axis);
  if (pads === undefined || axes === undefined) return undefined;
  if (pads.length !== 2 * axes.length) throw inputFault(use, 1, `${2 * axes.length} values: begins, then ends`);
  const result = Array.from({ length: rank }, (): [number, number] => [0, 0]);
  for (const [index, axis] of normalAxes(use, "axes", axes, rank).entries()) result[axis] = [pads[index], pads[axes.length + index]];
  return result;
}

function padShape(use: OperatorUse): Shape | undefined {
  const input = shapeOf(use, 0);
  if (input === undefined) return undefined;
  const pads = padding(use, input.length);
  return input.map((dim, axis): Dim => {
    if (pads === undefined) return OPEN;
    const [begin, end] = pads[axis];
    if (begin === 0 && end === 0) return dim;
    return extent([dim], ([size]) => {
      if (size + begin + end < 0) throw inputFault(use, 1, `pads that leave axis ${axis} an extent of 0 or more`);
      return size + begin + end;
    });
  });
}

/** The index that a place shows, of an axis to which a mode other than `constant` adds borders. */
function paddedIndex(mode: string, place: number, size: number): number {
  if (mode === "edge") return Math.min(Math.max(place, 0), size - 1);
  if (mode === "wrap") return ((place % size) + size) % size;
  const period = Math.max(1, 2 * (size - 1));
  const folded = ((place % period) + period) % period;
  return folded < size ? folded : period - folded;
}

function padMaps(use: OperatorUse): AxisMap[] {
  const input = staticShape(use, 0);
  const mode = stringAttribute(use.attributes, "mode", "constant");
  const pads = padding(use, input.length) ?? [];
  return input.map((size, axis) => {
    const [begin, end] = pads[axis];
    if (mode === "constant" || (begin <= 0 && end <= 0)) {
      const skipped = Math.max(0, -begin);
      return [run(Math.max(0, size - skipped - Math.max(0, -end)), skipped, 1, Math.max(0, begin))];
    }
    // What is cut off at one end is not shown by the border at the other.
    const [cut, kept] = [Math.max(0, -begin), size + Math.min(0, begin) + Math.min(0, end)];
    return compress(Array.from({ length: size + begin + end }, (_, index) => cut + paddedIndex(mode, index - Math.max(0, begin), kept)));
  });
}

function padMovements(use: OperatorUse): Movement[] {
  const input = staticShape(use, 0);
  const value = use.constants[2];
  const pieces = separable(0, input, (padShape(use) ?? []).map(Number), padMaps(use));
  return [{ output: 0, fill: value ? numberAt(value, 0) : 0, pieces }];
}

/** Why an axis that is mapped index by index is too much. */
function refuseLong(use: OperatorUse, outputs: readonly TensorType[], maps: () => readonly AxisMap[]): Reason | undefined {
  const long = numeric(outputs).find((size) => size > LONGEST_LISTED_AXIS);
  if (long !== undefined) return reason("size", use.op, long, `axes of at most ${LONGEST_LISTED_AXIS}`);
  const count = pieceCount(maps());
  return count > MOST_PIECES ? reason("irregular", use.op, `${count} pieces`, `at most ${MOST_PIECES} strided pieces`) : undefined;
}

function refusePad(use: OperatorUse): Reason | undefined {
  const mode = stringAttribute(use.attributes, "mode", "constant");
  if (mode === "constant") return undefined;
  const input = staticShape(use, 0);
  const reach = mode === "reflect" ? 0 : Number.POSITIVE_INFINITY;
  const far = padding(use, input.length)?.findIndex((pads, axis) => Math.max(...pads) >= input[axis] + reach) ?? -1;
  if (far >= 0) return reason("attribute", "pads", `more than axis ${far} has`, `${mode} padding of less than the axis`);
  return refuseLong(use, typed(use, padShape(use)), () => padMaps(use));
}

// Expand and Tile.

function expandShape(use: OperatorUse): Shape | undefined {
  const target = constantInts(use, 1);
  if (target?.some((size) => size < 0)) throw inputFault(use, 1, `extents of 0 or more, not ${shapeText(target)}`);
  if (target !== undefined) return broadcast(use, [shapeOf(use, 0), target]);
  const length = shapeOf(use, 1)?.[0];
  const rank = shapeOf(use, 0)?.length;
  if (rank === undefined || typeof length !== "number" || length > 64) return undefined;
  return new Array<Dim>(Math.max(rank, length)).fill(OPEN);
}

function expandMovements(use: OperatorUse): Movement[] {
  const shape = (expandShape(use) ?? []).map(Number);
  const own = staticShape(use, 0);
  const input = [...new Array<number>(shape.length - own.length).fill(1), ...own];
  const maps = shape.map((size, axis) => [input[axis] === size ? run(size) : run(size, 0, 0)]);
  return [{ output: 0, pieces: separable(0, input, shape, maps) }];
}

function repeats(use: OperatorUse): readonly number[] | undefined {
  const counts = constantInts(use, 1);
  const rank = shapeOf(use, 0)?.length;
  if (counts === undefined || rank === undefined) return undefined;
  if (counts.length !== rank || counts.some((count) => count < 0)) throw inputFault(use, 1, `${rank} counts of 0 or more`);
  return counts;
}

function tileShape(use: OperatorUse): Shape | undefined {
  const counts = repeats(use);
  return shapeOf(use, 0)?.map((dim, axis) => (counts === undefined ? OPEN : productOf([dim, counts[axis]])));
}

function tileMovements(use: OperatorUse): Movement[] {
  const input = staticShape(use, 0);
  const counts = repeats(use) ?? [];
  const maps = input.map((size, axis) => [repeated(size, counts[axis])]);
  return [{ output: 0, pieces: separable(0, input, (tileShape(use) ?? []).map(Number), maps) }];
}

// Gather.

function gatherShape(use: OperatorUse): Shape | undefined {
  requireRank(use, 0, 1);
  if (isFloat(dtypeOf(use, 1))) throw inputFault(use, 1, "int64 or int32");
  const [data, indices] = [shapeOf(use, 0), shapeOf(use, 1)];
  if (data === undefined || indices === undefined) return undefined;
  const axis = axisAttribute(use, 0, data.length);
  gatherIndices(use, data[axis]);
  return [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)];
}

/** Constant indices counted from the front; undefined where they or the extent are open. */
function gatherIndices(use: OperatorUse, size: Dim): number[] | undefined {
  const tensor = use.constants[1];
  if (tensor === undefined || typeof size === "string") return undefined;
  return Array.from({ length: elementCount(tensor.shape) }, (_, position) => {
    const index = numberAt(tensor, position);
    if (index < -size || index >= size) throw inputFault(use, 1, `indices from ${-size} to ${size - 1}, not ${index}`);
    return index < 0 ? index + size : index;
  });
}

/** Data and output as [outer, axis, inner], and the maps between. */
function gatherBox(use: OperatorUse) {
  const data = staticShape(use, 0);
  const axis = axisAttribute(use, 0, data.length);
  const indices = gatherIndices(use, data[axis]) ?? [];
  const [outer, inner] = [elementCount(data.slice(0, axis)), elementCount(data.slice(axis + 1))];
  const maps: AxisMap[] = [[run(outer)], compress(indices), [run(inner)]];
  return { data: [outer, data[axis], inner], result: [outer, indices.length, inner], maps };
}

function gatherMovements(use: OperatorUse): Movement[] {
  const { data, result, maps } = gatherBox(use);
  return [{ output: 0, pieces: separable(0, data, result, maps) }];
}

/** A table is looked up on the host; indices that are computed, in data that is too, are decomposed. */
function refuseGather(use: OperatorUse): Reason | undefined {
  if (use.constants[1] === undefined)
    return reason("lookup", "input 1", "computed at run time, in a constant table", "constant indices, or data");
  return refuseLong(use, typed(use, gatherBox(use).result), () => gatherBox(use).maps);
}

const forms: readonly MovementForm[] = [
  {
    name: "Transpose",
    since: 21,
    inputs: [1, 1],
    attributes: { perm: ints },
    summary: "axes in another order",
    infer: (use) => {
      const input = shapeOf(use, 0);
      return typed(use, input && permutation(use, input.length).map((axis) => input[axis]));
    },
    items: "by axis",
    movements: (use) => {
      const input = staticShape(use, 0);
      return [{ output: 0, pieces: [transposed(0, input, permutation(use, input.length))] }];
    },
  },
  {
    name: "Concat",
    since: 13,
    inputs: [1, Number.POSITIVE_INFINITY],
    attributes: { axis: required(int()) },
    summary: "inputs one after the other along an axis",
    infer: (use) => typed(use, concatShape(use)),
    items: "by axis",
    movements: concatMovements,
  },
  {
    name: "Split",
    since: 18,
    inputs: [1, 2],
    attributes: { axis: int(0), num_outputs: int() },
    parameters: [1],
    summary: "parts of the input along an axis",
    infer: inferSplit,
    items: "by axis",
    movements: splitMovements,
  },
  {
    name: "Slice",
    since: 13,
    inputs: [3, 5],
    parameters: [1, 2, 3, 4],
    summary: "a range of each axis, with a step of either sign",
    infer: (use) => typed(use, sliceShape(use)),
    movements: sliceMovements,
  },
  {
    name: "Pad",
    since: 21,
    inputs: [2, 4],
    attributes: { mode: text("constant") },
    parameters: [1, 2, 3],
    summary: "borders added (a constant, reflect, edge, wrap) or cut off",
    infer: (use) => typed(use, padShape(use)),
    items: "by axis",
    movements: padMovements,
    refuse: refusePad,
  },
  {
    name: "Expand",
    since: 13,
    inputs: [2, 2],
    parameters: [1],
    summary: "broadcast to a shape",
    infer: (use) => typed(use, expandShape(use)),
    movements: expandMovements,
  },
  {
    name: "Tile",
    since: 13,
    inputs: [2, 2],
    parameters: [1],
    summary: "the input repeated along its axes",
    infer: (use) => typed(use, tileShape(use)),
    movements: tileMovements,
  },
  {
    name: "Gather",
    since: 13,
    inputs: [2, 2],
    attributes: { axis: int(0) },
    inputTypes: { 1: ["int32", "int64"] },
    summary: "elements of an axis by indices",
    infer: (use) => typed(use, gatherShape(use)),
    movements: gatherMovements,
    refuse: refuseGather,
  },
];

export const movementRecords: readonly OperatorRecord[] = forms.map(movementRecord);
