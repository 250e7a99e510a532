/** Slices, padding, reversal, and blocks that move between space and depth or batch. */
import { dilatedConvolution } from "./dilated.js";
import { type Conversion, type Extent, int, type Rule, type Rules, range, text, unbounded } from "./rule.js";

/** TensorFlow gives [axis, 2] pairs, ONNX all starts and then all ends. */
const pad =
  (mode: string): Rule =>
  (node) => [node.emit("Pad", [node.inputs[0], padsOf(node, 1), ...node.inputs.slice(2)], { mode: text(mode) })];

function padsOf(node: Conversion, index: number): string {
  if (node.known(node.inputs[index]) === undefined) {
    const pairs = node.transpose(node.int64(index), [1, 0]);
    return node.emit("Reshape", [pairs, node.integers([-1])]);
  }
  const pairs = node.numbers(index);
  return node.integers([...pairs.filter((_, at) => at % 2 === 0), ...pairs.filter((_, at) => at % 2 === 1)]);
}

/** Mirrors with (REFLECT) or without (SYMMETRIC) leaving out the border itself, which ONNX has no mode for. */
const mirrorPad: Rule = (node) => {
  if (node.text("mode", "REFLECT") === "REFLECT") return pad("reflect")(node);
  let [value] = node.inputs;
  const pads = node.numbers(1);
  for (let axis = 0; axis < pads.length / 2; axis++) {
    const [before, after] = pads.slice(2 * axis, 2 * axis + 2);
    const parts: string[] = [];
    if (before > 0) parts.push(node.slice(value, axis, before - 1, -unbounded, -1));
    parts.push(value);
    if (after > 0) parts.push(node.slice(value, axis, -1, -after - 1, -1));
    value = node.concat(parts, axis);
  }
  return [value === node.inputs[0] ? node.emit("Identity", [value]) : value];
};

const slice: Rule = (node) => {
  const [value, begin, size] = node.inputs;
  const begins = node.int64(1);
  const sizes = node.elements(size);
  const numbers = sizes?.flatMap((extent) => (typeof extent === "number" ? [extent] : []));
  if (node.known(begin) && numbers?.length === sizes?.length && numbers !== undefined) {
    const from = node.numbers(1);
    const ends = from.map((start, axis) => (numbers[axis] < 0 ? unbounded : start + numbers[axis]));
    return [node.emit("Slice", [value, begins, node.integers(ends)])];
  }
  const toEnd = node.emit("Less", [node.int64(2), node.scalar(0, "int64")]);
  const ends = node.emit("Where", [toEnd, node.scalar(unbounded, "int64"), node.emit("Add", [begins, node.int64(2)])]);
  return [node.emit("Slice", [value, begins, ends])];
};

/** One entry of a StridedSlice's specification: a new axis, whole axes up to `axis`, or what is taken from one axis of the input. */
type Entry =
  | { readonly kind: "new" }
  | { readonly kind: "whole"; readonly axis: number }
  | { readonly kind: "range" | "element"; readonly at: number; readonly axis: number };
type Part = Extract<Entry, { at: number }>;

/** Bit i of a mask tells of entry i. An ellipsis stands for as many whole axes as are left. */
function entriesOf(node: Conversion, count: number, rank: () => number): Entry[] {
  const has = (mask: string, at: number) => ((node.int(mask) >> at) & 1) === 1;
  const places = range(0, count);
  const isEllipsis = (at: number) => has("ellipsis_mask", at);
  const isNew = (at: number) => has("new_axis_mask", at) && !isEllipsis(at);
  let axis = 0;
  return places.map((at): Entry => {
    if (isEllipsis(at)) {
      const after = places.slice(at + 1).filter((later) => !isNew(later)).length;
      axis = rank() - after;
      return { kind: "whole", axis };
    }
    if (isNew(at)) return { kind: "new" };
    return { kind: has("shrink_axis_mask", at) ? "element" : "range", at, axis: axis++ };
  });
}

