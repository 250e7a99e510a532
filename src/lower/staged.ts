/**
 * Movement whose elements lie scattered in DRAM on one side (an upsampling, a strided slice): a DMA would pay a descriptor for each. Long runs
 * are brought to SBUF or from it instead, and an engine rearranges them there.
 */
import { rowMajorStrides } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { Context } from "./context.js";
import type { Value } from "./values.js";
import { channelTiles, type Dimension, isScattered, jointly, type View, wholeBox } from "./view.js";

/** Elements a partition that are rearranged at a time. */
const CHUNK = 4096;

/** Elements from the first to the last of some dimensions, and how far before the offset the first is. */
function span(dims: readonly Dimension[]): { elements: number; before: number } {
  const reach = dims.map((dim) => (dim.size - 1) * dim.stride);
  const before = -reach.filter((r) => r < 0).reduce((sum, r) => sum + r, 0);
  return { elements: before + reach.filter((r) => r > 0).reduce((sum, r) => sum + r, 0) + 1, before };
}

function count(dims: readonly Dimension[]): number {
  return dims.reduce((product, dim) => product * dim.size, 1);
}

/** A part of the dimensions from `axis` on: `size` positions of that one, all of the later ones. */
interface Part {
  readonly axis: number;
  readonly size: number;
}

/** The largest parts whose spans fit in a chunk on both sides, if their runs are worth it: at most twice what is used of them. */
function choosePart(from: View, to: View): Part | undefined {
  const fits = (view: View, part: Part) => {
    const dims = view.dims.slice(part.axis).map((dim, index) => (index === 0 ? { ...dim, size: part.size } : dim));
    return view.space !== "dram" || span(dims).elements <= CHUNK;
  };
  for (let axis = 0; axis < from.dims.length; axis++) {
    for (let size = from.dims[axis].size; size >= 1; size = Math.floor(size / 2)) {
      const part = { axis, size };
      if (fits(from, part) && fits(to, part)) return part;
    }
  }
  return undefined;
}

function partOf(view: View, part: Part, start: number, size: number, outer: readonly number[]): View {
  const offset = outer.reduce((sum, position, axis) => sum + position * view.dims[axis].stride, view.offset);
  const dims = view.dims.slice(part.axis).map((dim, index) => (index === 0 ? { ...dim, size } : dim));
  return { ...view, offset: offset + start * (view.dims[part.axis]?.stride ?? 0), dims };
}

/** Whether engines reach a view where it lies. */
function isReached(view: View): boolean {
  return view.space === "sbuf" && view.partitionStart % hardware.partitionQuadrant === 0;
}

/**
 * The span of a DRAM view as one run, and the same elements in an SBUF buffer that holds the span. A view in SBUF, which engines don't reach, is moved as it
 * is, to or from a buffer without gaps.
 */
function stage(context: Context, view: View, partition: number): { run: View; stagedRun: View; staged: View } {
  if (view.space !== "dram") {
    const sizes = view.dims.map(({ size }) => size);
    const dense = context.values.temporary("staged", view.dtype, partition, view.partitionCount, sizes);
    return { run: view, stagedRun: dense, staged: dense };
  }
  const { elements, before } = span(view.dims);
  const buffer = context.values.temporary("staged", view.dtype, partition, view.partitionCount, [elements]);
  const run = { ...view, offset: view.offset - before, dims: [{ size: elements, stride: 1 }] };
  return { run, stagedRun: buffer, staged: { ...buffer, offset: buffer.offset + before, dims: view.dims } };
}

function movePart(context: Context, from: View, to: View): void {
  const partition = [from, to].find(isReached)?.partitionStart ?? 0;
  const source = isReached(from) ? undefined : stage(context, from, partition);
  const target = isReached(to) ? undefined : stage(context, to, partition);
  if (source) context.values.move(source.run, source.stagedRun);
  jointly([target?.staged ?? to, source?.staged ?? from], ([out, input]) =>
    context.emitter.step("vector", { kind: "copy", out, in: input }),
  );
  if (target) context.values.move(target.stagedRun, target.run);
}

/** Moves through SBUF if one side is scattered in DRAM and its runs can be used; false if a plain DMA has to do it. */
export function moveStaged(context: Context, from: View, to: View): boolean {
  if (!isScattered(from) && !isScattered(to)) return false;
  const part = choosePart(from, to);
  if (!part) return false;
  const unit = (view: View) => view.dims.slice(part.axis).map((dim, index) => (index === 0 ? { ...dim, size: part.size } : dim));
  const dense = to.space === "sbuf" || span(unit(to)).elements === count(unit(to));
  const used = from.space === "sbuf" || span(unit(from)).elements <= 8 * count(unit(from));
  if (!dense || !used) return false;
  const outer = from.dims.slice(0, part.axis).map((dim) => dim.size);
  const index = outer.map(() => 0);
  for (;;) {
    const whole = from.dims[part.axis]?.size ?? 1;
    for (let start = 0; start < whole; start += part.size) {
      const size = Math.min(part.size, whole - start);
      movePart(context, partOf(from, part, start, size, index), partOf(to, part, start, size, index));
    }
    let axis = outer.length - 1;
    while (axis >= 0 && ++index[axis] === outer[axis]) index[axis--] = 0;
    if (axis < 0) return true;
  }
}

/**
 * Copies a value in DRAM to row-major order there if its rows along the last axis are scattered (an image whose channels lie next to each
 * other, read by channels), a row of what lies far apart to a partition. For readers that would go over it several times.
 */
export function straightenRows(context: Context, value: Value): void {
  const { strides } = context.values.dramPlace(value);
  const box = wholeBox(value.shape);
  const inner = value.shape.length - 1;
  const reach = value.shape.map((extent, axis) => (extent - 1) * strides[axis]);
  const axis = reach.findIndex((each, index) => index !== inner && value.shape[index] > 1 && each === Math.max(...reach.slice(1)));
  const source = (start: number, count: number) => context.values.dramView(value, axis, start, count, box);
  if (axis < 0 || !isScattered(source(0, 1))) return;
  const buffer = context.emitter.dram(`${value.name}.rows`, "scratch", value.dtype, value.shape);
  const plain = rowMajorStrides(value.shape);
  for (const { start, count } of channelTiles(0, value.shape[axis])) {
    const from = source(start, count);
    const dims = from.dims.map(({ size }, index) => ({ size, stride: plain[index < axis ? index : index + 1] }));
    const to = { ...from, buffer, partitionStride: plain[axis], offset: start * plain[axis], dims };
    if (!moveStaged(context, from, to)) context.values.move(from, to);
  }
  context.values.placeInDram(value.name, { buffer, offset: 0, strides: plain });
}
