/** Names while a model is converted: what each graph of the file calls a value, and what the value is called in the IR. */
import type { onnx as Onnx } from "onnx-proto";
import { userError } from "../../diagnostics/diagnostic.js";
import type { Attribute } from "../../graph/graph.js";

/** Names that are taken, and new ones. */
export class Names {
  private readonly used = new Set<string>();

  take(name: string): void {
    this.used.add(name);
  }

  /** `base` if it is free, else with a number behind it; taken from then on. */
  fresh(base: string): string {
    let name = base;
    for (let index = 1; this.used.has(name); index++) name = `${base}_${index}`;
    this.used.add(name);
    return name;
  }
}

/** One graph of the file, or one use of a function. */
export interface Scope {
  /** For messages: `the model's graph`, `the body of ...`. */
  readonly label: string;
  /** IR names by the names of this graph. */
  readonly values: Map<string, string>;
  /** The graph around this one; none for the main graph and for functions, which see nothing of what is around them. */
  readonly parent?: Scope;
  readonly opsets: ReadonlyMap<string, number>;
  /** In a function: the attributes of this use, with defaults. */
  readonly attributes?: ReadonlyMap<string, Attribute>;
  /** Functions that are being expanded, outermost first. */
  readonly callers: readonly string[];
  /** Put before the names of nodes: the name of the calling node and a slash. */
  readonly prefix: string;
}

/** The IR's name of a value, undefined if no graph in sight defines it. `""` is an absent value. */
export function resolve(scope: Scope, name: string): string | undefined {
  if (name === "") return "";
  for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) {
    const value = at.values.get(name);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** A node as messages name it. */
export function nodeLabel(node: Onnx.INodeProto): string {
  const output = node.output?.find((value) => value !== "");
  if ((node.name ?? "") !== "") return `${node.name} (${node.opType})`;
  return output === undefined ? `a ${node.opType} node` : `the ${node.opType} node that makes ${output}`;
}

/** What a graph defines, by name, with who does. Throws a UserError if two define the same. */
export function definitions(graph: Onnx.IGraphProto, label: string): Map<string, string> {
  const defined = new Map<string, string>();
  const define = (value: string, by: string) => {
    const first = defined.get(value);
    if (first !== undefined) throw userError("NCC0202", { graph: label, value: JSON.stringify(value), first, second: by });
    defined.set(value, by);
  };
  for (const initializer of graph.initializer ?? []) define(initializer.name ?? "", "an initializer");
  for (const sparse of graph.sparseInitializer ?? []) define(sparse.values?.name ?? "", "a sparse initializer");
  const constants = new Set(defined.keys());
  for (const input of graph.input ?? []) if (!constants.has(input.name ?? "")) define(input.name ?? "", "an input");
  for (const node of graph.node ?? []) for (const output of node.output ?? []) if (output !== "") define(output, nodeLabel(node));
  return defined;
}

/** Every value name in a graph and in the graphs within it. */
export function takeNames(graph: Onnx.IGraphProto, names: Names): void {
  for (const { name } of [...(graph.input ?? []), ...(graph.initializer ?? [])]) names.take(name ?? "");
  for (const sparse of graph.sparseInitializer ?? []) names.take(sparse.values?.name ?? "");
  for (const node of graph.node ?? []) {
    for (const value of [...(node.input ?? []), ...(node.output ?? [])]) names.take(value);
    for (const attribute of node.attribute ?? []) if (attribute.g) takeNames(attribute.g, names);
  }
}

/** Every value that a node uses, those inside its attributes' graphs too (whether they are defined in there or not). */
export function mentionedValues(node: Onnx.INodeProto): string[] {
  const values = [...(node.input ?? [])];
  for (const attribute of node.attribute ?? []) {
    if (!attribute.g) continue;
    const own = new Set<string>((attribute.g.input ?? []).map((input) => input.name ?? ""));
    for (const inner of attribute.g.node ?? []) for (const output of inner.output ?? []) own.add(output);
    const mentioned = [
      ...(attribute.g.node ?? []).flatMap(mentionedValues),
      ...(attribute.g.output ?? []).map((output) => output.name ?? ""),
    ];
    for (const value of mentioned) if (!own.has(value)) values.push(value);
  }
  return values;
}
