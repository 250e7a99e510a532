/** Rules that write an operator without a lowering of its own as nodes of the small operator set. */
import {
  type Attribute,
  floatAttribute,
  type Graph,
  intAttribute,
  isStatic,
  type Node,
  stringAttribute,
  type TensorType,
} from "../graph/graph.js";
import { type DType, fromNumbers, int64Tensor, isFloat, type Tensor, toNumbers } from "../graph/tensor.js";
import { newestRules } from "./newest.js";
import { floatTypes } from "./pointwise.js";
import type { OperatorUse } from "./record.js";
import { reducedAxes } from "./reduce.js";
import { recordOf, useOf } from "./registry.js";
import { axisTaps, refuseSampling, type Tap } from "./resize.js";
import { axisAttribute, staticShape } from "./shapes.js";

/** What replaces a node: nodes in topological order that make the node's outputs, and the constants and types that they bring. */
export interface Decomposition {
  readonly nodes: readonly Node[];
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Of every new value, constants included. */
  readonly types: ReadonlyMap<string, TensorType>;
}

/** Builds the replacement of one node. Values are named after the node's first output. */
export class Builder {
  readonly nodes: Node[] = [];
  readonly constants = new Map<string, Tensor>();
  readonly types = new Map<string, TensorType>();

  constructor(
    private readonly graph: Graph,
    readonly node: Node,
  ) {}

  private name(hint: string): string {
    let name = `${this.node.outputs[0]}/${hint}_${this.types.size}`;
    while (this.graph.types.has(name)) name += "_";
    return name;
  }

  private type(value: string): TensorType | undefined {
    return this.types.get(value) ?? this.graph.types.get(value);
  }

  shape(value: string): readonly number[] {
    const type = this.type(value);
    if (!isStatic(type)) throw new Error(`decomposition of ${this.node.name}: ${value} has no static shape`);
    return type.shape;
  }

  get dtype(): DType {
    return this.type(this.node.inputs[0])?.dtype ?? "float32";
  }

  constant(tensor: Tensor): string {
    const name = this.name("constant");
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  /** A constant of the first input's element type. */
  values(shape: readonly number[], values: readonly number[]): string {
    return this.constant(fromNumbers(this.dtype, shape, values));
  }

  scalar(value: number): string {
    return this.values([], [value]);
  }

  integers(values: readonly number[]): string {
    return this.constant(int64Tensor([values.length], values));
  }

  /** Adds a node and gives its output's name. */
  op(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    const output = this.name(op.toLowerCase());
    const name = `${this.node.name}/${op.toLowerCase()}_${this.nodes.length}`;
    const node: Node = { name, op, domain: "", inputs, outputs: [output], attributes, origins: this.node.origins };
    const types = new Map(inputs.flatMap((input) => [[input, this.type(input)] as const]).filter(hasType));
    const constants = new Map(this.constants);
    for (const input of inputs) {
      const constant = this.graph.constants.get(input);
      if (constant) constants.set(input, constant);
    }
    const type = recordOf(op, "")?.infer(useOf({ types, constants }, node))[0];
    if (type === undefined) throw new Error(`decomposition of ${this.node.name}: ${op} has no type`);
    this.types.set(output, type);
    this.nodes.push(node);
    return output;
  }

  /** The finished replacement: `results` take the names of the node's outputs; those beyond the node's own are dropped. */
  finish(results: readonly string[]): Decomposition {
    const names = new Map<string, string>();
    for (const [index, result] of results.entries()) {
      const target = this.node.outputs[index] ?? "";
      if (target === "") continue;
      const isOwn = this.types.has(result) && !this.constants.has(result) && !names.has(result);
      names.set(isOwn ? result : this.op("Identity", [result]), target);
    }
    for (const name of names.keys()) this.types.delete(name);
    const renamed = (name: string): string => names.get(name) ?? name;
    const nodes = this.nodes.map((node) => ({ ...node, inputs: node.inputs.map(renamed), outputs: node.outputs.map(renamed) }));
    return { nodes, constants: this.constants, types: this.types };
  }
}

function hasType(entry: readonly [string, TensorType | undefined]): entry is readonly [string, TensorType] {
  return entry[1] !== undefined;
}

/** Gives the names of the results (of one, its name), or undefined if the rule doesn't fit this use. */
export type Rule = (builder: Builder, inputs: readonly string[], use: OperatorUse) => string | readonly string[] | undefined;

const intValue = (value: number): Attribute => ({ type: "int", value });
const keep = { keepdims: intValue(1) };
const range = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);

