/**
 * TensorFlow 1's control flow, which is nodes (Enter, Merge, Switch, NextIteration, Exit), in the form of functions: a loop becomes a
 * While node, a condition an If node, each with bodies of its own in the library.
 */
import { type AttrValue, madeAttribute } from "./schema.js";
import { type Library, referenceName, type SourceGraph, type SourceNode, type SourceReference } from "./source.js";

type Nodes = Map<string, SourceNode>;

/** TensorFlow's Ref forms do the same to references. */
const kindOf = ({ op }: SourceNode): string => op.replace(/^Ref/, "");

/** The nodes of TensorFlow 1's control flow. */
export const controlKinds: ReadonlySet<string> = new Set(["Enter", "Merge", "Switch", "NextIteration", "Exit", "LoopCond"]);

/** The graph's nodes with loops and conditions as calls of functions that are added to the library; `name` is the graph's. */
export function structured(nodes: ReadonlyMap<string, SourceNode>, library: Library, name: string): Nodes {
  const result: Nodes = new Map(nodes);
  if (![...nodes.values()].some((node) => controlKinds.has(kindOf(node)))) return result;
  for (const loop of innermostFirst(result, loopsOf(result))) makeWhile(result, loop, library, name);
  makeIfs(result, library, name);
  return result;
}

function typeNumber(node: SourceNode): number {
  const type = Object.hasOwn(node.attributes, "T") ? node.attributes.T : undefined;
  return type?.value === "type" ? type.type % 100 : 1;
}

/** What is at a place in a body that is a value from around it. */
interface Passed {
  /** In the graph around the body. */
  readonly outside: SourceReference;
  /** Where the body's nodes refer to it. */
  readonly inside: readonly SourceReference[];
  readonly type: number;
}

/** The graph of these results, with the passed values as arguments. It holds the nodes that the results need or run after. */
function bodyGraph(nodes: Nodes, name: string, passed: readonly Passed[], results: readonly SourceReference[]): SourceGraph {
  const fed = new Map<string, SourceReference>();
  const given = passed.map(({ inside }) => {
    const argument = inside[0].output === 0 ? inside[0].node : referenceName(inside[0]);
    for (const reference of inside) fed.set(referenceName(reference), { node: argument, output: 0 });
    return { name: argument, type: undefined, shape: undefined };
  });
  const redirect = (reference: SourceReference) => fed.get(referenceName(reference)) ?? reference;
  const found: Nodes = new Map();
  const outside = new Set(passed.flatMap(({ inside }) => inside.map(({ node }) => node)));
  const ends = results.map(redirect);
  const pending = ends.map(({ node }) => node);
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const node = nodes.get(at);
    if (node === undefined || found.has(at)) continue;
    const inputs = node.inputs.map(redirect);
    found.set(at, { ...node, inputs });
    pending.push(...inputs.map((input) => input.node), ...node.controls.filter((control) => !outside.has(control)));
  }
  const values = ends.map((value, index) => ({ name: `result_${index}`, value }));
  return { name, nodes: found, arguments: given, results: values, effects: [], isLocal: true };
}

function addFunction(library: Library, graph: SourceGraph): AttrValue {
  let name = graph.name;
  for (let count = 1; library.has(name); count++) name = `${graph.name}_${count}`;
  library.set(name, { ...graph, name });
  return madeAttribute({ function: name });
}

function freeName(nodes: Nodes, wanted: string): string {
  let name = wanted;
  for (let count = 1; nodes.has(name); count++) name = `${wanted}_${count}`;
  return name;
}

/** A frame: what enters it, and its variables. */
interface Loop {
  readonly frame: string;
  /** Enter nodes of values that stay as they are. */
  readonly invariants: readonly SourceNode[];
  readonly variables: readonly Variable[];
  /** What the loop goes on by. */
  readonly condition: SourceReference | undefined;
}

interface Variable {
  readonly enter: SourceNode;
  readonly merge: SourceNode;
  /** The value of the next turn. */
  readonly next: SourceReference;
  readonly switches: readonly SourceNode[];
}

function frameOf(node: SourceNode): string {
  const frame = Object.hasOwn(node.attributes, "frame_name") ? node.attributes.frame_name : undefined;
  return frame?.value === "s" ? Buffer.from(frame.s).toString("utf8") : "";
}

