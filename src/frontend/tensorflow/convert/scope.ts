/** A graph under construction: the source's values as they are called in it, and what is known of its own. */
import type { Dim, Node } from "../../../graph/graph.js";
import type { DType, Tensor } from "../../../graph/tensor.js";
import { GrowingTypes } from "../../../operators/index.js";
import type { FlatGraph, FlatNode, FlatReference } from "../flat.js";
import type { Conversion } from "./rule.js";

/**
 * A list of tensors of equal shape (TensorFlow's TensorList or TensorArray): its elements one by one (undefined where nothing was
 * written), or stacked in one tensor, or nothing yet but the value that tells how many it is to have.
 */
export interface ListValue {
  readonly dtype: DType;
  /** Of an element; undefined while unknown. */
  readonly shape: readonly Dim[] | undefined;
  readonly parts?: readonly (string | undefined)[];
  readonly stacked?: string;
  readonly count?: string;
}

/** A complex tensor, as two real ones. */
export interface ComplexValue {
  readonly real: string;
  readonly imaginary: string;
}

/** Converts the nodes of a graph in a scope, its inputs standing for the values given; returns its outputs. */
export type Inline = (flat: FlatGraph, inputs: readonly string[], scope: Scope) => readonly string[];

export class Scope {
  readonly nodes: Node[] = [];
  readonly constants = new Map<string, Tensor>();
  private readonly values = new Map<string, string>();
  private readonly sources = new Map<string, { readonly node: FlatNode; readonly inputs: readonly string[] }>();
  private readonly producers = new Map<string, Node>();
  private indexed = 0;

  private constructor(
    /** Types and constants of what the graph has so far. */
    readonly known: GrowingTypes,
    readonly inline: Inline,
    /** Shared by a graph and its bodies, as are lists and complex values. */
    private readonly names: Map<string, number>,
    private readonly lists: Map<string, ListValue>,
    private readonly complexes: Map<string, ComplexValue>,
    /** Of the model. */
    private readonly inputs: readonly string[],
    private readonly outer?: Scope,
  ) {}

  static root(inline: Inline, inputs: readonly string[]): Scope {
    return new Scope(new GrowingTypes(), inline, new Map(), new Map(), new Map(), inputs);
  }

  /** For a body that may read this scope's values. */
  inner(): Scope {
    return new Scope(this.known.inner(), this.inline, this.names, this.lists, this.complexes, this.inputs, this);
  }

  /** Forgets the nodes after the first `count`, whose values nothing else reads. */
  truncate(count: number): void {
    this.nodes.length = count;
    this.indexed = Math.min(this.indexed, count);
  }

  /** An open extent of the model's inputs, by its name, as a value: a list of one. Undefined for one that no input has. */
  extentOf(name: string, node: Conversion): string | undefined {
    for (const input of this.inputs) {
      const axis = this.known.type(input)?.shape?.indexOf(name) ?? -1;
      if (axis >= 0) return node.slice(node.emit("Shape", [input]), 0, axis, axis + 1);
    }
    return undefined;
  }

  /** The name, or where it is taken (a body that was converted more than once) with a number. */
  uniqueName(wanted: string): string {
    const uses = this.names.get(wanted) ?? 0;
    this.names.set(wanted, uses + 1);
    return uses === 0 ? wanted : `${wanted}@${uses}`;
  }

  addConstant(name: string, tensor: Tensor): void {
    this.constants.set(name, tensor);
    this.known.addConstant(name, tensor);
  }

  /** A constant of this graph itself, large or small: rules may pass its nodes by. */
  holds(value: string): boolean {
    return this.constants.has(value) || (this.outer?.holds(value) ?? false);
  }

  bind(reference: FlatReference, value: string): void {
    this.values.set(`${reference.node}:${reference.output}`, value);
  }

  lookup(reference: FlatReference): string | undefined {
    return this.values.get(`${reference.node}:${reference.output}`);
  }

  /** Remembers what a node of the source was converted from. */
  remember(node: FlatNode, inputs: readonly string[]): void {
    this.sources.set(node.name, { node, inputs });
  }

  /** The source's node that a reference is an output of, and the values of its inputs. */
  source(reference: FlatReference): { readonly node: FlatNode; readonly inputs: readonly string[] } | undefined {
    return reference.output === 0 ? this.sources.get(reference.node) : undefined;
  }

  producer(value: string): Node | undefined {
    for (; this.indexed < this.nodes.length; this.indexed++) {
      const node = this.nodes[this.indexed];
      for (const output of node.outputs) this.producers.set(output, node);
    }
    return this.producers.get(value) ?? this.outer?.producer(value);
  }

  /** The name by which a list goes among the values. */
  addList(list: ListValue): string {
    const name = `list#${this.lists.size}`;
    this.lists.set(name, list);
    return name;
  }

  list(value: string): ListValue | undefined {
    return this.lists.get(value);
  }

  /** The name by which a complex tensor goes among the values. */
  addComplex(value: ComplexValue): string {
    const name = `complex#${this.complexes.size}`;
    this.complexes.set(name, value);
    return name;
  }

  complex(value: string): ComplexValue | undefined {
    return this.complexes.get(value);
  }
}
