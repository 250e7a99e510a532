/**
 * How operators commute with a permutation of their tensors' axes: one entry for each operator, or kind of operator. An operator without
 * one wants its tensors as they are (convolutions, pools, matrix products).
 */
import { type Attributes, intAttribute, intsAttribute, isStatic, type Node, type StaticType } from "../../graph/graph.js";
import { int64Tensor, type Tensor, toNumbers } from "../../graph/tensor.js";
import { recordOf } from "../../operators/index.js";

/** The axes that an operator works over, and what of it changes when they come in another order. */
export interface AxisSpace {
  /** Number of the operator's axes. */
  readonly rank: number;
  /** Of each input, which of the operator's axis each of its axes is; undefined for an input that is no such tensor (a parameter). */
  readonly inputs: readonly (readonly number[] | undefined)[];
  readonly outputs: readonly (readonly number[])[];
  /** Inputs broadcast: an axis that one lacks has to stand there with extent 1, unless nothing comes before it. */
  readonly broadcasts?: boolean;
  /** Attributes and constant inputs (by index) with the axes in this order. */
  rebuild?(order: readonly number[]): { readonly attributes?: Attributes; readonly parameters?: ReadonlyMap<number, Tensor> };
}

/** What the rules may ask of the graph. */
export interface AxisView {
  type(value: string): StaticType | undefined;
  constant(value: string): Tensor | undefined;
}

type AxisRule = (node: Node, view: AxisView) => AxisSpace | undefined;

export const range = (start: number, end: number): number[] =>
  Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index);

const normal = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

const list = (values: readonly number[]): Tensor => int64Tensor([values.length], [...values]);

const rankOf = (value: string | undefined, view: AxisView): number | undefined =>
  value === undefined || value === "" ? undefined : view.type(value)?.shape.length;

/** Numbers of a constant parameter; undefined where it is absent or not constant. */
function numbersOf(value: string | undefined, view: AxisView): number[] | undefined {
  const constant = value ? view.constant(value) : undefined;
  return constant && toNumbers(constant);
}

/** Operators that compute each element of the result from the same element of every input, as broadcasting shows them. */
const elementwise: AxisRule = (node, view) => {
  const rank = rankOf(node.outputs[0], view);
  if (rank === undefined || node.outputs.length !== 1) return undefined;
  const inputs = node.inputs.map((input) => {
    const own = rankOf(input, view);
    return own === undefined ? undefined : range(rank - own, rank);
  });
  return inputs.some((axes, index) => node.inputs[index] !== "" && axes === undefined)
    ? undefined
    : { rank, inputs, outputs: [range(0, rank)], broadcasts: true };
};

/** An operator whose first input and outputs have the same axes, one of which an attribute names. */
const alongAxis =
  (attribute: string, fallback: number, inputCount: number): AxisRule =>
  (node, view) => {
    const rank = rankOf(node.inputs[0], view);
    if (rank === undefined) return undefined;
    const axis = normal(intAttribute(node.attributes, attribute, fallback), rank);
    const all = range(0, rank);
    return {
      rank,
      inputs: node.inputs.map((_, index) => (index < inputCount ? all : undefined)),
      outputs: node.outputs.map(() => all),
      rebuild: (order) => ({ attributes: { ...node.attributes, [attribute]: { type: "int", value: order.indexOf(axis) } } }),
    };
  };

/** Reduces over axes that are the second input; all where there is none. */
const reduction: AxisRule = (node, view) => {
  const rank = rankOf(node.inputs[0], view);
  const given = node.inputs[1] ? numbersOf(node.inputs[1], view) : [];
  if (rank === undefined || given === undefined) return undefined;
  const none = given.length === 0 && intAttribute(node.attributes, "noop_with_empty_axes", 0) !== 0;
  const reduced = given.length === 0 && !none ? range(0, rank) : given.map((axis) => normal(axis, rank));
  const isKept = intAttribute(node.attributes, "keepdims", 1) !== 0;
  const all = range(0, rank);
  return {
    rank,
    inputs: [all],
    outputs: [isKept ? all : all.filter((axis) => !reduced.includes(axis))],
    rebuild: (order) => (given.length === 0 ? {} : { parameters: new Map([[1, list(reduced.map((axis) => order.indexOf(axis)))]]) }),
  };
};