/** Lists by axis, as constants where all entries are, else as values. */
function bounds(
  node: Conversion,
  index: number,
  entries: readonly { at: number }[],
  change: (at: number, value: number) => number,
): string {
  const known = node.elements(node.inputs[index]);
  const values = entries.map(({ at }): Extent => {
    const element = known?.[at];
    const value = typeof element === "number" ? element : undefined;
    // A masked bound does not depend on its value.
    const [first, second] = [change(at, value ?? 0), change(at, value ?? 1)];
    if (value !== undefined || first === second) return first;
    return node.slice(node.int64(index), 0, at, at + 1);
  });
  return node.shapeOf(values);
}

/** A shrunk axis is the one element at its begin; the other masks don't touch it. */
const stridedSlice: Rule = (node) => {
  const has = (mask: string, at: number) => ((node.int(mask) >> at) & 1) === 1;
  const count = node.staticDims(node.inputs[1])[0];
  const strides = node.numbers(3);
  const all = entriesOf(node, count, () => node.rank(node.inputs[0]));
  const entries = all.flatMap((entry): Part[] => ("at" in entry ? [entry] : []));
  const shrunk = (at: number) => entries.some((entry) => entry.at === at && entry.kind === "element");
  const starts = bounds(node, 1, entries, (at, value) => {
    if (shrunk(at) || !has("begin_mask", at)) return value;
    return strides[at] > 0 ? 0 : unbounded;
  });
  const begins = node.elements(node.inputs[1])?.map((element) => (typeof element === "number" ? element : undefined));
  const dynamicElement = entries.some(({ at, kind }) => kind === "element" && begins?.[at] === undefined);
  const ends = bounds(node, 2, entries, (at, value) => {
    if (shrunk(at)) return begins?.[at] === -1 ? unbounded : (begins?.[at] ?? 0) + 1;
    if (!has("end_mask", at)) return value;
    return strides[at] > 0 ? unbounded : -unbounded;
  });
  const axes = entries.map(({ axis }) => axis);
  const steps = entries.map(({ at, kind }) => (kind === "element" ? 1 : strides[at]));
  const lasts = dynamicElement ? endsAfter(node, starts, ends, entries, begins) : ends;
  const sliced =
    entries.length === 0 ? node.inputs[0] : node.emit("Slice", [node.inputs[0], starts, lasts, node.integers(axes), node.integers(steps)]);
  return [reshaped(node, sliced, all)];
};

/** Where the begin of an element is computed at run time, its end is the begin + 1, and beyond all for -1. */
function endsAfter(
  node: Conversion,
  starts: string,
  ends: string,
  entries: readonly { at: number; kind: string }[],
  begins: readonly (number | undefined)[] | undefined,
): string {
  const places = entries.map(({ at, kind }) => (kind === "element" && begins?.[at] === undefined ? 1 : 0));
  const isOpen = node.numbersOf("bool", [places.length], places);
  const next = node.emit("Add", [starts, node.scalar(1, "int64")]);
  const end = node.emit("Where", [node.emit("Equal", [next, node.scalar(0, "int64")]), node.scalar(unbounded, "int64"), next]);
  return node.emit("Where", [isOpen, end, ends]);
}

/** Without the shrunk axes and with the new ones. */
function reshaped(node: Conversion, sliced: string, entries: readonly Entry[]): string {
  const shrunk = entries.flatMap((entry) => (entry.kind === "element" ? [entry.axis] : []));
  const value = shrunk.length === 0 ? sliced : node.squeeze(sliced, shrunk);
  const added: number[] = [];
  let place = 0;
  let before = 0;
  for (const entry of entries) {
    if (entry.kind === "new") {
      added.push(place++);
      continue;
    }
    place += entry.axis - before + (entry.kind === "range" ? 1 : 0);
    before = entry.axis + (entry.kind === "whole" ? 0 : 1);
  }
  if (added.length === 0) return value === node.inputs[0] ? node.emit("Identity", [value]) : value;
  return node.unsqueeze(value, added);
}

