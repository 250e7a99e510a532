/** A flat graph under construction, and what a reference stands for while it is. */
import { userError } from "../../../diagnostics/diagnostic.js";
import type { Tensor } from "../../../graph/tensor.js";
import type { FlatAttribute, FlatNode, FlatReference, FlatShape } from "../flat.js";
import { builtIn } from "./operators.js";
import type { AttrValue } from "./schema.js";
import type { SourceNode } from "./source.js";
import { attributeOf, type FlatType } from "./tensor.js";

/** A variable of the model. */
export interface Variable {
  /** The name of its node, after inlining: no other variable's. */
  readonly name: string;
  readonly node: SourceNode;
}

export interface TensorValue {
  readonly kind: "tensor";
  readonly reference: FlatReference;
  /** Where it is known. */
  readonly constant?: Tensor;
}

/** What an output stands for: a value at run time, perhaps one that is known; or the handle of something that outlives a request. */
export type Value =
  | TensorValue
  /** `isReference`: TensorFlow 1's variables, whose output is the value as well as what assignments change. */
  | { readonly kind: "variable"; readonly variable: Variable; readonly isReference: boolean }
  /** A table, iterator or other state. */
  | { readonly kind: "resource"; readonly name: string };

/** What each output of a node stands for; undefined for one that it does not have. */
export type Outputs = (output: number) => Value | undefined;

export function outputsOf(values: readonly Value[]): Outputs {
  return (output) => values[output];
}

/** Where a graph's nodes are put. */
export interface Place {
  readonly builder: GraphBuilder;
  /** Goes before the names of nodes; empty, or ends with a slash. */
  readonly prefix: string;
  /** Attributes of the call, for a body that refers to them. */
  readonly attributes: Readonly<Record<string, AttrValue>>;
  /** The functions around this place, outermost first. */
  readonly callers: readonly string[];
}

/** An input or output of a flat graph: of the signature, or of a body. */
export interface Port {
  readonly key: string;
  readonly name: string;
  readonly dtype: FlatType | undefined;
  readonly shape: FlatShape;
}

/** Calls may multiply a model's nodes; more than this is no network. */
const mostNodes = 1_000_000;

export class GraphBuilder {
  readonly nodes: FlatNode[] = [];
  private readonly names = new Set<string>();
  private readonly repeats = new Map<string, number>();
  private readonly variables = new Map<string, TensorValue>();

  /** Adds a node; its name gets a number where another node has it. */
  add(name: string, op: string, inputs: readonly FlatReference[], attributes: ReadonlyMap<string, FlatAttribute>): FlatReference {
    if (this.nodes.length >= mostNodes) throw userError("NCC0216", { node: name, limit: mostNodes });
    const free = this.freeName(name);
    this.nodes.push({ name: free, op, inputs, attributes });
    return { node: free, output: 0 };
  }

  private freeName(name: string): string {
    let free = name;
    for (let repeat = this.repeats.get(name) ?? 1; this.names.has(free); repeat++) {
      free = `${name}_${repeat}`;
      this.repeats.set(name, repeat + 1);
    }
    this.names.add(free);
    return free;
  }

  constant(name: string, tensor: Tensor): TensorValue {
    const attributes = new Map<string, FlatAttribute>([
      ["value", { type: "tensor", value: tensor }],
      ["dtype", { type: "dtype", value: tensor.dtype }],
    ]);
    return { kind: "tensor", reference: this.add(name, "Const", [], attributes), constant: tensor };
  }

  placeholder(name: string, dtype: FlatType, shape: FlatShape): FlatReference {
    const attributes = new Map<string, FlatAttribute>([
      ["dtype", { type: "dtype", value: dtype }],
      ["shape", { type: "shape", value: shape }],
    ]);
    return this.add(name, "Placeholder", [], attributes);
  }

  /** The value of a variable: one constant, however often the variable is read. */
  variable({ name }: Variable, read: () => Tensor): TensorValue {
    let value = this.variables.get(name);
    if (value === undefined) {
      value = this.constant(name, read());
      this.variables.set(name, value);
    }
    return value;
  }
}

/** The nodes that the outputs need, and those of the inputs; in the order given. */
export function neededNodes(
  nodes: readonly FlatNode[],
  outputs: readonly FlatReference[],
  inputs: readonly FlatReference[],
): readonly FlatNode[] {
  const needed = new Set([...outputs, ...inputs].map(({ node }) => node));
  for (let index = nodes.length - 1; index >= 0; index--) {
    if (needed.has(nodes[index].name)) for (const { node } of nodes[index].inputs) needed.add(node);
  }
  return nodes.filter(({ name }) => needed.has(name));
}

/** A node's attributes, with those that the call gives and those that the operator's definition adds. */
export function attributesOf(node: SourceNode, place: Place): Map<string, FlatAttribute> {
  const attributes = new Map<string, FlatAttribute>();
  const label = place.prefix + node.name;
  const add = (name: string, value: AttrValue) => {
    const attribute = attributeOf(instantiated(value, place), label);
    if (attribute !== undefined) attributes.set(name, attribute);
  };
  for (const [name, value] of Object.entries(node.attributes)) add(name, value);
  for (const [name, value] of builtIn(node.op).defaults) if (!Object.hasOwn(node.attributes, name)) add(name, value);
  return attributes;
}

function instantiated(value: AttrValue, { attributes }: Place): AttrValue {
  if (value.value !== "placeholder" || !Object.hasOwn(attributes, value.placeholder)) return value;
  return attributes[value.placeholder];
}
