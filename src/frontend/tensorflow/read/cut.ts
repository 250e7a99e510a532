/** A model's own graph between the tensors that are fed and those that are fetched. */
import { userError } from "../../../diagnostics/diagnostic.js";
import { didYouMean } from "../../../diagnostics/suggest.js";
import type { Port } from "./builder.js";
import { parseTensorName, referenceName, type SourceArgument, type SourceGraph, type SourceNode, type SourceReference } from "./source.js";
import { shapeOf, typeOf } from "./tensor.js";

type Nodes = ReadonlyMap<string, SourceNode>;

/** What asks for a tensor, in messages: `signature serving_default`, `the io-config`. */
export type User = string;

/** Resolves a tensor's name. Errors: NCC0152. */
function resolve(nodes: Nodes, name: string, user: User): SourceReference {
  const reference = parseTensorName(name);
  if (nodes.has(reference.node)) return reference;
  throw userError("NCC0152", { tensor: name, hint: nodes.size > 20_000 ? "" : didYouMean(reference.node, nodes.keys()), user });
}

/**
 * The graph that computes the outputs from the inputs. An input need not be a placeholder: it is an argument in place of what makes it.
 * Errors: NCC0152.
 */
export function cutGraph(name: string, nodes: Nodes, inputs: readonly Port[], outputs: readonly Port[], user: User): SourceGraph {
  const fed = new Map<string, string>();
  const given = inputs.map((port): SourceArgument => {
    const reference = resolve(nodes, port.name, user);
    const isWholeNode = reference.output === 0 && nodes.get(reference.node)?.inputs.length === 0;
    const argument = isWholeNode ? reference.node : referenceName(reference);
    fed.set(referenceName(reference), argument);
    return { name: argument, type: port.dtype, shape: port.shape };
  });
  const redirect = (reference: SourceReference): SourceReference => {
    const argument = fed.get(referenceName(reference));
    return argument === undefined ? reference : { node: argument, output: 0 };
  };
  const results = outputs.map((port) => ({ name: port.name, value: redirect(resolve(nodes, port.name, user)) }));
  const redirected = new Map([...nodes].map(([key, node]) => [key, { ...node, inputs: node.inputs.map(redirect) }]));
  return { name, nodes: redirected, arguments: given, results, effects: [] };
}

/** A port for a tensor that no signature describes, from what its node says of it. */
export function declaredPort(nodes: Nodes, name: string, user: User): Port {
  const reference = resolve(nodes, name, user);
  const { dtype, T, shape } = nodes.get(reference.node)?.attributes ?? {};
  const type = dtype?.value === "type" ? dtype : T;
  return {
    key: name.replace(/:0$/, ""),
    name: referenceName(reference),
    dtype: type?.value === "type" ? typeOf(type.type) : undefined,
    shape: shape?.value === "shape" ? shapeOf(shape.shape) : undefined,
  };
}

/** The nodes that tensors need, up to those that are fed. */
export function neededNodes(nodes: Nodes, outputs: readonly Port[], fed: ReadonlySet<string>): ReadonlySet<string> {
  const needed = new Set<string>();
  const stack = outputs.map(({ name }) => parseTensorName(name));
  for (let reference = stack.pop(); reference !== undefined; reference = stack.pop()) {
    if (needed.has(reference.node) || fed.has(referenceName(reference))) continue;
    needed.add(reference.node);
    stack.push(...(nodes.get(reference.node)?.inputs ?? []));
  }
  return needed;
}

/** The placeholders, which only a request gives a value, in the order of the nodes. */
export function placeholders(nodes: Nodes): string[] {
  const isOpen = ({ op }: SourceNode) => op === "Placeholder" || op === "PlaceholderV2";
  return [...nodes.values()].filter(isOpen).map(({ name }) => `${name}:0`);
}

/** Operators that end a graph without being what it computes. */
const noResults: ReadonlySet<string> = new Set(
  `Assert Const NoOp Placeholder PlaceholderV2 PlaceholderWithDefault SaveV2 Save MergeV2Checkpoints RestoreV2 Assign AssignVariableOp
  VarHandleOp VariableV2 ScalarSummary HistogramSummary ImageSummary MergeSummary Print CheckNumerics`.split(/\s+/),
);

/** The first outputs of the nodes that no other node reads. */
export function lastTensors(nodes: Nodes): string[] {
  const read = new Set([...nodes.values()].flatMap(({ inputs }) => inputs.map(({ node }) => node)));
  return [...nodes.values()].filter(({ name, op }) => !read.has(name) && !noResults.has(op)).map(({ name }) => `${name}:0`);
}