const reverseAxes = (node: Conversion, value: string, axes: readonly number[]): string => {
  if (axes.length === 0) return node.emit("Identity", [value]);
  const lists = [axes.map(() => unbounded), axes.map(() => -unbounded), axes, axes.map(() => -1)];
  return node.emit("Slice", [value, ...lists.map((list) => node.integers(list))]);
};

/** The axes are those where the second input is true. */
const reverseMarked: Rule = (node) => {
  const axes = node.numbers(1).flatMap((mark, axis) => (mark === 0 ? [] : [axis]));
  return [reverseAxes(node, node.inputs[0], axes)];
};

/** Each row backwards up to its length. ONNX wants time and batch as the first two axes. */
const reverseSequence: Rule = (node) => {
  const [time, batch] = [node.int("seq_dim"), node.int("batch_dim")];
  const lengths = node.int64(1);
  const reversed = (value: string, timeAxis: number) =>
    node.emit("ReverseSequence", [value, lengths], { time_axis: int(timeAxis), batch_axis: int(1 - timeAxis) });
  if (time + batch === 1) return [reversed(node.inputs[0], time)];
  const rest = range(0, node.rank(node.inputs[0])).filter((axis) => axis !== time && axis !== batch);
  const permutation = [batch, time, ...rest];
  const back = permutation.map((_, axis) => permutation.indexOf(axis));
  return [node.transpose(reversed(node.transpose(node.inputs[0], permutation), 1), back)];
};

/** Elements go round by a shift along each axis. */
const roll: Rule = (node) => {
  const [shifts, axes] = [node.numbers(1), node.numbers(2)];
  let [value] = node.inputs;
  for (const [index, axis] of axes.entries()) {
    const length = node.dims(value).at(axis);
    const shift = typeof length === "number" ? ((shifts[index] % length) + length) % length : shifts[index];
    if (shift === 0) continue;
    value = node.concat([node.slice(value, axis, -shift, unbounded), node.slice(value, axis, 0, -shift)], axis);
  }
  return [value === node.inputs[0] ? node.emit("Identity", [value]) : value];
};

/** The image padded along the axes that are cut into blocks, by [axis, 2] pairs. */
function paddedBlocks(node: Conversion, count: number, index: number): string {
  const rest = node.rank(node.inputs[0]) - 1 - count;
  const spread = (list: readonly Extent[]) => [0, ...list, ...new Array<number>(rest).fill(0)];
  const known = node.known(node.inputs[index]) && node.numbers(index);
  if (known?.every((amount) => amount === 0)) return node.inputs[0];
  const sides = [0, 1].map((side): Extent[] => {
    if (known) return known.filter((_, at) => at % 2 === side);
    return [node.emit("Reshape", [node.slice(node.int64(index), 1, side, side + 1), node.integers([-1])])];
  });
  return node.emit("Pad", [node.inputs[0], node.shapeOf(sides.flatMap(spread))]);
}

/** Blocks of the axes after the first go to the batch. */
const spaceToBatch = (node: Conversion, blocks: readonly number[], padIndex: number): string => {
  const value = paddedBlocks(node, blocks.length, padIndex);
  const [batch, ...extents] = node.extents(value);
  const inner = extents.slice(0, blocks.length).map((extent, axis) => node.combine("Div", extent, blocks[axis]));
  const rest = extents.slice(blocks.length);
  const parted = node.reshape(value, [batch, ...inner.flatMap((extent, axis) => [extent, blocks[axis]]), ...rest]);
  const count = blocks.length;
  const permutation = [
    ...range(0, count).map((axis) => 2 + 2 * axis),
    0,
    ...range(0, count).map((axis) => 1 + 2 * axis),
    ...range(1 + 2 * count, 1 + 2 * count + rest.length),
  ];
  const rows = blocks.reduce((product, block) => node.combine("Mul", product, block), batch);
  return node.reshape(node.transpose(parted, permutation), [rows, ...inner, ...rest]);
};