const arg: AxisRule = (node, view) => {
  const space = alongAxis("axis", 0, 1)(node, view);
  if (space === undefined || intAttribute(node.attributes, "keepdims", 1) !== 0) return space;
  const axis = normal(intAttribute(node.attributes, "axis", 0), space.rank);
  return { ...space, outputs: [range(0, space.rank).filter((other) => other !== axis)] };
};

/** Takes one element (or, by a list of indices, some) of an axis. */
const gather: AxisRule = (node, view) => {
  const space = alongAxis("axis", 0, 1)(node, view);
  const indexRank = rankOf(node.inputs[1], view);
  if (space === undefined || indexRank === undefined || indexRank > 1) return undefined;
  const axis = normal(intAttribute(node.attributes, "axis", 0), space.rank);
  return indexRank === 1 ? space : { ...space, outputs: [range(0, space.rank).filter((other) => other !== axis)] };
};

/** Starts, ends, axes and steps are constant; the axes alone change. */
const slice: AxisRule = (node, view) => {
  const rank = rankOf(node.inputs[0], view);
  const [starts, ends] = [1, 2].map((index) => numbersOf(node.inputs[index], view));
  const steps = node.inputs[4] ? numbersOf(node.inputs[4], view) : [];
  const axes = node.inputs[3] ? numbersOf(node.inputs[3], view) : starts && range(0, starts.length);
  if (rank === undefined || !starts || !ends || !steps || !axes) return undefined;
  const all = range(0, rank);
  return {
    rank,
    inputs: [all],
    outputs: [all],
    rebuild: (order) => ({ parameters: new Map([[3, list(axes.map((axis) => order.indexOf(normal(axis, rank))))]]) }),
  };
};

/** An entry for each axis in a constant input: repeats of a Tile. */
const tile: AxisRule = (node, view) => {
  const rank = rankOf(node.inputs[0], view);
  const repeats = numbersOf(node.inputs[1], view);
  if (rank === undefined || repeats === undefined) return undefined;
  const all = range(0, rank);
  const rebuild = (order: readonly number[]) => ({ parameters: new Map([[1, list(order.map((axis) => repeats[axis]))]]) });
  return { rank, inputs: [all], outputs: [all], rebuild };
};

const expand: AxisRule = (node, view) => {
  const result = view.type(node.outputs[0])?.shape;
  const own = rankOf(node.inputs[0], view);
  if (result === undefined || own === undefined || numbersOf(node.inputs[1], view) === undefined) return undefined;
  const rank = result.length;
  const rebuild = (order: readonly number[]) => ({ parameters: new Map([[1, list(order.map((axis) => result[axis]))]]) });
  return { rank, inputs: [range(rank - own, rank)], outputs: [range(0, rank)], broadcasts: true, rebuild };
};

const pad: AxisRule = (node, view) => {
  const rank = rankOf(node.inputs[0], view);
  const amounts = numbersOf(node.inputs[1], view);
  const axes = node.inputs[3] ? numbersOf(node.inputs[3], view) : rank === undefined ? undefined : range(0, rank);
  if (rank === undefined || amounts === undefined || axes === undefined) return undefined;
  const all = range(0, rank);
  const places = axes.map((axis) => normal(axis, rank));
  const amount = (axis: number, side: number): number => (places.includes(axis) ? amounts[side * axes.length + places.indexOf(axis)] : 0);
  return {
    rank,
    inputs: [all],
    outputs: [all],
    rebuild: (order) => ({
      parameters: new Map([
        [1, list([0, 1].flatMap((side) => order.map((axis) => amount(axis, side))))],
        ...(node.inputs[3] ? [[3, list(all)] as const] : []),
      ]),
    }),
  };
};