/** alpha A B + beta C. */
const gemm: Rule = (builder, [a, b, c], use) => {
  const turned = (value: string, attribute: string): string =>
    intAttribute(use.attributes, attribute, 0) ? builder.op("Transpose", [value], { perm: { type: "ints", value: [1, 0] } }) : value;
  const scaled = (value: string, attribute: string): string => {
    const factor = floatAttribute(use.attributes, attribute, 1);
    return factor === 1 ? value : builder.op("Mul", [value, builder.scalar(factor)]);
  };
  const product = scaled(builder.op("MatMul", [turned(a, "transA"), turned(b, "transB")]), "alpha");
  if (!c || floatAttribute(use.attributes, "beta", 1) === 0) return product;
  return builder.op("Add", [product, scaled(c, "beta")]);
};

/** Vectors are matrices of one row or column. */
const vectorMatmul: Rule = (builder, [a, b], use) => {
  const [left, right] = [staticShape(use, 0), staticShape(use, 1)];
  if (left.length > 1 && right.length > 1) return undefined;
  const first = left.length > 1 ? a : builder.op("Reshape", [a, builder.integers([1, left[0]])]);
  const second = right.length > 1 ? b : builder.op("Reshape", [b, builder.integers([right[0], 1])]);
  const product = builder.op("MatMul", [first, second]);
  const shape = [...builder.shape(product)];
  if (right.length === 1) shape.splice(shape.length - 1, 1);
  if (left.length === 1) shape.splice(shape.length - (right.length === 1 ? 1 : 2), 1);
  return builder.op("Reshape", [product, builder.integers(shape)]);
};

/** x factor + shift, with constant statistics. */
const batchNormalization: Rule = (builder, [x], use) => {
  const statistics = use.constants.slice(1, 5).filter((tensor) => tensor !== undefined);
  const shape = staticShape(use, 0);
  if (statistics.length < 4 || shape.length < 2 || use.outputCount > 1 || intAttribute(use.attributes, "training_mode", 0))
    return undefined;
  const [scale, bias, mean, variance] = statistics.map(toNumbers);
  const epsilon = floatAttribute(use.attributes, "epsilon", 1e-5);
  const factor = scale.map((value, channel) => value / Math.sqrt(variance[channel] + epsilon));
  const shift = bias.map((value, channel) => value - mean[channel] * factor[channel]);
  const perChannel = [shape[1], ...shape.slice(2).map(() => 1)];
  const product = builder.op("Mul", [x, builder.values(perChannel, factor)]);
  return builder.op("Add", [product, builder.values(perChannel, shift)]);
};

const globalReduction =
  (op: string): Rule =>
  (builder, [x], use) =>
    builder.op(op, [x, builder.integers(range(2, staticShape(use, 0).length))], keep);

const globalNorm: Rule = (builder, inputs, use) => {
  const p = intAttribute(use.attributes, "p", 2);
  return p === 1 || p === 2 ? globalReduction(`ReduceL${p}`)(builder, inputs, use) : undefined;
};

/** More than two inputs, joined one by one. */
const chain =
  (op: string): Rule =>
  (builder, inputs) =>
    inputs.length > 2 ? inputs.slice(1).reduce((sum, input) => builder.op(op, [sum, input]), inputs[0]) : undefined;

const meanChain: Rule = (builder, inputs) => {
  const sum = inputs.length > 2 ? inputs.slice(1).reduce((left, right) => builder.op("Add", [left, right]), inputs[0]) : undefined;
  return sum && builder.op("Div", [sum, builder.scalar(inputs.length)]);
};