function loopsOf(nodes: Nodes): Loop[] {
  const readers = readersOf(nodes);
  const frames = new Map<string, SourceNode[]>();
  for (const node of nodes.values()) {
    if (kindOf(node) === "Enter") frames.set(frameOf(node), [...(frames.get(frameOf(node)) ?? []), node]);
  }
  return [...frames].map(([frame, enters]) => {
    const variables = enters.flatMap((enter): Variable[] => {
      const merge = (readers.get(enter.name) ?? []).find((reader) => kindOf(reader) === "Merge");
      const nexts = merge?.inputs.map(({ node }) => nodes.get(node)).filter((node) => node && kindOf(node) === "NextIteration");
      const next = nexts?.[0]?.inputs[0];
      if (merge === undefined || next === undefined) return [];
      return [{ enter, merge, next, switches: (readers.get(merge.name) ?? []).filter((reader) => kindOf(reader) === "Switch") }];
    });
    const entered = new Set(variables.map(({ enter }) => enter));
    const [goesOn] = variables.flatMap(({ switches }) => switches.flatMap((node) => nodes.get(node.inputs[1]?.node ?? "") ?? []));
    const condition = goesOn !== undefined && kindOf(goesOn) === "LoopCond" ? goesOn.inputs[0] : undefined;
    return { frame, variables, invariants: enters.filter((enter) => !entered.has(enter)), condition };
  });
}

function readersOf(nodes: Nodes): Map<string, SourceNode[]> {
  const readers = new Map<string, SourceNode[]>();
  for (const node of nodes.values()) {
    for (const input of node.inputs) readers.set(input.node, [...(readers.get(input.node) ?? []), node]);
  }
  return readers;
}

/** Inner loops before those around them. */
function innermostFirst(nodes: Nodes, loops: readonly Loop[]): Loop[] {
  const parents = new Map(loops.map((loop) => [loop, parentOf(nodes, loop, loops)]));
  const depthOf = (loop: Loop): number => {
    let depth = 0;
    for (let at = parents.get(loop); at !== undefined && depth < loops.length; at = parents.get(at)) depth++;
    return depth;
  };
  return [...loops].sort((left, right) => depthOf(right) - depthOf(left));
}

/** The loop around a loop: the one whose values are what enters, or what that is computed from. */
function parentOf(nodes: Nodes, loop: Loop, loops: readonly Loop[]): Loop | undefined {
  const byFrame = new Map(loops.map((other) => [other.frame, other]));
  const bySwitch = new Map(loops.flatMap((other) => other.variables.flatMap(({ switches }) => switches.map((node) => [node.name, other]))));
  const entersOf = ({ variables, invariants }: Loop) => [...invariants, ...variables.map(({ enter }) => enter)];
  const sources = (other: Loop) => entersOf(other).flatMap(({ inputs, controls }) => [...inputs.map(({ node }) => node), ...controls]);
  const seen = new Set<string>();
  const pending = sources(loop);
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const node = nodes.get(name);
    if (node === undefined || seen.has(name)) continue;
    seen.add(name);
    if (kindOf(node) === "Enter") return byFrame.get(frameOf(node));
    const left = kindOf(node) === "Exit" ? bySwitch.get(node.inputs[0]?.node ?? "") : undefined;
    pending.push(...(left === undefined ? [...node.inputs.map((input) => input.node), ...node.controls] : sources(left)));
  }
  return undefined;
}

/** Puts a While node for the loop; what leaves it reads that. A loop without a condition stays, for flattening to refuse. */
function makeWhile(nodes: Nodes, { frame, variables, invariants, condition }: Loop, library: Library, graph: string): void {
  if (condition === undefined) return;
  const value = (name: string, output = 0): SourceReference => ({ node: name, output });
  const passed = (inBody: boolean): Passed[] => [
    ...variables.map(({ enter, merge, switches }) => ({
      outside: enter.inputs[0],
      inside: [value(merge.name), ...(inBody ? switches.map((node) => value(node.name, 1)) : [])],
      type: typeNumber(enter),
    })),
    ...invariants.map((enter) => ({ outside: enter.inputs[0], inside: [value(enter.name)], type: typeNumber(enter) })),
  ];
  const given = passed(false);
  const name = freeName(nodes, frame.replace(/\/while_context$/, ""));
  const results = [...variables.map(({ next }) => next), ...invariants.map((enter) => value(enter.name))];
  const attributes = {
    T: madeAttribute({ types: given.map(({ type }) => type) }),
    cond: addFunction(library, withIfs(bodyGraph(nodes, `${graph}/${name}/cond`, given, [condition]), library)),
    body: addFunction(library, withIfs(bodyGraph(nodes, `${graph}/${name}/body`, passed(true), results), library)),
  };
  for (const [output, { switches }] of variables.entries()) {
    const isLeft = new Set(switches.map((node) => node.name));
    for (const node of [...nodes.values()]) {
      const from = node.inputs[0];
      if (kindOf(node) !== "Exit" || from === undefined || !isLeft.has(from.node)) continue;
      nodes.set(node.name, { ...node, op: "Identity", inputs: [value(name, output)], controls: [] });
    }
  }
  for (const { merge } of variables) nodes.delete(merge.name);
  nodes.set(name, { name, op: "While", inputs: given.map(({ outside }) => outside), controls: [], attributes });
}

function withIfs(graph: SourceGraph, library: Library): SourceGraph {
  const nodes: Nodes = new Map(graph.nodes);
  makeIfs(nodes, library, graph.name);
  return { ...graph, nodes };
}

