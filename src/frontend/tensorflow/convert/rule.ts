/** What a conversion rule is, and what it works with: one TensorFlow node, and the graph that is being made. */
import { userError } from "../../../diagnostics/diagnostic.js";
import { type Attribute, type Attributes, type Dim, isStatic, type Node, type TensorType } from "../../../graph/graph.js";
import { type DType, elementCount, fromNumbers, int64Tensor, type Tensor, toNumbers } from "../../../graph/tensor.js";
import { elementTypeCodes } from "../../onnx/tensor.js";
import type { FlatAttribute, FlatGraph, FlatNode } from "../flat.js";
import type { Scope } from "./scope.js";

/** Adds the operators that compute a node; returns the values of its outputs, in order. */
export type Rule = (node: Conversion) => readonly string[];
export type Rules = Readonly<Record<string, Rule>>;

export const int = (value: number): Attribute => ({ type: "int", value });
export const float = (value: number): Attribute => ({ type: "float", value });
export const ints = (value: readonly number[]): Attribute => ({ type: "ints", value });
export const text = (value: string): Attribute => ({ type: "string", value });

/** The integers from `start` on, below `end`. */
export const range = (start: number, end: number): number[] =>
  Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index);

/** An extent: a number, or the value (a list of one int64) that holds it at run time. */
export type Extent = number | string;

/** Beyond every extent: a slice's bound that cuts nothing. */
export const unbounded = 2 ** 31 - 1;

/** One node under conversion. What it makes is named `NODE#NUMBER`: no name of TensorFlow holds a `#`. */
export class Conversion {
  private made = 0;

  constructor(
    readonly source: FlatNode,
    readonly inputs: readonly string[],
    readonly scope: Scope,
  ) {}

  /** Adds an operator; returns its `count` outputs. */
  emitAll(op: string, inputs: readonly string[], attributes: Attributes, count: number): string[] {
    const name = this.fresh();
    const outputs = Array.from({ length: count }, (_, index) => `${name}:${index}`);
    const node: Node = { name, op, domain: "", inputs: [...inputs], outputs, attributes, origins: [this.source.name] };
    this.scope.nodes.push(node);
    this.scope.known.addNode(node, declaredTypes(node, this));
    for (const [value, tensor] of partsOfShapes(node, this)) this.scope.known.addConstant(value, tensor);
    return outputs;
  }

  /** Adds an operator of one output; returns that. */
  emit(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.emitAll(op, inputs, attributes, 1)[0];
  }

  constant(tensor: Tensor): string {
    const name = `${this.fresh()}:0`;
    this.scope.addConstant(name, tensor);
    return name;
  }

  /** A one-dimensional int64 constant. */
  integers(values: readonly number[]): string {
    return this.constant(int64Tensor([values.length], [...values]));
  }

  /** A scalar constant; of the element type of the node's attribute `T` unless given. */
  scalar(value: number, dtype: DType = this.dtype("T")): string {
    return this.constant(fromNumbers(dtype, [], [value]));
  }

  /** A constant of numbers. */
  numbersOf(dtype: DType, shape: readonly number[], values: readonly number[]): string {
    return this.constant(fromNumbers(dtype, shape, values));
  }

  cast(value: string, dtype: DType): string {
    if (this.type(value)?.dtype === dtype) return value;
    return this.emit("Cast", [value], { to: int(elementTypeCodes[dtype]) });
  }

  transpose(value: string, permutation: readonly number[]): string {
    if (permutation.every((axis, index) => axis === index)) return value;
    return this.emit("Transpose", [value], { perm: ints(permutation) });
  }

  unsqueeze(value: string, axes: readonly number[]): string {
    return this.emit("Unsqueeze", [value, this.integers(axes)]);
  }

  squeeze(value: string, axes: readonly number[]): string {
    return this.emit("Squeeze", [value, this.integers(axes)]);
  }

  concat(values: readonly string[], axis: number): string {
    return values.length === 1 ? values[0] : this.emit("Concat", values, { axis: int(axis) });
  }

  /** A part of one axis, by constant bounds. */
  slice(value: string, axis: number, start: number, end: number, step = 1): string {
    return this.emit("Slice", [value, ...[[start], [end], [axis], [step]].map((list) => this.integers(list))]);
  }

  /** Over constant axes. */
  reduce(op: string, value: string, axes: readonly number[], keepsAxes: boolean): string {
    return this.emit(op, [value, this.integers(axes)], { keepdims: int(keepsAxes ? 1 : 0), noop_with_empty_axes: int(1) });
  }

  /** The shape of these extents as a value. */
  shapeOf(extents: readonly Extent[]): string {
    const known = extents.filter((extent) => typeof extent === "number");
    if (known.length === extents.length) return this.integers(known);
    return this.concat(
      extents.map((extent) => (typeof extent === "number" ? this.integers([extent]) : extent)),
      0,
    );
  }