function croppedAtRunTime(node: Conversion, value: string, count: number, index: number): string {
  const [starts, trims] = [0, 1].map((side) =>
    node.emit("Reshape", [node.slice(node.int64(index), 1, side, side + 1), node.integers([-1])]),
  );
  const whole = node.slice(node.emit("Shape", [value]), 0, 1, 1 + count);
  return node.emit("Slice", [value, starts, node.emit("Sub", [whole, trims]), node.integers(range(1, 1 + count))]);
}

const batchToSpace = (node: Conversion, blocks: readonly number[], cropIndex: number): string => {
  const [rows, ...extents] = node.extents(node.inputs[0]);
  const count = blocks.length;
  const batch = blocks.reduce((left, block) => node.combine("Div", left, block), rows);
  const rest = extents.slice(count);
  const inner = extents.slice(0, count);
  const parted = node.reshape(node.inputs[0], [...blocks, batch, ...extents]);
  const permutation = [
    count,
    ...range(0, count).flatMap((axis) => [count + 1 + axis, axis]),
    ...range(2 * count + 1, 2 * count + 1 + rest.length),
  ];
  const spaces = inner.map((extent, axis) => node.combine("Mul", extent, blocks[axis]));
  const value = node.reshape(node.transpose(parted, permutation), [batch, ...spaces, ...rest]);
  if (node.known(node.inputs[cropIndex]) === undefined) return croppedAtRunTime(node, value, count, cropIndex);
  const crops = node.numbers(cropIndex);
  if (crops.every((amount) => amount === 0)) return value;
  const axes = range(0, count);
  const starts = axes.map((axis) => crops[2 * axis]);
  const ends = axes.map((axis) => (crops[2 * axis + 1] === 0 ? unbounded : -crops[2 * axis + 1]));
  const bounds = [starts, ends, axes.map((axis) => axis + 1)].map((list) => node.integers(list));
  return node.emit("Slice", [value, ...bounds]);
};

const blocksOf = (node: Conversion): number[] => new Array<number>(2).fill(node.int("block_size", 2));

/** Columns become depth or depth columns; ONNX has it channels-first only, in the same order of a block's parts. */
const depthBlocks =
  (op: string, attributes: Readonly<Record<string, ReturnType<typeof text>>>): Rule =>
  (node) => {
    const format = node.text("data_format", "NHWC");
    if (format !== "NHWC" && format !== "NCHW") throw node.refusal(`its data format ${format} is not supported`);
    const compute = (value: string) => node.emit(op, [value], { blocksize: int(node.int("block_size", 2)), ...attributes });
    if (format === "NCHW") return [compute(node.inputs[0])];
    return [node.transpose(compute(node.transpose(node.inputs[0], [0, 3, 1, 2])), [0, 2, 3, 1])];
  };

export const sliceRules: Rules = {
  BatchToSpace: (node) => [batchToSpace(node, blocksOf(node), 1)],
  BatchToSpaceND: (node) => [dilatedConvolution(node) ?? batchToSpace(node, node.numbers(1), 2)],
  DepthToSpace: depthBlocks("DepthToSpace", { mode: text("DCR") }),
  MirrorPad: mirrorPad,
  Pad: pad("constant"),
  PadV2: pad("constant"),
  Reverse: reverseMarked,
  ReverseSequence: reverseSequence,
  ReverseV2: (node) => [reverseAxes(node, node.inputs[0], node.numbers(1))],
  Roll: roll,
  Slice: slice,
  SpaceToBatch: (node) => [spaceToBatch(node, blocksOf(node), 1)],
  SpaceToBatchND: (node) => [spaceToBatch(node, node.numbers(1), 2)],
  SpaceToDepth: depthBlocks("SpaceToDepth", {}),
  StridedSlice: stridedSlice,
};