const LARGEST_LRN = 64;

/** x (bias + alpha / size (sum of squares over a window of channels)) ^ -beta. */
const localResponse: Rule = (builder, [x], use) => {
  const shape = staticShape(use, 0);
  const size = intAttribute(use.attributes, "size", 1);
  if (shape.length < 2 || size < 1 || size > LARGEST_LRN) return undefined;
  const before = Math.floor((size - 1) / 2);
  const after = size - 1 - before;
  const square = builder.op("Mul", [x, x]);
  const zeros = shape.map(() => 0);
  const pads = [...zeros.with(1, before), ...zeros.with(1, after)];
  const padded = size === 1 ? square : builder.op("Pad", [square, builder.integers(pads)]);
  const axis = builder.integers([1]);
  const windows = range(0, size).map((start) =>
    size === 1 ? padded : builder.op("Slice", [padded, builder.integers([start]), builder.integers([start + shape[1]]), axis]),
  );
  const sum = windows.reduce((left, right) => builder.op("Add", [left, right]));
  const scaled = builder.op("Mul", [sum, builder.scalar(floatAttribute(use.attributes, "alpha", 1e-4) / size)]);
  const base = builder.op("Add", [scaled, builder.scalar(floatAttribute(use.attributes, "bias", 1))]);
  const power = builder.op("Pow", [base, builder.scalar(-floatAttribute(use.attributes, "beta", 0.75))]);
  return builder.op("Mul", [x, power]);
};

/** Elements in their order, in the output's shape. */
const reshape: Rule = (builder, [x]) => builder.op("Reshape", [x, builder.integers(builder.shape(builder.node.outputs[0]))]);

/** The sum of the taps of each axis in turn: y = sum Gather(x, indices) weights. */
const resize: Rule = (builder, [x], use) => {
  if (stringAttribute(use.attributes, "mode", "nearest") === "nearest" || refuseSampling(use)) return undefined;
  const rank = staticShape(use, 0).length;
  return staticShape(use, 0).reduce((value, _, axis) => {
    const taps = axisTaps(use, axis);
    return taps === undefined ? value : sampled(builder, value, axis, rank, taps);
  }, x);
};

function sampled(builder: Builder, value: string, axis: number, rank: number, taps: readonly Tap[]): string {
  const shape = new Array<number>(rank).fill(1);
  const terms = taps.map(({ indices, weights }) => {
    shape[axis] = weights.length;
    const gathered = builder.op("Gather", [value, builder.integers(indices)], { axis: intValue(axis) });
    return builder.op("Mul", [gathered, builder.values([...shape], weights)]);
  });
  return terms.reduce((left, right) => builder.op("Add", [left, right]));
}

/** max + log(sum(exp(x - max))). */
const logSumExp: Rule = (builder, [x], use) => {
  const axes = reducedAxes(use) ?? [];
  if (axes.length === 0) return undefined;
  const list = builder.integers(axes);
  const largest = builder.op("ReduceMax", [x, list], keep);
  const powers = builder.op("Exp", [builder.op("Sub", [x, largest])]);
  const sum = builder.op("Log", [builder.op("ReduceSum", [powers, list], keep)]);
  return reshape(builder, [builder.op("Add", [sum, largest])], use);
};

/** (x - mean) / sqrt(variance + epsilon) over axes. */
function standardised(builder: Builder, x: string, axes: readonly number[], epsilon: number): string {
  const list = builder.integers(axes);
  const centred = builder.op("Sub", [x, builder.op("ReduceMean", [x, list], keep)]);
  const variance = builder.op("ReduceMean", [builder.op("Mul", [centred, centred]), list], keep);
  const deviation = builder.op("Sqrt", [builder.op("Add", [variance, builder.scalar(epsilon)])]);
  return builder.op("Div", [centred, deviation]);
}