  /** The elements in another shape. One extent that only the run tells needs no computing. */
  reshape(value: string, extents: readonly Extent[]): string {
    const open = extents.filter((extent) => typeof extent === "string").length;
    const shape =
      open === 1 && !extents.includes(0) && !extents.includes(-1)
        ? extents.map((extent) => (typeof extent === "string" ? -1 : extent))
        : extents;
    return this.emit("Reshape", [value, this.shapeOf(shape)], { allowzero: int(1) });
  }

  /** The extent of one axis of a value. */
  extent(value: string, axis: number): Extent {
    const size = this.dims(value).at(axis);
    if (typeof size === "number") return size;
    const shape = this.emit("Shape", [value]);
    const at = axis < 0 ? axis + this.rank(value) : axis;
    return this.slice(shape, 0, at, at + 1);
  }

  extents(value: string): Extent[] {
    return this.dims(value).map((_, axis) => this.extent(value, axis));
  }

  /** Arithmetic on extents. */
  combine(op: "Add" | "Sub" | "Mul" | "Div", left: Extent, right: Extent): Extent {
    if (typeof left === "number" && typeof right === "number") {
      const results = { Add: left + right, Sub: left - right, Mul: left * right, Div: Math.floor(left / right) };
      return results[op];
    }
    return this.emit(op, [this.shapeOf([left]), this.shapeOf([right])]);
  }

  type(value: string): TensorType | undefined {
    return this.scope.known.type(value);
  }

  dtypeOf(value: string): DType {
    return this.type(value)?.dtype ?? this.dtype("T");
  }

  dims(value: string): readonly Dim[] {
    const shape = this.type(value)?.shape;
    if (shape === undefined) throw this.refusal("the rank of its input can't be told");
    return shape;
  }

  rank(value: string): number {
    return this.dims(value).length;
  }

  /** Extents that have to be known at compile time: of all axes, or of those given (negative ones from the end). */
  staticDims(value: string, axes?: readonly number[]): number[] {
    const dims = this.dims(value);
    return (axes ?? range(0, dims.length)).map((axis) => {
      const extent = dims.at(axis);
      if (typeof extent === "number") return extent;
      throw this.refusal("its input has an open dimension; give the inputs fixed shapes when exporting");
    });
  }

  /** An input of integers (a shape, axes) as the int64 that ONNX wants; a scalar as a list of one where `asList`. */
  int64(index: number, asList = false): string {
    return this.asInt64(this.inputs[index], asList);
  }

  asInt64(value: string, asList = false): string {
    const known = this.known(value);
    if (known !== undefined) {
      const values = toNumbers(known);
      return this.constant(int64Tensor(asList ? [values.length] : known.shape, values));
    }
    const wide = this.cast(value, "int64");
    return asList ? this.emit("Reshape", [wide, this.integers([-1])]) : wide;
  }

  /** The constant that a value is, if it is one. */
  known(value: string): Tensor | undefined {
    return this.scope.known.constant(value);
  }

  /** The numbers of an input that has to be a constant. */
  numbers(index: number): number[] {
    return toNumbers(this.tensor(index));
  }

  /** The only number of an input that has to be a constant. */
  number(index: number): number {
    return this.numbers(index)[0];
  }

  /** An input that has to be a constant. */
  tensor(index: number): Tensor {
    const tensor = this.known(this.inputs[index]);
    if (tensor === undefined) throw this.refusal(`its input ${index} is not a constant`);
    return tensor;
  }

  /** The elements of a list of integers: as numbers, by the name of an open extent, or undefined. */
  elements(value: string): readonly (Dim | undefined)[] | undefined {
    const known = this.known(value);
    if (known !== undefined) return toNumbers(known);
    const node = this.scope.producer(value);
    const form = node && elementForms[node.op];
    if (node && form) return form(node, this);
    const shape = this.type(value)?.shape;
    return shape?.every((extent) => extent === 1) ? [undefined] : undefined;
  }

  int(name: string, fallback = 0): number {
    const value = this.attribute(name, "int")?.value;
    return value === undefined ? fallback : value;
  }

  float(name: string, fallback: number): number {
    return this.attribute(name, "float")?.value ?? fallback;
  }

  bool(name: string, fallback = false): boolean {
    return this.attribute(name, "bool")?.value ?? fallback;
  }

  text(name: string, fallback: string): string {
    return this.attribute(name, "string")?.value ?? fallback;
  }

