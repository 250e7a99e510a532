/** Softmax and its logarithm, along one free axis: statistics in FP32, long axes in parts. */
import type { Node } from "../graph/graph.js";
import type { Lowering } from "../operators/record.js";
import type { ActivationFunction, AluOp, ReduceOp } from "../program/program.js";
import { type Context, mainUse, writeBox } from "./context.js";
import { partitionAxisFor } from "./layouts.js";
import { emitReduce } from "./reduce.js";
import type { Value } from "./values.js";
import { type Box, channelTiles, jointly, ONE, type Range, tileBoxes, type View } from "./view.js";

/** Elements a partition at a time. */
const CHUNK = 4096;

/** Some rows: channels [start, start + count) of the axis on partitions, and a box of the other axes. */
interface Rows {
  readonly context: Context;
  readonly node: Node;
  readonly x: Value;
  readonly log: boolean;
  /** On partitions; -1: none. */
  readonly axis: number;
  readonly start: number;
  readonly count: number;
  /** The axis of the softmax. */
  readonly along: number;
  readonly box: Box;
}

/** Position of the softmax's axis among the free dimensions of a view. */
function freeIndex({ axis, along }: Rows): number {
  return axis >= 0 && along > axis ? along - 1 : along;
}

function temporary(rows: Rows, like: View, sizes: readonly number[]): View {
  return rows.context.values.temporary("softmax", "float32", like.partitionStart, rows.count, sizes);
}

function sizesOf(view: View): number[] {
  return view.dims.map((dim) => dim.size);
}

/** A statistic of each row, repeated along the axis. */
function repeated(rows: Rows, statistic: View, like: View): View {
  const at = freeIndex(rows);
  return { ...statistic, dims: statistic.dims.map((dim, index) => (index === at ? { size: like.dims[at].size, stride: 0 } : dim)) };
}

function combine(rows: Rows, op: AluOp, out: View, in0: View, in1: View): View {
  jointly([out, in0, in1], ([target, a, b]) =>
    rows.context.emitter.step("vector", { kind: "tensor_tensor", out: target, in0: a, in1: b, op }),
  );
  return out;
}

function activate(rows: Rows, name: ActivationFunction, from: View): View {
  const out = temporary(rows, from, sizesOf(from));
  jointly([out, from], ([target, source]) =>
    rows.context.emitter.step("scalar", { kind: "activation", out: target, in: source, function: name, scale: 1, bias: 0, alpha: 0 }),
  );
  return out;
}

/** One number for each row: `op` along the axis. */
function reduce(rows: Rows, op: ReduceOp, view: View): View {
  const at = freeIndex(rows);
  const out = temporary(
    rows,
    view,
    sizesOf(view).map((size, index) => (index === at ? 1 : size)),
  );
  const kept = (from: View): View => ({ ...from, dims: from.dims.filter((_, index) => index !== at) });
  emitReduce(rows.context, op, kept(out), kept(view), [view.dims[at]]);
  return out;
}

function partBox(rows: Rows, part: Range): Box {
  return rows.box.map((range, index) => (index === rows.along ? part : range));
}

function fetchPart(rows: Rows, part: Range): View {
  return rows.context.values.fetch(rows.x, rows.axis, rows.start, rows.count, partBox(rows, part));
}

/** A statistic over all parts of the rows. */
function overParts(rows: Rows, parts: readonly Range[], op: ReduceOp & AluOp, viewOf: (part: Range) => View): View {
  const [first, ...rest] = parts;
  let total = reduce(rows, op, viewOf(first));
  for (const part of rest) {
    rows.context.values.forgetFetched();
    total = combine(rows, op, total, total, reduce(rows, op, viewOf(part)));
  }
  return total;
}

function lowerRows(rows: Rows): void {
  const { context, node, log } = rows;
  const parts = [...tileBoxes([rows.x.shape[rows.along]], CHUNK)].map(([part]) => part);
  const greatest = overParts(rows, parts, "maximum", (part) => fetchPart(rows, part));
  const shift = (part: Range) => {
    const view = fetchPart(rows, part);
    return combine(rows, "subtract", temporary(rows, view, sizesOf(view)), view, repeated(rows, greatest, view));
  };
  // A row in one part is shifted and exponentiated once.
  const only = parts.length === 1 ? shift(parts[0]) : undefined;
  const onlyExponent = only && activate(rows, "exp", only);
  const sum = overParts(rows, parts, "add", (part) => onlyExponent ?? activate(rows, "exp", shift(part)));
  const factor = activate(rows, log ? "log" : "reciprocal", sum);
  for (const part of parts) {
    const shifted = only ?? shift(part);
    const base = log ? shifted : (onlyExponent ?? activate(rows, "exp", shifted));
    const result = temporary(rows, base, sizesOf(base));
    combine(rows, log ? "subtract" : "multiply", result, base, repeated(rows, factor, base));
    writeBox(context, node, { computed: result }, rows.axis, rows.start, rows.count, partBox(rows, part));
    context.values.forgetFetched();
  }
}

/** exp(x - max) / sum, or its logarithm, along one axis. */
export function lowerSoftmax(context: Context, node: Node, lowering: Extract<Lowering, { kind: "softmax" }>): void {
  const x = context.values.value(node.inputs[0]);
  const declared = lowering.axis(mainUse(context, node));
  const along = declared < 0 ? declared + x.shape.length : declared;
  const axis = partitionAxisFor(x.shape, x.axis, [along]);
  const outer = x.shape.map((_, index) => index).filter((index) => index !== axis && index !== along);
  const limit = Math.max(1, Math.floor(Math.min(CHUNK, context.pieceElements) / x.shape[along]));
  const tiles = axis < 0 ? [{ start: 0, count: 1 }] : channelTiles(0, x.shape[axis]);
  for (const { start, count } of tiles) {
    const extents = outer.map((index) => x.shape[index]);
    for (const outerBox of tileBoxes(extents, limit)) {
      const box = x.shape.map((_, index) => outerBox[outer.indexOf(index)] ?? ONE);
      lowerRows({ context, node, x, log: lowering.log, axis, start, count, along, box });
    }
  }
}
