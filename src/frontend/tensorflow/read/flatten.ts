/** Makes one flat graph of a model's graph and its functions: calls inlined, variables frozen, conditions that are known decided. */
import { userError } from "../../../diagnostics/diagnostic.js";
import type { Tensor } from "../../../graph/tensor.js";
import type { FlatGraph, FlatReference, FlatValue } from "../flat.js";
import {
  attributesOf,
  GraphBuilder,
  neededNodes,
  type Outputs,
  type Place,
  type Port,
  type TensorValue,
  type Value,
  type Variable,
} from "./builder.js";
import { callFunction, callHandlers } from "./calls.js";
import { type Library, orderedNodes, referenceName, type SourceGraph, type SourceNode, type SourceReference } from "./source.js";
import { stateHandlers } from "./state.js";

export interface FlattenOptions {
  readonly library: Library;
  /** The value of a variable. Throws a UserError where it has none. */
  readonly valueOf: (variable: Variable) => Tensor;
  /** For messages. */
  readonly signature: string;
}

/** Puts a node that is more than an operator; `inputs` are what its inputs stand for. */
export type Handler = (flattener: Flattener, node: SourceNode, inputs: readonly Value[], place: Place) => Outputs;

const handlers: ReadonlyMap<string, Handler> = new Map([...callHandlers, ...stateHandlers]);

export class Flattener {
  /** The variables whose value is in the graph, by name. */
  readonly frozen = new Map<string, Variable>();

  constructor(readonly options: FlattenOptions) {}

  /**
   * A flat graph: the arguments whose value is not known become its inputs, and the results for which `outputs` has a port its outputs.
   * `inputs` has a port for every argument.
   */
  flatten(
    graph: SourceGraph,
    known: readonly (Value | undefined)[],
    inputs: readonly Port[],
    outputs: readonly (Port | undefined)[],
    place: Omit<Place, "builder">,
  ): FlatGraph {
    const builder = new GraphBuilder();
    const declared: FlatValue[] = [];
    const values = graph.arguments.map((argument, index): Value => {
      const value = known[index];
      if (value?.kind === "tensor" && value.constant !== undefined) return builder.constant(place.prefix + argument.name, value.constant);
      if (value !== undefined) return value;
      const { key, name, dtype, shape } = inputs[index];
      const type = dtype ?? argument.type ?? "float32";
      const reference = builder.placeholder(place.prefix + argument.name, type, shape);
      declared.push({ key, name, value: reference, dtype: type, shape });
      return { kind: "tensor", reference };
    });
    const results = this.instantiate(graph, values, { ...place, builder });
    const returned = results.flatMap((value, index): FlatValue[] => {
      const port = outputs[index];
      if (port === undefined) return [];
      const { key, name, dtype = "float32", shape } = port;
      return [{ key, name, value: this.reference(value, name, "a result", builder), dtype, shape }];
    });
    const ends = returned.map(({ value }) => value);
    const starts = declared.map(({ value }) => value);
    return { name: graph.name, inputs: declared, outputs: returned, nodes: neededNodes(builder.nodes, ends, starts) };
  }

  /** Puts a graph's nodes at `place`, with these values as its arguments; returns what its results stand for. */
  instantiate(graph: SourceGraph, given: readonly Value[], place: Place): readonly Value[] {
    const values = new Map<string, Outputs>();
    const valueAt = (reference: SourceReference, user: string): Value => {
      const value = values.get(reference.node)?.(reference.output);
      if (value === undefined) throw userError("NCC0153", { node: user, input: referenceName(reference), graph: graph.name });
      return value;
    };
    graph.arguments.forEach(({ name }, index) => {
      const value = given[index];
      values.set(name, (output) => (output === 0 ? value : undefined));
    });
    for (const node of orderedNodes(graph)) {
      const inputs = node.inputs.map((reference) => valueAt(reference, place.prefix + node.name));
      values.set(node.name, this.node(node, inputs, place));
    }
    return graph.results.map(({ name, value }) => valueAt(value, name));
  }

  private node(node: SourceNode, inputs: readonly Value[], place: Place): Outputs {
    const handler = handlers.get(node.op);
    if (handler !== undefined) return handler(this, node, inputs, place);
    if (this.options.library.has(node.op)) return callFunction(this, node, { name: node.op, attributes: node.attributes }, inputs, place);
    return this.operator(node, inputs, place);
  }

  /** Puts a node as it is. */
  operator(node: SourceNode, inputs: readonly Value[], place: Place): Outputs {
    const name = place.prefix + node.name;
    const references = inputs.map((value) => this.reference(value, name, node.op, place.builder));
    const added = place.builder.add(name, node.op, references, attributesOf(node, place));
    return (output) => ({ kind: "tensor", reference: { node: added.node, output } });
  }

  /** The value at run time. Throws a UserError for a handle, which has none. */
  reference(value: Value, node: string, op: string, builder: GraphBuilder): FlatReference {
    if (value.kind === "tensor") return value.reference;
    if (value.kind === "resource") throw userError("NCC0150", { node, op, resource: value.name });
    if (!value.isReference) throw userError("NCC0150", { node, op, resource: `the variable ${value.variable.name}` });
    return this.freeze(value.variable, builder).reference;
  }

  /** A variable's value, as a constant. */
  freeze(variable: Variable, builder: GraphBuilder): TensorValue {
    this.frozen.set(variable.name, variable);
    return builder.variable(variable, () => this.options.valueOf(variable));
  }
}
