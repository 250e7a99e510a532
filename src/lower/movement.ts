/**
 * Data movement. A movement that is only another shape or another stride of the same elements costs nothing; one that keeps its axes moves
 * boxes between the places where its operands are; any other goes through DRAM, where a tensor is one row of elements.
 */
import type { Node } from "../graph/graph.js";
import { elementCount, rowMajorStrides } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import type { Lowering, Movement, MovementPiece } from "../operators/record.js";
import { type Context, mainUse } from "./context.js";
import { rearrangement } from "./place.js";
import { moveStaged, straightenRows } from "./staged.js";
import { EXCHANGE_MIN, type Value } from "./values.js";
import { channelTiles, type Dimension, jointly, subView, tileBoxes, type View, wholeBox, withSizes } from "./view.js";

/** One dimension of a piece that stays on one axis: steps count positions along that axis of the input and the output. */
interface AxisDimension {
  readonly axis: number;
  readonly size: number;
  readonly inStep: number;
  readonly outStep: number;
}

/** A piece whose every dimension moves along the same axis in the input and the output. */
interface AxisPiece {
  readonly input: Value;
  readonly inStart: readonly number[];
  readonly outStart: readonly number[];
  readonly dims: readonly AxisDimension[];
}

function unravel(offset: number, shape: readonly number[]): number[] {
  let rest = offset;
  return rowMajorStrides(shape).map((stride) => {
    const position = Math.floor(rest / stride);
    rest -= position * stride;
    return position;
  });
}

/** Splits one linear dimension into dimensions along axes of the output; undefined if the input's axes differ. */
function splitDimension(
  piece: MovementPiece,
  index: number,
  start: readonly number[],
  out: Value,
  input: Value,
): AxisDimension[] | undefined {
  const outStrides = rowMajorStrides(out.shape);
  const inStrides = rowMajorStrides(input.shape);
  const result: AxisDimension[] = [];
  let size = piece.sizes[index];
  let outStride = piece.outStrides[index];
  let inStride = piece.inStrides[index];
  while (size > 1) {
    const axis = out.shape.findIndex((extent, a) => extent > 1 && outStrides[a] <= outStride && outStride % outStrides[a] === 0);
    if (axis < 0) return undefined;
    const outStep = outStride / outStrides[axis];
    const room = Math.floor((out.shape[axis] - start[axis] - 1) / outStep) + 1;
    const inner = Math.min(size, room);
    const inStep = inStride / inStrides[axis];
    if (!Number.isInteger(inStep) || size % inner !== 0) return undefined;
    if (inner > 1) result.push({ axis, size: inner, inStep, outStep });
    if (inner === size) return result;
    if (start[axis] !== 0 || outStep * inner !== out.shape[axis]) return undefined;
    size /= inner;
    outStride *= inner;
    inStride *= inner;
  }
  return result;
}

/** The piece along axes, if it keeps them; checks that no dimension leaves its axis. */
function alongAxes(piece: MovementPiece, out: Value, input: Value): AxisPiece | undefined {
  if (input.shape.length !== out.shape.length || out.shape.length === 0) return undefined;
  const outStart = unravel(piece.outOffset, out.shape);
  const inStart = unravel(piece.inOffset, input.shape);
  const dims: AxisDimension[] = [];
  for (let index = 0; index < piece.sizes.length; index++) {
    const split = splitDimension(piece, index, outStart, out, input);
    if (!split) return undefined;
    dims.push(...split);
  }
  const strides = rowMajorStrides(out.shape);
  dims.sort((a, b) => b.outStep * strides[b.axis] - a.outStep * strides[a.axis]);
  const fits = (shape: readonly number[], start: readonly number[], step: (dim: AxisDimension) => number) =>
    shape.every((extent, axis) => {
      const reach = dims.filter((dim) => dim.axis === axis).map((dim) => (dim.size - 1) * step(dim));
      const last = start[axis] + reach.filter((r) => r > 0).reduce((sum, r) => sum + r, 0);
      const first = start[axis] + reach.filter((r) => r < 0).reduce((sum, r) => sum + r, 0);
      return first >= 0 && last < extent;
    });
  if (!fits(out.shape, outStart, (dim) => dim.outStep) || !fits(input.shape, inStart, (dim) => dim.inStep)) return undefined;
  return { input, inStart, outStart, dims };
}