/** Puts an If node for each condition, the inner ones first. */
function makeIfs(nodes: Nodes, library: Library, graph: string): void {
  for (const merge of mergesInOrder(nodes)) makeIf(nodes, merge, library, graph);
}

/** The Merge nodes of conditions, each after those that it depends on. */
function mergesInOrder(nodes: Nodes): SourceNode[] {
  const order: SourceNode[] = [];
  const entered = new Set<string>();
  for (const root of nodes.values()) {
    if (kindOf(root) !== "Merge") continue;
    const stack = [{ node: root, next: 0 }];
    entered.add(root.name);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const input = top.node.inputs[top.next++];
      if (input === undefined) {
        if (kindOf(top.node) === "Merge" && !order.includes(top.node)) order.push(top.node);
        stack.pop();
        continue;
      }
      const from = nodes.get(input.node);
      if (from === undefined || entered.has(from.name)) continue;
      entered.add(from.name);
      stack.push({ node: from, next: 0 });
    }
  }
  return order;
}

/** The outputs of Switch nodes that a value is computed from: by data, and those that only decide whether its nodes run. */
interface Reached {
  readonly data: readonly SourceReference[];
  readonly all: readonly SourceReference[];
}

function reachedSwitches(nodes: Nodes, start: SourceReference): Reached {
  const found = { data: new Map<string, SourceReference>(), all: new Map<string, SourceReference>() };
  for (const kind of ["data", "all"] as const) {
    const seen = new Set<string>();
    const pending = [start];
    for (let reference = pending.pop(); reference !== undefined; reference = pending.pop()) {
      const node = nodes.get(reference.node);
      if (node === undefined) continue;
      if (kindOf(node) === "Switch") {
        found[kind].set(referenceName(reference), reference);
        continue;
      }
      if (seen.has(node.name)) continue;
      seen.add(node.name);
      pending.push(...node.inputs);
      if (kind === "all") pending.push(...node.controls.map((control) => ({ node: control, output: 0 })));
    }
  }
  return { data: [...found.data.values()], all: [...found.all.values()] };
}

/** The name of what a reference is a copy of. */
function originalName(nodes: Nodes, reference: SourceReference | undefined): string {
  let at = reference;
  for (let steps = 0; at !== undefined && steps < nodes.size; steps++) {
    const node = nodes.get(at.node);
    if (node === undefined || kindOf(node) !== "Identity") return referenceName(at);
    at = node.inputs[0];
  }
  return "";
}

/** Puts an If node in place of a Merge of two branches of one condition. One of unknown structure stays, for flattening to refuse. */
function makeIf(nodes: Nodes, merge: SourceNode, library: Library, graph: string): void {
  const current = nodes.get(merge.name);
  if (current === undefined || current.inputs.length !== 2) return;
  const reached = current.inputs.map((input) => reachedSwitches(nodes, input));
  const predicate = ({ node }: SourceReference) => originalName(nodes, nodes.get(node)?.inputs[1]);
  const sideOf = (branch: Reached, wanted: string) => branch.all.find((reference) => predicate(reference) === wanted)?.output;
  const shared = reached[0].all.find((reference) => {
    const other = sideOf(reached[1], predicate(reference));
    return other !== undefined && other !== reference.output;
  });
  const choice = shared && nodes.get(shared.node)?.inputs[1];
  if (shared === undefined || choice === undefined) return;
  const wanted = predicate(shared);
  const data = new Map(reached.flatMap((branch) => branch.data).map((reference) => [keyOf(reference), reference]));
  function keyOf(reference: SourceReference): string {
    return predicate(reference) === wanted ? reference.node : referenceName(reference);
  }
  const passed = (side: number): Passed[] =>
    [...data.values()].map((reference) => {
      const node = nodes.get(reference.node);
      const own = node !== undefined && predicate(reference) === wanted;
      const type = node === undefined ? 1 : typeNumber(node);
      return own
        ? { outside: node.inputs[0], inside: [{ node: node.name, output: side }], type }
        : { outside: reference, inside: [reference], type };
    });
  const onTrue = shared.output === 1 ? 0 : 1;
  const branch = (side: number, role: string) => {
    const value = current.inputs[side === 1 ? onTrue : 1 - onTrue];
    return addFunction(library, bodyGraph(nodes, `${graph}/${merge.name}/${role}`, passed(side), [value]));
  };
  const given = passed(1);
  nodes.set(merge.name, {
    name: merge.name,
    op: "If",
    inputs: [choice, ...given.map(({ outside }) => outside)],
    controls: [],
    attributes: {
      Tin: madeAttribute({ types: given.map(({ type }) => type) }),
      Tout: madeAttribute({ types: [typeNumber(current)] }),
      then_branch: branch(1, "then"),
      else_branch: branch(0, "else"),
    },
  });
}
