/** Reductions: the reduced axes lie in the partitions' free dimensions. */
import type { Node } from "../graph/graph.js";
import { elementCount } from "../graph/tensor.js";
import { type Expression, operand } from "../operators/expression.js";
import type { Lowering } from "../operators/record.js";
import type { AluOp, DeviceType, ReduceOp } from "../program/program.js";
import { type Context, mainUse, writeBox } from "./context.js";
import { emitExpression } from "./expression.js";
import { partitionAxisFor } from "./layouts.js";
import type { Value } from "./values.js";
import { type Box, channelTiles, type Dimension, jointly, ONE, tileBoxes, type View, withSizes } from "./view.js";

/** Elements a partition that are read at a time. */
const CHUNK = 4096;

/** out (kept dimensions) = op over the `reduced` dimensions of a view that has the kept ones first. */
export function emitReduce(context: Context, op: ReduceOp, out: View, kept: View, reduced: readonly Dimension[]): void {
  const merged: Dimension[] = [];
  for (const dim of reduced) {
    const last = merged[merged.length - 1];
    if (dim.size === 1) continue;
    if (last && last.stride === dim.stride * dim.size) merged[merged.length - 1] = { size: last.size * dim.size, stride: dim.stride };
    else merged.push(dim);
  }
  if (merged.length === 0) merged.push({ size: 1, stride: 1 });
  jointly(
    [out, kept],
    ([target, source]) =>
      context.emitter.step("vector", {
        kind: "reduce",
        out: target,
        in: {
          ...source,
          sizes: [...source.sizes, ...merged.map((dim) => dim.size)],
          strides: [...source.strides, ...merged.map((dim) => dim.stride)],
        },
        op,
        axes: merged.length,
      }),
    merged.length,
  );
}

interface Reduction {
  readonly context: Context;
  readonly node: Node;
  readonly x: Value;
  readonly lowering: Extract<Lowering, { kind: "reduce" }>;
  readonly axes: readonly number[];
  /** The axis of x on partitions; -1: none. */
  readonly axis: number;
}

/** What a reduction is kept in: integers wrap in 32 bits. */
function sumType(dtype: DeviceType): DeviceType {
  if (dtype.includes("float")) return "float32";
  return dtype === "uint32" ? dtype : "int32";
}

const combine: Readonly<Record<ReduceOp, AluOp>> = { add: "add", multiply: "multiply", maximum: "maximum", minimum: "minimum" };

/**
 * The reduction of x over a box (whole along the kept axes of the box), as a view of the kept free dimensions. How the reduced axes are
 * cut depends on their extents alone, so that the order of a sum does not depend on where x lies.
 */
function reduceBox(reduction: Reduction, start: number, count: number, keptAxes: readonly number[], box: Box): View {
  const { context, x, lowering, axes, axis } = reduction;
  const keptSizes = keptAxes.map((index) => box[index].size);
  const reduced = axes.map((index) => x.shape[index]);
  let total: View | undefined;
  for (const part of tileBoxes(reduced, CHUNK)) {
    const partBox = box.map((range, index) => (axes.includes(index) ? part[axes.indexOf(index)] : range));
    const view = fetchPart(reduction, start, count, partBox);
    const dimOf = (index: number) => view.dims[axis >= 0 && index > axis ? index - 1 : index];
    const out = context.values.temporary("reduce", sumType(x.dtype), view.partitionStart, count, keptSizes);
    emitReduce(context, lowering.op, out, { ...view, dims: keptAxes.map(dimOf) }, axes.map(dimOf));
    const previous = total;
    if (previous) {
      jointly([previous, out], ([target, source]) =>
        context.emitter.step("vector", { kind: "tensor_tensor", out: target, in0: target, in1: source, op: combine[lowering.op] }),
      );
    } else total = out;
    context.values.forgetFetched();
  }
  if (!total) throw new Error(`${reduction.node.name}: nothing to reduce`);
  return total;
}

function fetchPart(reduction: Reduction, start: number, count: number, box: Box): View {
  const { context, x, lowering, axis } = reduction;
  const view = context.values.fetch(x, axis, start, count, box);
  if (!lowering.pre) return view;
  const mapped = context.values.temporary(
    "mapped",
    "float32",
    view.partitionStart,
    count,
    view.dims.map((dim) => dim.size),
  );
  emitExpression(context, lowering.pre(operand(0)), () => ({ kind: "view", view }), mapped);
  return mapped;
}

export function lowerReduce(context: Context, node: Node, lowering: Extract<Lowering, { kind: "reduce" }>): void {
  const x = context.values.value(node.inputs[0]);
  const out = context.values.value(node.outputs[0]);
  const axes = lowering.axes(mainUse(context, node)).map((axis) => (axis < 0 ? axis + x.shape.length : axis));
  const axis = partitionAxisFor(x.shape, x.axis, axes);
  const reduction: Reduction = { context, node, x, lowering, axes, axis };
  const keeps = out.shape.length === x.shape.length;
  const kept = x.shape.map((_, index) => index).filter((index) => !axes.includes(index));
  const outIndex = (index: number) => (keeps ? index : kept.indexOf(index));
  const outAxis = axis < 0 ? 0 : outIndex(axis);
  const free = kept.filter((index) => index !== axis);
  const count = elementCount(axes.map((index) => x.shape[index]));
  const main: Expression = lowering.post ? lowering.post(operand(null), count) : operand(null);
  const inPlace = axis >= 0 && context.values.isOnChip(x, axis) && !lowering.pre;
  const freeLimit = inPlace ? CHUNK : Math.max(1, Math.floor(CHUNK / Math.min(CHUNK, count)));
  for (const tile of axis < 0 ? [{ start: 0, count: 1 }] : channelTiles(0, x.shape[axis])) {
    for (const freeBox of tileBoxes(
      free.map((index) => x.shape[index]),
      freeLimit,
    )) {
      const box = x.shape.map((_, index) => freeBox[free.indexOf(index)] ?? ONE);
      const sum = reduceBox(reduction, tile.start, tile.count, free, box);
      const outBox = out.shape.map((_, index) => {
        const source = free.find((candidate) => outIndex(candidate) === index);
        return source === undefined ? ONE : box[source];
      });
      const dims = outBox.filter((_, index) => index !== outAxis).map((range, index) => ({ size: range.size, index }));
      writeBox(
        context,
        node,
        {
          computed: withSizes(
            sum,
            dims.map((dim) => dim.size),
          ),
          main,
        },
        outAxis,
        tile.start,
        tile.count,
        outBox,
      );
    }
  }
}