  dtype(name: string, fallback: DType = "float32"): DType {
    const value = this.attribute(name, "dtype")?.value ?? fallback;
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

  /** A body that the node calls. */
  body(name: string): FlatGraph {
    const value = this.attribute(name, "function")?.value;
    if (value === undefined) throw this.refusal(`it has no ${name}`);
    return value;
  }

  bodies(name: string): readonly FlatGraph[] {
    return this.attribute(name, "functions")?.value ?? [];
  }

  /** The error that says why this node can't be converted. */
  refusal(reason: string): Error {
    return userError("NCC0291", { node: this.source.name, op: this.source.op, reason });
  }

  fresh(): string {
    return this.scope.uniqueName(`${this.source.name}#${this.made++}`);
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

const firstInput = (node: Node, conversion: Conversion) => conversion.elements(node.inputs[0]);

/** Operators that shapes are computed with, on lists of which not every element is known. */
const elementForms: Readonly<Record<string, (node: Node, conversion: Conversion) => readonly (Dim | undefined)[] | undefined>> = {
  Cast: firstInput,
  Identity: firstInput,
  Reshape: firstInput,
  Squeeze: firstInput,
  Unsqueeze: firstInput,
  Concat(node, conversion) {
    const parts = node.inputs.map((input) => conversion.elements(input));
    return parts.some((part) => part === undefined) ? undefined : parts.flatMap((part) => part ?? []);
  },
  Gather(node, conversion) {
    const indices = conversion.known(node.inputs[1]);
    const all = firstInput(node, conversion);
    return indices && all && toNumbers(indices).map((at) => all.at(at));
  },
  Shape: (node, conversion) => conversion.type(node.inputs[0])?.shape,
  Slice(node, conversion) {
    const [starts, ends, , steps] = node.inputs.slice(1).map((input) => conversion.known(input));
    const all = firstInput(node, conversion);
    if (!starts || !ends || !all || (steps && toNumbers(steps)[0] !== 1)) return undefined;
    return all.slice(toNumbers(starts)[0], toNumbers(ends)[0]);
  },
};

/** The value of a part of a shape (its height and width, say) of which another part is open. */
function partsOfShapes(node: Node, conversion: Conversion): ReadonlyMap<string, Tensor> {
  const [output] = node.outputs;
  const type = conversion.type(output);
  const form = elementForms[node.op];
  if (form === undefined || !isStatic(type) || !/^u?int/.test(type.dtype) || conversion.known(output)) return new Map();
  const numbers = form(node, conversion)?.flatMap((element) => (typeof element === "number" ? [element] : []));
  const isWhole = numbers !== undefined && numbers.length === elementCount(type.shape);
  return isWhole ? new Map([[output, fromNumbers(type.dtype, type.shape, numbers)]]) : new Map();
}

/**
 * The types that follow from a shape which is known but for extents that are open in the inputs, and from an operator's choices being of
 * one shape, whatever its condition's extents are called.
 */
function declaredTypes(node: Node, conversion: Conversion): ReadonlyMap<string, TensorType> {
  if (node.op === "Where" && conversion.source.op === "Select") {
    const type = node.inputs
      .slice(1)
      .map((choice) => conversion.type(choice))
      .find((each) => each?.shape);
    return type ? new Map([[node.outputs[0], type]]) : new Map();
  }
  const index = { ConstantOfShape: 0, Expand: 1, Reshape: 1 }[node.op];
  const shape = index === undefined || conversion.known(node.inputs[index]) ? undefined : conversion.elements(node.inputs[index]);
  if (shape === undefined) return new Map();
  const value = node.attributes.value?.type === "tensor" ? node.attributes.value.value.dtype : "float32";
  const dtype = index === 0 ? value : conversion.type(node.inputs[0])?.dtype;
  const own = node.op === "Expand" ? conversion.type(node.inputs[0])?.shape : [];
  if (dtype === undefined || own === undefined || own.length > shape.length) return new Map();
  const missing = shape.length - own.length;
  const free = freeExtent(shape, conversion.type(node.inputs[0])?.shape);
  const extents = shape.flatMap((extent, axis): Dim[] => {
    const size = extent === 1 && axis >= missing ? own[axis - missing] : extent === -1 ? free : extent;
    return size === undefined ? [] : [size];
  });
  return extents.length < shape.length ? new Map() : new Map([[node.outputs[0], { dtype, shape: extents }]]);
}

/** What -1 in a Reshape's target stands for, where every open extent of the target is one of the source too. */
function freeExtent(target: readonly (Dim | undefined)[], source: readonly Dim[] | undefined): number | undefined {
  const rest = [...(source ?? [])];
  let [have, want] = [1, 1];
  for (const extent of target) {
    if (typeof extent === "number") want *= Math.abs(extent);
    else if (extent === undefined || !rest.includes(extent)) return undefined;
    else rest.splice(rest.indexOf(extent), 1);
  }
  for (const extent of rest) {
    if (typeof extent !== "number") return undefined;
    have *= extent;
  }
  return want > 0 && have % want === 0 ? have / want : undefined;
}
