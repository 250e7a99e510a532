/** What every operator's lowering works with. */
import type { Graph, Node } from "../graph/graph.js";
import { type DType, elementCount, numberAt, type Tensor } from "../graph/tensor.js";
import { add, cast, type Expression, operand } from "../operators/expression.js";
import { epilogueUse, recordOf, useOf } from "../operators/index.js";
import type { OperatorUse } from "../operators/record.js";
import type { Emitter } from "./emitter.js";
import { emitExpression, type Operand } from "./expression.js";
import type { Value, Values } from "./values.js";
import { type Box, type Dimension, ONE, type View } from "./view.js";
import type { LoadedWeights, PackedConstants } from "./weights.js";

export interface Context {
  readonly graph: Graph;
  readonly emitter: Emitter;
  readonly values: Values;
  /** Elements a partition that pointwise work takes at a time, at most. */
  readonly pieceElements: number;
  /** Weights that stay in SBUF between requests: for how many output channels, from the first on. */
  readonly resident: ReadonlyMap<Tensor, number>;
  /** Weights that stay there until all windows of the batch are through the segment that is being lowered, once they are loaded. */
  readonly held: Map<Tensor, PackedConstants<LoadedWeights>>;
  /** DRAM buffers of packed weights, and the resident ones on chip. */
  readonly packed: PackedConstants<string>;
  readonly loaded: PackedConstants<LoadedWeights>;
}

/**
 * A box of `value`, broadcast to an output of rank `box.length` whose `axis` is on partitions: one dimension for each free axis
 * of the output, of its size.
 */
export function fetchBroadcast(context: Context, value: Value, axis: number, start: number, count: number, box: Box): View {
  const shift = box.length - value.shape.length;
  const own = axis - shift;
  const repeated = own < 0 || (value.shape[own] === 1 && count > 1);
  const ownBox = value.shape.map((extent, index) => (extent === 1 ? ONE : box[index + shift]));
  const first = own >= 0 && value.shape[own] === 1 ? 0 : start;
  const view = context.values.fetch(value, repeated ? -1 : own, repeated ? start : first, count, ownBox);
  const dims: Dimension[] = [];
  for (const [index, range] of box.entries()) {
    if (index === axis) continue;
    const ownIndex = index - shift;
    if (ownIndex < 0 || (value.shape[ownIndex] === 1 && range.size > 1)) dims.push({ size: range.size, stride: 0 });
    else dims.push(view.dims[repeated || ownIndex < own ? ownIndex : ownIndex - 1]);
  }
  return { ...view, dims };
}

/** An input of the node as an operand of engine instructions over a box of the output. */
function inputOperand(context: Context, name: string, axis: number, start: number, count: number, box: Box): Operand {
  const value = context.values.value(name);
  const constant = value.constant;
  if (constant && elementCount(constant.shape) === 1) return { kind: "immediate", value: numberAt(constant, 0) };
  const own = axis - (box.length - value.shape.length);
  const perChannel = constant && own >= 0 && value.shape.every((extent, index) => index === own || extent === 1);
  if (constant && perChannel && value.dtype.includes("float")) {
    return { kind: "column", view: context.values.column(constant, name, start, count) };
  }
  return { kind: "view", view: fetchBroadcast(context, value, axis, start, count, box) };
}

function substitute(expression: Expression, replace: (index: number | null) => Expression): Expression {
  switch (expression.kind) {
    case "operand":
      return replace(expression.index);
    case "immediate":
      return expression;
    case "binary":
      return { ...expression, left: substitute(expression.left, replace), right: substitute(expression.right, replace) };
    case "select":
      return {
        ...expression,
        mask: substitute(expression.mask, replace),
        onTrue: substitute(expression.onTrue, replace),
        onFalse: substitute(expression.onFalse, replace),
      };
    default:
      return { ...expression, argument: substitute(expression.argument, replace) };
  }
}

/** A running value of an integer type of less than 32 bits, in which the engines compute, wraps at its own width. */
function wrapped(value: Expression, dtype: DType | undefined): Expression {
  const narrow = (["int8", "uint8", "int16", "uint16"] as const).find((type) => type === dtype);
  return narrow ? cast(narrow, value) : value;
}

/** The node's formula with its epilogue's formulas around it; operand null is what the main operator computed. */
function withEpilogue(context: Context, node: Node, main: Expression): Expression {
  let running = main;
  for (const step of node.epilogue ?? []) {
    const record = recordOf(step.op, "");
    if (record?.lowering?.kind !== "pointwise") throw new Error(`${node.name}: ${step.op} can't be an epilogue`);
    const use = epilogueUse(context.graph, node, step);
    const previous = running;
    running = substitute(record.lowering.formula(use), (index) => {
      const source = index === null ? null : step.operands[index];
      return source === null ? wrapped(previous, use.inputs[index ?? 0]?.dtype) : operand(source);
    });
  }
  return running;
}

/** What a main operator has of a box of its output. */
export interface MainResult {
  /** Operand null of `main`, with the dimensions of the box's free axes. */
  readonly computed?: View;
  /** Over the node's inputs and `computed`; `computed` itself by default. */
  readonly main?: Expression;
  /** The input that holds one number for each channel (position along `axis`), added to it; may be absent in the node. */
  readonly bias?: number;
  /** Where the box is stored, if not at the output's place: the caller sees to it that it gets there. */
  readonly into?: View;
}

/** A bias input for channels [start, start + count), on as many partitions. */
function biasOperand(context: Context, name: string, start: number, count: number, sizes: readonly number[]): Operand {
  const value = context.values.value(name);
  if (value.constant) return { kind: "column", view: context.values.column(value.constant, name, start, count) };
  const view = context.values.fetch(value, 0, start, count, [ONE]);
  return { kind: "view", view: { ...view, dims: sizes.map((size) => ({ size, stride: 0 })) } };
}

/**
 * Computes a box of the node's first output: the main operator's result, then the epilogue, and stores it. `axis` of the output is on
 * partitions, channels [start, start + count) inside one tile.
 */
export function writeBox(context: Context, node: Node, result: MainResult, axis: number, start: number, count: number, box: Box): void {
  const out = context.values.value(node.outputs[0]);
  const known = new Map<number | null, Operand>();
  if (result.computed) known.set(null, { kind: "view", view: result.computed });
  let main = result.main ?? operand(null);
  const bias = result.bias === undefined ? "" : node.inputs[result.bias];
  if (result.bias !== undefined && bias) {
    const sizes = box.filter((_, index) => index !== axis).map((range) => range.size);
    known.set(result.bias, biasOperand(context, bias, start, count, sizes));
    main = add(main, operand(result.bias));
  }
  const operandOf = (index: number | null): Operand => {
    const found = known.get(index);
    if (found) return found;
    if (index === null) throw new Error(`${node.name}: nothing was computed`);
    const made = inputOperand(context, node.inputs[index], axis, start, count, box);
    known.set(index, made);
    return made;
  };
  const target = result.into ? undefined : context.values.target(out, axis, start, count, box);
  const view = result.into ?? target?.view;
  if (view) emitExpression(context, withEpilogue(context, node, main), operandOf, view);
  target?.commit();
}

/** The use of the node without its epilogue. */
export function mainUse(context: Context, node: Node): OperatorUse {
  return useOf(context.graph, node);
}
