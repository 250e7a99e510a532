/**
 * The graph IR: typed SSA whose operators are ONNX's (default domain, the pinned opset), as plain data.
 * A phase takes a graph and returns a new one; nothing edits a graph that it was given.
 */
import type { DType, Tensor } from "./tensor.js";

/** The ONNX opset that every imported operator is upgraded to: the newest that onnxruntime-node 1.30 runs. */
export const PINNED_OPSET = 26;

/** A static extent, or the name of an open one. */
export type Dim = number | string;

/** `shape` is undefined where even the rank is unknown. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape?: readonly Dim[];
}

export type Attribute =
  | { readonly type: "int"; readonly value: number }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "ints"; readonly value: readonly number[] }
  | { readonly type: "floats"; readonly value: readonly number[] }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "tensor"; readonly value: Tensor }
  | { readonly type: "graph"; readonly value: Graph };

export type Attributes = Readonly<Record<string, Attribute>>;

/**
 * A pointwise operator applied to a node's first output before it is stored, in order. `operands` lists the operator's inputs:
 * null is the running value, a number is an index into the node's inputs, at or beyond the number of inputs that the node's own
 * operator can have (`maxInputs` of its record): own optional inputs that are absent are then "". An operand whose input is "" is
 * absent. Made by fusion only.
 */
export interface EpilogueStep {
  readonly op: string;
  readonly attributes: Attributes;
  readonly operands: readonly (number | null)[];
  /** Names of the source model's operators that this step stands for. */
  readonly origins: readonly string[];
}

/** One operator. `inputs` holds value names, `""` for an absent optional one; so does `outputs`. */
export interface Node {
  readonly name: string;
  readonly op: string;
  /** `""` is ONNX's default domain. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Attributes;
  /** Names of the source model's operators that this node stands for, without those of its epilogue. */
  readonly origins: readonly string[];
  readonly epilogue?: readonly EpilogueStep[];
}

export interface Graph {
  readonly name: string;
  /** Names of the run-time inputs, in order. Never constants. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** In a topological order. */
  readonly nodes: readonly Node[];
  /** Types of values by name: of every input and constant from import on, of every value after shape inference. */
  readonly types: ReadonlyMap<string, TensorType>;
  /** Values known at compile time. */
  readonly constants: ReadonlyMap<string, Tensor>;
}

/** A type whose shape is fully known. */
export interface StaticType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export function isStatic(type: TensorType | undefined): type is StaticType {
  return type?.shape?.every((extent) => typeof extent === "number") ?? false;
}

/** The value's static type. Throws (an internal invariant) if it has none: call after normalise only. */
export function staticType(graph: Graph, value: string): StaticType {
  const type = graph.types.get(value);
  if (!isStatic(type)) throw new Error(`value ${value} has no static type`);
  return type;
}

/** Who makes and who uses each value. */
export interface GraphIndex {
  readonly producer: ReadonlyMap<string, Node>;
  /** Using nodes, each once per use, in node order; uses inside subgraph attributes count for the node that holds them. */
  readonly consumers: ReadonlyMap<string, readonly Node[]>;
}

/** Names that the graphs in a node's attributes take from outside. */
export function capturedValues(node: Node): string[] {
  const captured: string[] = [];
  for (const attribute of Object.values(node.attributes)) {
    if (attribute.type !== "graph") continue;
    const body = attribute.value;
    const own = new Set<string>([...body.inputs, ...body.constants.keys()]);
    for (const inner of body.nodes) {
      for (const input of [...inner.inputs, ...capturedValues(inner)]) if (input !== "" && !own.has(input)) captured.push(input);
      for (const output of inner.outputs) own.add(output);
    }
    for (const output of body.outputs) if (!own.has(output)) captured.push(output);
  }
  return captured;
}

export function indexGraph(graph: Graph): GraphIndex {
  const producer = new Map<string, Node>();
  const consumers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const output of node.outputs) if (output !== "") producer.set(output, node);
    for (const input of [...node.inputs, ...capturedValues(node)]) {
      if (input === "") continue;
      const uses = consumers.get(input);
      if (uses) uses.push(node);
      else consumers.set(input, [node]);
    }
  }
  return { producer, consumers };
}

/** Attribute readers with defaults. They throw (an internal invariant) on a wrong type: import has checked types already. */
export function intAttribute(attributes: Attributes, name: string, fallback: number): number {
  const attribute = attributes[name];
  if (attribute === undefined) return fallback;
  if (attribute.type !== "int") throw new Error(`attribute ${name} is ${attribute.type}, not int`);
  return attribute.value;
}

export function floatAttribute(attributes: Attributes, name: string, fallback: number): number {
  const attribute = attributes[name];
  if (attribute === undefined) return fallback;
  if (attribute.type !== "float" && attribute.type !== "int") throw new Error(`attribute ${name} is ${attribute.type}, not float`);
  return attribute.value;
}

export function stringAttribute(attributes: Attributes, name: string, fallback: string): string {
  const attribute = attributes[name];
  if (attribute === undefined) return fallback;
  if (attribute.type !== "string") throw new Error(`attribute ${name} is ${attribute.type}, not string`);
  return attribute.value;
}

export function intsAttribute(attributes: Attributes, name: string): readonly number[] | undefined {
  const attribute = attributes[name];
  if (attribute === undefined) return undefined;
  if (attribute.type !== "ints") throw new Error(`attribute ${name} is ${attribute.type}, not ints`);
  return attribute.value;
}