const instanceNormalization: Rule = (builder, [x, scale, bias], use) => {
  const shape = staticShape(use, 0);
  const perChannel = (value: string): string =>
    builder.op("Reshape", [value, builder.integers([shape[1], ...shape.slice(2).map(() => 1)])]);
  const normal = standardised(builder, x, range(2, shape.length), floatAttribute(use.attributes, "epsilon", 1e-5));
  return builder.op("Add", [builder.op("Mul", [normal, perChannel(scale)]), perChannel(bias)]);
};

const layerNormalization: Rule = (builder, [x, scale, bias], use) => {
  const rank = staticShape(use, 0).length;
  if (use.outputCount > 1) return undefined;
  const axes = range(axisAttribute(use, -1, rank), rank);
  const normal = builder.op("Mul", [standardised(builder, x, axes, floatAttribute(use.attributes, "epsilon", 1e-5)), scale]);
  return bias ? builder.op("Add", [normal, bias]) : normal;
};

/** One side of the diagonal `k` of each matrix, zeros elsewhere: a choice by a constant mask. */
const triangle: Rule = (builder, [x], use) => {
  const [rows, columns] = staticShape(use, 0).slice(-2);
  if (!rows || !columns || !recordOf("Where", "")?.types?.includes(builder.dtype)) return undefined;
  const k = use.constants[1] ? toNumbers(use.constants[1])[0] : 0;
  const upper = intAttribute(use.attributes, "upper", 1) !== 0;
  const kept = range(0, rows * columns).map((place) => {
    const diagonal = (place % columns) - Math.floor(place / columns);
    return Number(upper ? diagonal >= k : diagonal <= k);
  });
  return builder.op("Where", [builder.constant(fromNumbers("bool", [rows, columns], kept)), x, builder.scalar(0)]);
};

const rules: Readonly<Record<string, Rule>> = {
  BatchNormalization: batchNormalization,
  Flatten: reshape,
  Gemm: gemm,
  GlobalAveragePool: globalReduction("ReduceMean"),
  GlobalLpPool: globalNorm,
  GlobalMaxPool: globalReduction("ReduceMax"),
  InstanceNormalization: instanceNormalization,
  LayerNormalization: layerNormalization,
  LRN: localResponse,
  MatMul: vectorMatmul,
  Max: chain("Max"),
  Mean: meanChain,
  Min: chain("Min"),
  ReduceLogSumExp: logSumExp,
  Resize: resize,
  Squeeze: reshape,
  Sum: chain("Add"),
  Trilu: triangle,
  Unsqueeze: reshape,
  ...newestRules,
};

export function hasDecomposition(op: string): boolean {
  return rules[op] !== undefined;
}

/** Operators that only change the shape: of any element type. */
const anyType = new Set(["Flatten", "Squeeze", "Unsqueeze", "Max", "Min", "Sum", "Trilu"]);

/**
 * The nodes that a node is decomposed into; undefined where it stays: no rule, open shapes, parameters that are no constants
 * (yet), a type that the engines don't compute in, or a use that the rule doesn't cover. Types have to be inferred; nodes with an epilogue stay.
 */
export function decompose(graph: Graph, node: Node): Decomposition | undefined {
  const record = recordOf(node.op, node.domain);
  const rule = record && rules[record.name];
  if (record === undefined || rule === undefined || node.epilogue?.length) return undefined;
  const values = [...node.inputs, ...node.outputs].filter((name) => name !== "");
  if (!values.every((name) => isStatic(graph.types.get(name)))) return undefined;
  const use = useOf(graph, node);
  const dtype = use.inputs[0]?.dtype;
  const parameters = record.parameters ?? [];
  if (parameters.some((index) => use.inputs[index] && !use.constants[index])) return undefined;
  if (dtype === undefined || !(anyType.has(node.op) || floatTypes.includes(dtype) || (newestRules[node.op] && isFloat(dtype))))
    return undefined;
  const builder = new Builder(graph, node);
  const result = rule(builder, node.inputs, use);
  return result === undefined ? undefined : builder.finish(typeof result === "string" ? [result] : result);
}