const runningSum: AxisRule = (node, view) => {
  const rank = rankOf(node.inputs[0], view);
  const [axis] = numbersOf(node.inputs[1], view) ?? [];
  if (rank === undefined || axis === undefined) return undefined;
  const all = range(0, rank);
  const rebuild = (order: readonly number[]) => ({
    parameters: new Map([[1, int64Tensor([], [order.indexOf(normal(axis, rank))])]]),
  });
  return { rank, inputs: [all], outputs: [all], rebuild };
};

/** A Reshape that only adds and takes away axes of extent 1. Those of the input alone come first among the operator's axes, of no extent. */
const unitAxes: AxisRule = (node, view) => {
  const [from, to] = [view.type(node.inputs[0])?.shape, view.type(node.outputs[0])?.shape];
  if (from === undefined || to === undefined || node.outputs.length !== 1) return undefined;
  const long = (shape: readonly number[]) => range(0, shape.length).filter((axis) => shape[axis] !== 1);
  const [fromLong, toLong] = [long(from), long(to)];
  if (fromLong.map((axis) => from[axis]).join() !== toLong.map((axis) => to[axis]).join()) return undefined;
  const outputs = range(0, to.length);
  let extra = to.length;
  const input = from.map((extent, axis) => (extent === 1 ? extra++ : toLong[fromLong.indexOf(axis)]));
  return {
    rank: extra,
    inputs: [input],
    outputs: [outputs],
    rebuild: (order) => ({
      attributes: {},
      parameters: new Map([[1, list(order.filter((axis) => axis < to.length).map((axis) => to[axis]))]]),
    }),
  };
};

const same: AxisRule = (node, view) => {
  const rank = rankOf(node.inputs[0], view);
  return rank === undefined || node.outputs.length !== 1 ? undefined : { rank, inputs: [range(0, rank)], outputs: [range(0, rank)] };
};

const rules: Readonly<Record<string, AxisRule>> = {
  ArgMax: arg,
  ArgMin: arg,
  Concat: alongAxis("axis", 0, Number.POSITIVE_INFINITY),
  CumSum: runningSum,
  Dropout: same,
  Expand: expand,
  Flatten: unitAxes,
  Gather: gather,
  Hardmax: alongAxis("axis", -1, 1),
  Identity: same,
  LogSoftmax: alongAxis("axis", -1, 1),
  Pad: pad,
  ReduceL1: reduction,
  ReduceL2: reduction,
  ReduceLogSum: reduction,
  ReduceLogSumExp: reduction,
  ReduceMax: reduction,
  ReduceMean: reduction,
  ReduceMin: reduction,
  ReduceProd: reduction,
  ReduceSum: reduction,
  ReduceSumSquare: reduction,
  Reshape: unitAxes,
  Slice: slice,
  Softmax: alongAxis("axis", -1, 1),
  Split: alongAxis("axis", 0, 1),
  Squeeze: unitAxes,
  Tile: tile,
  TopK: alongAxis("axis", -1, 1),
  Unsqueeze: unitAxes,
};

/** The form in which a node's operator commutes with permutations; undefined if it has none, or types are not static. */
export function axisSpace(node: Node, view: AxisView): AxisSpace | undefined {
  if (node.domain !== "" || node.epilogue !== undefined) return undefined;
  const isPointwise = recordOf(node.op, "")?.lowering?.kind === "pointwise";
  const rule = rules[node.op] ?? (isPointwise ? elementwise : undefined);
  const space = rule?.(node, view);
  const isTyped = [...node.outputs, ...node.inputs].every((value) => value === "" || isStatic(view.type(value)));
  return space && isTyped ? space : undefined;
}

/** The permutation of a Transpose, which reverses the axes where the attribute is absent. */
export function permutationOf(node: Node, rank: number): readonly number[] {
  return intsAttribute(node.attributes, "perm") ?? range(0, rank).reverse();
}