/** Whether the piece moves whole channels: at most one dimension on the partition axis, in steps of one on both sides. */
function keepsPartitions(piece: AxisPiece, axis: number): boolean {
  const own = piece.dims.filter((dim) => dim.axis === axis);
  return own.length === 0 || (own.length === 1 && own[0].inStep === 1 && own[0].outStep === 1);
}

/** The piece's part for some channels, as a view of one side. */
function side(context: Context, value: Value, piece: AxisPiece, which: "in" | "out", axis: number, channel: number, count: number): View {
  const start = which === "in" ? piece.inStart : piece.outStart;
  const free = piece.dims.filter((dim) => dim.axis !== axis);
  const whole = wholeBox(value.shape);
  const { values } = context;
  const base =
    which === "in" && (value.chip || values.exchanges(value, { axis, start: channel, count, box: whole }))
      ? values.fetch(value, axis, channel, count, whole)
      : (values.chipView(value, axis, channel, count, whole) ?? values.dramView(value, axis, channel, count, whole));
  const strideOf = (index: number) => base.dims[index > axis ? index - 1 : index].stride;
  const offset = start.reduce((sum, position, index) => (index === axis ? sum : sum + position * strideOf(index)), base.offset);
  const dims: Dimension[] = free.map((dim) => ({
    size: dim.size,
    stride: (which === "in" ? dim.inStep : dim.outStep) * strideOf(dim.axis),
  }));
  return { ...base, offset, dims };
}

/** Moves a piece whose channels stay channels, between chip and chip or chip and DRAM. */
function movePiece(context: Context, out: Value, piece: AxisPiece, axis: number): void {
  const count = piece.dims.find((dim) => dim.axis === axis)?.size ?? 1;
  const shift = piece.outStart[axis] - piece.inStart[axis];
  for (const inTile of channelTiles(piece.inStart[axis], count)) {
    for (const outTile of channelTiles(inTile.start + shift, inTile.count)) {
      const from = side(context, piece.input, piece, "in", axis, outTile.start - shift, outTile.count);
      const to = side(context, out, piece, "out", axis, outTile.start, outTile.count);
      moveView(context, from, to);
    }
  }
}

function moveView(context: Context, from: View, to: View): void {
  const aligned = [from, to].every((view) => view.space === "sbuf" && view.partitionStart % hardware.partitionQuadrant === 0);
  if (aligned) jointly([to, from], ([out, source]) => context.emitter.step("vector", { kind: "copy", out, in: source }));
  else if (!moveStaged(context, from, to)) context.values.move(from, to);
}

/** A piece as rows of DRAM: its outermost dimension counts as partitions. */
function dramRows(buffer: string, dtype: View["dtype"], offset: number, sizes: readonly number[], strides: readonly number[]): View {
  return {
    buffer,
    space: "dram",
    dtype,
    partitionStart: 0,
    partitionCount: sizes[0] ?? 1,
    partitionStride: strides[0] ?? 0,
    offset,
    dims: sizes.slice(1).map((size, index) => ({ size, stride: strides[index + 1] })),
  };
}

/** Moves any piece between DRAM places, both row-major. */
function moveThroughDram(context: Context, piece: MovementPiece, input: Value, out: Value): void {
  const from = contiguousPlace(context, input);
  const to = contiguousPlace(context, out);
  const rows = piece.sizes[0] ?? 1;
  for (let first = 0; first < rows; first += hardware.sbufPartitions) {
    const sizes = [Math.min(hardware.sbufPartitions, rows - first), ...piece.sizes.slice(1)];
    context.values.move(
      dramRows(from.buffer, input.dtype, from.offset + piece.inOffset + first * (piece.inStrides[0] ?? 0), sizes, piece.inStrides),
      dramRows(to.buffer, out.dtype, to.offset + piece.outOffset + first * (piece.outStrides[0] ?? 0), sizes, piece.outStrides),
    );
  }
}

/** The value's place in DRAM as one row-major run; a strided place is first copied to one. */
function contiguousPlace(context: Context, value: Value) {
  const place = context.values.dramPlace(value);
  const plain = rowMajorStrides(value.shape);
  if (plain.every((stride, axis) => value.shape[axis] === 1 || stride === place.strides[axis])) return place;
  const buffer = context.emitter.dram(`${value.name}.rows`, "scratch", value.dtype, value.shape);
  const view = (from: string, offset: number, strides: readonly number[]) => dramRows(from, value.dtype, offset, value.shape, strides);
  context.values.move(view(place.buffer, place.offset, place.strides), view(buffer, 0, plain));
  const copied = { buffer, offset: 0, strides: plain };
  context.values.placeInDram(value.name, copied);
  return copied;
}

