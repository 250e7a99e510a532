/** Makes the nodes that a composite operator is written as. */
import { type Attribute, type Graph, isStatic, type Node, type TensorType } from "../graph/graph.js";
import { type DType, fromNumbers, int64Tensor, type Tensor } from "../graph/tensor.js";
import type { OperatorUse, Reason } from "./record.js";
import { recordOf, useOf } from "./registry.js";
import { dtypeCode, reason } from "./shapes.js";

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

  /** What is known of values, the graph's and the builder's own. */
  private readonly known = {
    types: { get: (value: string) => this.type(value) },
    constants: { get: (value: string) => this.constants.get(value) ?? this.graph.constants.get(value) },
  };

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

  dtypeOf(value: string): DType {
    const dtype = this.type(value)?.dtype;
    if (dtype === undefined) throw new Error(`decomposition of ${this.node.name}: ${value} has no type`);
    return dtype;
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

  /** A constant scalar of another element type than the first input's. */
  typed(dtype: DType, value: number): string {
    return this.constant(fromNumbers(dtype, [], [value]));
  }

  /** 0, 1, ... along `axis` of `rank`, the other extents being 1, as int32. */
  iota(size: number, axis: number, rank: number): string {
    const shape = new Array<number>(rank).fill(1).with(axis, size);
    return this.constant(
      fromNumbers(
        "int32",
        shape,
        Array.from({ length: size }, (_, index) => index),
      ),
    );
  }

  /** The value itself where it has that type. */
  cast(value: string, dtype: DType): string {
    return this.dtypeOf(value) === dtype ? value : this.op("Cast", [value], { to: intValue(dtypeCode(dtype)) });
  }

  /** The value itself where it has that shape. */
  reshape(value: string, shape: readonly number[]): string {
    const own = this.shape(value);
    const same = own.length === shape.length && own.every((extent, axis) => extent === shape[axis]);
    return same ? value : this.op("Reshape", [value, this.integers(shape)], shape.includes(0) ? { allowzero: intValue(1) } : {});
  }

  /** With an axis of extent 1 before `axis`. */
  unsqueeze(value: string, axis: number): string {
    return this.reshape(value, this.shape(value).toSpliced(axis, 0, 1));
  }

  /** Elements [from, to) of an axis. */
  slice(value: string, axis: number, from: number, to: number): string {
    if (from === 0 && to === this.shape(value)[axis]) return value;
    return this.op("Slice", [value, this.integers([from]), this.integers([to]), this.integers([axis])]);
  }

  concat(values: readonly string[], axis: number): string {
    return values.length === 1 ? values[0] : this.op("Concat", values, { axis: intValue(axis) });
  }

  transpose(value: string, perm: readonly number[]): string {
    return perm.every((from, to) => from === to) ? value : this.op("Transpose", [value], { perm: intsValue(perm) });
  }

  expand(value: string, shape: readonly number[]): string {
    const own = this.shape(value);
    const same = own.length === shape.length && own.every((extent, axis) => extent === shape[axis]);
    return same ? value : this.op("Expand", [value, this.integers(shape)]);
  }

  /** A reduction that keeps its axes. */
  reduce(op: string, value: string, axes: readonly number[]): string {
    return this.op(op, [value, this.integers(axes)], { keepdims: intValue(1) });
  }

  /** Adds a node and gives its output's name. */
  op(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.all(op, inputs, attributes, 1)[0];
  }

  /** Adds a node of `count` outputs and gives their names. */
  all(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>>, count: number): string[] {
    const name = `${this.node.name}/${op.toLowerCase()}_${this.nodes.length}`;
    const outputs = range(0, count).map((index) => this.name(`${op.toLowerCase()}${index || ""}`));
    const node: Node = { name, op, domain: "", inputs, outputs, attributes, origins: this.node.origins };
    const types = recordOf(op, "")?.infer(useOf(this.known, node)) ?? [];
    for (const [index, output] of outputs.entries()) {
      const type = types[index];
      if (type === undefined) throw new Error(`decomposition of ${this.node.name}: ${op} has no type`);
      this.types.set(output, type);
    }
    this.nodes.push(node);
    return outputs;
  }

  /** The finished replacement: `results` take the names of the node's outputs; those beyond the node's own are dropped, as absent ones are. */
  finish(results: readonly (string | undefined)[]): Decomposition {
    const names = new Map<string, string>();
    for (const [index, result] of results.entries()) {
      const target = this.node.outputs[index] ?? "";
      if (target === "" || result === undefined) continue;
      const isOwn = this.types.has(result) && !this.constants.has(result) && !names.has(result);
      names.set(isOwn ? result : this.op("Identity", [result]), target);
    }
    for (const name of names.keys()) this.types.delete(name);
    const renamed = (name: string): string => names.get(name) ?? name;
    const nodes = this.nodes.map((node) => ({ ...node, inputs: node.inputs.map(renamed), outputs: node.outputs.map(renamed) }));
    return { nodes, constants: this.constants, types: this.types };
  }
}

/**
 * Gives the names of the results (of one, its name), why this use has no such form, or undefined where the operator is to stay as it is.
 * Shapes are static, parameters constant.
 */
export type Rule = (builder: Builder, inputs: readonly string[], use: OperatorUse) => string | readonly string[] | Reason | undefined;

/** Why an expansion to `count` elements is too much; undefined if it is not. */
export function refuseExpansion(subject: string, count: number): Reason | undefined {
  if (count <= MOST_EXPANDED) return undefined;
  return reason("size", subject, `${count} elements when written out`, `at most ${MOST_EXPANDED}`);
}

/** Most elements of an intermediate value that is larger than what it stands for. */
const MOST_EXPANDED = 1 << 22;
/** Most steps of a loop that is written out. */
export const MOST_STEPS = 512;

export const intValue = (value: number): Attribute => ({ type: "int", value });
export const intsValue = (value: readonly number[]): Attribute => ({ type: "ints", value });
export const range = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
