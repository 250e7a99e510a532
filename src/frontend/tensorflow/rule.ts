/** What a conversion rule is, and what it works with: one TensorFlow node, and the graph that is being made. */
import { userError } from "../../diagnostics/diagnostic.js";
import type { Attribute, Attributes, Node } from "../../graph/graph.js";
import { type DType, fromNumbers, int64Tensor, type Tensor, toNumbers } from "../../graph/tensor.js";
import { elementTypeCodes } from "../onnx/tensor.js";
import type { FlatAttribute, FlatNode } from "./flat.js";

/** Adds the operators that compute a node; returns the values of its outputs, in order. */
export type Rule = (node: Conversion) => readonly string[];
export type Rules = Readonly<Record<string, Rule>>;

/** Where rules put what they make. */
export interface Target {
  readonly nodes: Node[];
  readonly constants: Map<string, Tensor>;
}

export const int = (value: number): Attribute => ({ type: "int", value });
export const float = (value: number): Attribute => ({ type: "float", value });
export const ints = (value: readonly number[]): Attribute => ({ type: "ints", value });
export const text = (value: string): Attribute => ({ type: "string", value });

/** One node under conversion. What it makes is named `NODE#NUMBER`: no name of TensorFlow holds a `#`. */
export class Conversion {
  private made = 0;

  constructor(
    readonly source: FlatNode,
    readonly inputs: readonly string[],
    private readonly target: Target,
  ) {}

  /** Adds an operator; returns its `count` outputs. */
  emitAll(op: string, inputs: readonly string[], attributes: Attributes, count: number): string[] {
    const name = this.fresh();
    const outputs = Array.from({ length: count }, (_, index) => `${name}:${index}`);
    this.target.nodes.push({ name, op, domain: "", inputs, outputs, attributes, origins: [this.source.name] });
    return outputs;
  }

  /** Adds an operator of one output; returns that. */
  emit(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.emitAll(op, inputs, attributes, 1)[0];
  }

  constant(tensor: Tensor): string {
    const name = `${this.fresh()}:0`;
    this.target.constants.set(name, tensor);
    return name;
  }

  /** A one-dimensional int64 constant. */
  integers(values: readonly number[]): string {
    return this.constant(int64Tensor([values.length], [...values]));
  }

  /** A scalar constant of the element type of the node's attribute `T`. */
  scalar(value: number): string {
    return this.constant(fromNumbers(this.dtype("T"), [], [value]));
  }

  cast(value: string, dtype: DType): string {
    return this.emit("Cast", [value], { to: int(elementTypeCodes[dtype]) });
  }

  /** An input of integers (a shape, axes) as the int64 that ONNX wants; a scalar as a list of one where `asList`. */
  int64(index: number, asList = false): string {
    const value = this.cast(this.inputs[index], "int64");
    return asList ? this.emit("Reshape", [value, this.integers([-1])]) : value;
  }

  /** The numbers of an input that has to be a constant. */
  numbers(index: number): number[] {
    return toNumbers(this.tensor(index));
  }

  /** An input that has to be a constant. */
  tensor(index: number): Tensor {
    const tensor = this.target.constants.get(this.inputs[index]);
    if (tensor === undefined) throw this.refusal(`its input ${index} is not a constant`);
    return tensor;
  }

  int(name: string, fallback = 0): number {
    const value = this.attribute(name, "int")?.value;
    return value === undefined ? fallback : value;
  }

  float(name: string, fallback: number): number {
    return this.attribute(name, "float")?.value ?? fallback;
  }

  bool(name: string): boolean {
    return this.attribute(name, "bool")?.value ?? false;
  }

  text(name: string, fallback: string): string {
    return this.attribute(name, "string")?.value ?? fallback;
  }

  dtype(name: string): DType {
    const value = this.attribute(name, "dtype")?.value ?? "float32";
    if (value === "resource" || value === "variant") throw this.refusal(`its ${name} is ${value}`);
    return value;
  }

  /** A list of numbers; empty where the attribute is absent. */
  list(name: string): number[] {
    return (this.attribute(name, "list")?.value ?? []).map(Number);
  }

  /** A list of strings; empty where the attribute is absent. */
  texts(name: string): string[] {
    return (this.attribute(name, "list")?.value ?? []).map(String);
  }

  /** The error that says why this node can't be converted. */
  refusal(reason: string): Error {
    return userError("NCC0291", { node: this.source.name, op: this.source.op, reason });
  }

  private fresh(): string {
    return `${this.source.name}#${this.made++}`;
  }

  private attribute<T extends FlatAttribute["type"]>(name: string, type: T): Extract<FlatAttribute, { type: T }> | undefined {
    const attribute = this.source.attributes.get(name);
    if (attribute === undefined) return undefined;
    if (!isOfType(attribute, type)) throw this.refusal(`its attribute ${name} is ${attribute.type}, not ${type}`);
    return attribute;
  }
}

function isOfType<T extends FlatAttribute["type"]>(attribute: FlatAttribute, type: T): attribute is Extract<FlatAttribute, { type: T }> {
  return attribute.type === type;
}