/** Writes `fill` over the whole output. */
function fillOutput(context: Context, out: Value, fill: number): void {
  const zeros = new Map<number, View>();
  for (const tile of context.values.tiles(out)) {
    const whole = wholeBox(out.shape);
    const chip = context.values.chipView(out, out.axis, tile.start, tile.count, whole);
    if (chip) {
      jointly([chip], ([target]) => context.emitter.step("vector", { kind: "memset", out: target, value: fill }));
      continue;
    }
    const to = context.values.dramView(out, out.axis, tile.start, tile.count, whole);
    for (const box of tileBoxes(
      to.dims.map((dim) => dim.size),
      4096,
    )) {
      const size = elementCount(box.map((range) => range.size));
      const source = zeros.get(size) ?? context.values.temporary("fill", out.dtype, 0, hardware.sbufPartitions, [size]);
      if (!zeros.has(size)) jointly([source], ([target]) => context.emitter.step("vector", { kind: "memset", out: target, value: fill }));
      zeros.set(size, source);
      const target = subView(to, box);
      const sizes = box.map((range) => range.size);
      context.values.move(withSizes({ ...source, partitionCount: tile.count }, sizes), target);
    }
  }
}

/** A movement of one piece that covers the output, whose axes are the input's with other strides, is a strided place in DRAM. */
function asPlace(context: Context, movement: Movement, input: Value, out: Value): boolean {
  const piece = movement.pieces[0];
  if (out.dram || movement.pieces.length !== 1 || movement.fill !== undefined) return false;
  const place = context.values.dramPlace(input);
  const inStrides = rowMajorStrides(input.shape);
  const plainInput = inStrides.every((stride, axis) => input.shape[axis] === 1 || stride === place.strides[axis]);
  if (!plainInput || elementCount(piece.sizes) !== elementCount(out.shape)) return false;
  const outStrides = rowMajorStrides(out.shape);
  const strides = out.shape.map((extent, axis) => {
    if (extent === 1) return 0;
    const dim = piece.sizes.findIndex(
      (size, d) => piece.outStrides[d] <= outStrides[axis] && piece.outStrides[d] * size > outStrides[axis],
    );
    const ratio = outStrides[axis] / piece.outStrides[dim];
    const inside = Number.isInteger(ratio) && extent * outStrides[axis] <= piece.outStrides[dim] * piece.sizes[dim];
    return dim >= 0 && inside ? piece.inStrides[dim] * ratio : undefined;
  });
  const known = strides.filter((stride): stride is number => stride !== undefined);
  if (known.length !== strides.length) return false;
  context.values.placeInDram(out.name, { buffer: place.buffer, offset: place.offset + piece.inOffset, strides: known });
  // What is too narrow to be exchanged on chip when it is read.
  if (out.shape.some((extent, axis) => known[axis] === 1 && extent < EXCHANGE_MIN)) straightenRows(context, out);
  return true;
}

function lowerOne(context: Context, node: Node, movement: Movement, out: Value): void {
  const inputs = movement.pieces.map((piece) => context.values.value(node.inputs[piece.input]));
  const first = inputs[0];
  const way = inputs.length === 1 ? rearrangement(movement, first.shape, out.shape) : undefined;
  if (way && context.values.alias(out.name, first, way)) return;
  const axis = out.axis;
  const pieces = movement.pieces.map((piece, index) => alongAxes(piece, out, inputs[index]));
  const direct = out.layout.length === 1 && pieces.every((piece) => piece && keepsPartitions(piece, axis));
  const write = () => {
    if (inputs.length === 1 && !(direct && (first.chip || out.chip)) && asPlace(context, movement, first, out)) return;
    if (direct) context.values.prepare(out);
    if (movement.fill !== undefined) fillOutput(context, out, movement.fill);
    for (const [index, piece] of movement.pieces.entries()) {
      const along = pieces[index];
      if (direct && along) movePiece(context, out, along, axis);
      else moveThroughDram(context, piece, inputs[index], out);
    }
  };
  if (direct) write();
  else context.values.throughDram(out, write);
}

export function lowerMovement(context: Context, node: Node, lowering: Extract<Lowering, { kind: "movement" }>): void {
  for (const movement of lowering.movements(mainUse(context, node))) {
    const name = node.outputs[movement.output];
    if (name === "") continue;
    lowerOne(context, node, movement, context.values.value(name));
  }
  if (node.epilogue?.length) throw new Error(`${node.name}: data movement has no epilogue`);
}
