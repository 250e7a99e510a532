/** Graphs and functions as a model file has them, in one form: references resolved to (node, output), bodies alike at every level. */
import { userError } from "../../../diagnostics/diagnostic.js";
import type { FlatShape } from "../flat.js";
import { builtIn } from "./operators.js";
import type { ArgDef, AttrValue, FunctionDef, GraphDef, NodeDef } from "./schema.js";
import { type FlatType, shapeOf, typeOf } from "./tensor.js";

export interface SourceReference {
  /** A node, or an argument of the graph. */
  readonly node: string;
  readonly output: number;
}

export interface SourceNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly SourceReference[];
  /** Nodes that run before this one. */
  readonly controls: readonly string[];
  readonly attributes: Readonly<Record<string, AttrValue>>;
}

export interface SourceArgument {
  readonly name: string;
  /** Undefined where an attribute of the call says it. */
  readonly type: FlatType | undefined;
  readonly shape: FlatShape;
}

export interface SourceResult {
  readonly name: string;
  readonly value: SourceReference;
}

/** A model's graph, or a function's body. Arguments go before nodes of the same name. */
export interface SourceGraph {
  readonly name: string;
  readonly nodes: ReadonlyMap<string, SourceNode>;
  readonly arguments: readonly SourceArgument[];
  readonly results: readonly SourceResult[];
  /** Nodes that run whenever the graph does, though no result needs them. */
  readonly effects: readonly string[];
  /** Made by reading out of nodes of the graph around it: its nodes keep their names where it is inlined. */
  readonly isLocal?: boolean;
}

/** Functions by name. */
export type Library = Map<string, SourceGraph>;

export function referenceName({ node, output }: SourceReference): string {
  return `${node}:${output}`;
}

/** `x`, `x:1`; what has no number after the colon is a name. */
export function parseTensorName(text: string): SourceReference {
  const parts = /^(.*):(\d+)$/.exec(text);
  return parts === null ? { node: text, output: 0 } : { node: parts[1], output: Number(parts[2]) };
}

type ParseReference = (text: string) => SourceReference;

function nodeOf(proto: NodeDef, parse: ParseReference): SourceNode {
  const data = proto.input.filter((input) => !input.startsWith("^"));
  const controls = proto.input.filter((input) => input.startsWith("^")).map((input) => input.slice(1));
  return { name: proto.name, op: proto.op, inputs: data.map(parse), controls, attributes: proto.attr };
}

/** The nodes of a model's own graph. */
export function graphNodes(proto: GraphDef): Map<string, SourceNode> {
  return new Map(proto.node.map((node) => [node.name, nodeOf(node, parseTensorName)]));
}

/** The functions that a graph defines. */
export function libraryOf(proto: GraphDef): Library {
  const definitions = new Map((proto.library?.function ?? []).map((item) => [item.signature?.name ?? "", item]));
  return new Map([...definitions].map(([name, item]) => [name, functionOf(name, item, definitions)]));
}

function functionOf(name: string, proto: FunctionDef, definitions: ReadonlyMap<string, FunctionDef>): SourceGraph {
  const protos = new Map(proto.node_def.map((node) => [node.name, node]));
  const parse: ParseReference = (text) => {
    const parts = /^([^:]+):([^:]+):(\d+)$/.exec(text);
    if (parts === null) return parseTensorName(text);
    const [, node, argument, index] = parts;
    const producer = protos.get(node);
    return { node, output: Number(index) + (producer === undefined ? 0 : firstOutput(producer, argument, definitions)) };
  };
  const argumentsOf = (proto.signature?.input_arg ?? []).map((item, index) => ({
    name: item.name,
    type: item.type === 0 ? undefined : typeOf(item.type),
    shape: argumentShape(proto, index),
  }));
  const results = (proto.signature?.output_arg ?? []).map((item) => {
    const given = Object.hasOwn(proto.ret, item.name) ? proto.ret[item.name] : undefined;
    if (given === undefined) throw userError("NCC0153", { node: item.name, input: "of the result", graph: `function ${name}` });
    return { name: item.name, value: parse(given) };
  });
  return {
    name,
    nodes: new Map(proto.node_def.map((node) => [node.name, nodeOf(node, parse)])),
    arguments: argumentsOf,
    results,
    effects: Object.values(proto.control_ret),
  };
}

function argumentShape(proto: FunctionDef, index: number): FlatShape {
  const attributes = Object.hasOwn(proto.arg_attr, index) ? proto.arg_attr[index].attr : {};
  const given = Object.hasOwn(attributes, "_output_shapes") ? attributes._output_shapes : undefined;
  return given?.value === "list" && given.list.shape.length === 1 ? shapeOf(given.list.shape[0]) : undefined;
}

/** Where among a node's outputs those of one output argument start. */
function firstOutput(node: NodeDef, argument: string, definitions: ReadonlyMap<string, FunctionDef>): number {
  const declared = definitions.get(node.op)?.signature?.output_arg.map(declaredOutput) ?? builtIn(node.op).outputs;
  let first = 0;
  for (const output of declared) {
    const [name, count] = output.split("*");
    if (name === argument) return first;
    first += count === undefined ? 1 : lengthOf(node, count);
  }
  return 0;
}

function declaredOutput({ name, number_attr, type_list_attr }: ArgDef): string {
  const count = number_attr || type_list_attr;
  return count === "" ? name : `${name}*${count}`;
}

function lengthOf(node: NodeDef, attribute: string): number {
  const value = Object.hasOwn(node.attr, attribute) ? node.attr[attribute] : undefined;
  return value?.value === "list" ? value.list.type.length : Number(value?.i ?? 1);
}

/** Whether a graph has what a reference names. */
export function defines(graph: Pick<SourceGraph, "nodes" | "arguments">, { node }: SourceReference): boolean {
  return graph.nodes.has(node) || graph.arguments.some(({ name }) => name === node);
}

/**
 * The nodes that results need, each after those that it reads. Arguments are no nodes.
 * Throws a UserError on a reference to nothing and on a cycle.
 */
export function orderedNodes(graph: SourceGraph): SourceNode[] {
  const isArgument = new Set(graph.arguments.map(({ name }) => name));
  const order: SourceNode[] = [];
  const state = new Map<string, "open" | "done">();
  const stack: { readonly node: SourceNode; next: number }[] = [];
  const enter = ({ node }: SourceReference, user: string) => {
    if (isArgument.has(node) || state.get(node) === "done") return;
    const found = graph.nodes.get(node);
    if (found === undefined) throw userError("NCC0153", { node: user, input: node, graph: graph.name });
    if (state.get(node) === "open") {
      const names = stack.slice(stack.findIndex((item) => item.node === found)).map((item) => `${item.node.name} (${item.node.op})`);
      throw userError("NCC0201", { graph: graph.name, nodes: names.slice(0, 10).join(" -> ") });
    }
    state.set(node, "open");
    stack.push({ node: found, next: 0 });
  };
  for (const { name, value } of graph.results) {
    enter(value, name);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if (top.next < top.node.inputs.length) enter(top.node.inputs[top.next++], top.node.name);
      else {
        state.set(top.node.name, "done");
        order.push(top.node);
        stack.pop();
      }
    }
  }
  return order;
}
