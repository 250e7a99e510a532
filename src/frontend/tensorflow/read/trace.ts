/** Follows values and effects through a model's graph and its functions, without putting anything anywhere. */
import type { Library, SourceGraph, SourceNode, SourceReference } from "./source.js";
import { isAssignment } from "./state.js";

/** A graph, or a function's body as one call runs it. */
export interface Frame {
  readonly graph: SourceGraph;
  readonly caller?: { readonly frame: Frame; readonly node: SourceNode; readonly skipped: number };
}

/** An output of a node in a frame. */
export interface Origin {
  readonly frame: Frame;
  readonly node: SourceNode;
  readonly output: number;
}

/** Attributes that name the function that a node calls; those operators have one input before the function's own. */
const calls: ReadonlyMap<string, { readonly attributes: readonly string[]; readonly skipped: number }> = new Map([
  ["PartitionedCall", { attributes: ["f"], skipped: 0 }],
  ["StatefulPartitionedCall", { attributes: ["f"], skipped: 0 }],
  ["RemoteCall", { attributes: ["f"], skipped: 1 }],
  ["If", { attributes: ["then_branch", "else_branch"], skipped: 1 }],
  ["StatelessIf", { attributes: ["then_branch", "else_branch"], skipped: 1 }],
  ["Case", { attributes: ["branches"], skipped: 1 }],
  ["StatelessCase", { attributes: ["branches"], skipped: 1 }],
  ["While", { attributes: ["cond", "body"], skipped: 0 }],
  ["StatelessWhile", { attributes: ["cond", "body"], skipped: 0 }],
]);

/** The bodies that a node may run. A function that is running already is left out: flattening refuses it. */
function callees(frame: Frame, node: SourceNode, library: Library): Frame[] {
  const { attributes, skipped } = calls.get(node.op) ?? { attributes: [], skipped: 0 };
  const named = attributes.flatMap((name) => {
    const value = Object.hasOwn(node.attributes, name) ? node.attributes[name] : undefined;
    if (value?.value === "func") return [value.func.name];
    return value?.value === "list" ? value.list.func.map((item) => item.name) : [];
  });
  return [...named, node.op].flatMap((name) => {
    const graph = library.get(name);
    return graph === undefined || isRunning(frame, graph) ? [] : [{ graph, caller: { frame, node, skipped } }];
  });
}

function isRunning(frame: Frame, graph: SourceGraph): boolean {
  for (let at: Frame | undefined = frame; at !== undefined; at = at.caller?.frame) if (at.graph === graph) return true;
  return false;
}

/** Operators that hand their inputs on. */
const transparent = new Set(["Identity", "IdentityN", "StopGradient", "PreventGradient", "RefIdentity", "Enter", "RefEnter", "Snapshot"]);

/** The node that a value comes from; undefined for an argument of the outermost graph, and where the graph is broken. */
export function originOf(frame: Frame, reference: SourceReference, library: Library): Origin | undefined {
  let at: { frame: Frame; reference: SourceReference } = { frame, reference };
  for (let steps = 0; steps < 10_000; steps++) {
    const { graph, caller } = at.frame;
    const argument = graph.arguments.findIndex(({ name }) => name === at.reference.node);
    if (argument >= 0) {
      const given = caller?.node.inputs[argument + caller.skipped];
      if (caller === undefined || given === undefined) return undefined;
      at = { frame: caller.frame, reference: given };
      continue;
    }
    const node = graph.nodes.get(at.reference.node);
    if (node === undefined) return undefined;
    const { output } = at.reference;
    const [body, ...others] = callees(at.frame, node, library);
    if (transparent.has(node.op) && node.inputs[output] !== undefined) at = { frame: at.frame, reference: node.inputs[output] };
    else if (body !== undefined && others.length === 0 && body.graph.results[output] !== undefined) {
      at = { frame: body, reference: body.graph.results[output].value };
    } else return { frame: at.frame, node, output };
  }
  return undefined;
}

/** As flattening names it: with the names of the calls around it. */
export function nameOf({ frame, node }: Origin): string {
  const prefix = ({ graph, caller }: Frame): string =>
    caller === undefined ? "" : graph.isLocal ? prefix(caller.frame) : `${prefix(caller.frame)}${caller.node.name}/`;
  return prefix(frame) + node.name;
}

/** Calls may multiply nodes; what is beyond is not visited. */
const mostVisits = 1_000_000;

/** Visits every node that runs when these nodes are asked for: what they read, what runs before it, and what functions do besides. */
export function visit(frame: Frame, names: Iterable<string>, library: Library, use: (frame: Frame, node: SourceNode) => void): void {
  let visits = 0;
  const pending: { frame: Frame; names: string[] }[] = [{ frame, names: [...names] }];
  for (let item = pending.pop(); item !== undefined; item = pending.pop()) {
    const { frame: at, names: stack } = item;
    const seen = new Set<string>();
    for (let name = stack.pop(); name !== undefined; name = stack.pop()) {
      const node = at.graph.nodes.get(name);
      if (node === undefined || seen.has(name) || at.graph.arguments.some((argument) => argument.name === name)) continue;
      if (++visits > mostVisits) return;
      seen.add(name);
      use(at, node);
      stack.push(...node.inputs.map((input) => input.node), ...node.controls);
      for (const body of callees(at, node, library)) {
        const { results, effects } = body.graph;
        pending.push({ frame: body, names: [...results.map(({ value }) => value.node), ...effects] });
      }
    }
  }
}

/** An assignment to a variable. */
export interface Assignment {
  readonly variable: Origin;
  readonly op: string;
  /** The assignment's own name. */
  readonly name: string;
  /** What is assigned. */
  readonly value: Origin | undefined;
}

/** The assignments that run when these nodes are asked for. */
export function assignments(frame: Frame, names: Iterable<string>, library: Library): Assignment[] {
  const found: Assignment[] = [];
  visit(frame, names, library, (at, node) => {
    if (!isAssignment(node.op) || node.inputs.length < 1) return;
    const variable = originOf(at, node.inputs[0], library);
    const value = node.inputs.length > 1 ? originOf(at, node.inputs[1], library) : undefined;
    if (variable !== undefined) found.push({ variable, op: node.op, name: nameOf({ frame: at, node, output: 0 }), value });
  });
  return found;
}
