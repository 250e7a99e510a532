/** Conditions and loops. What is decided at compile time leaves no trace; the rest becomes If and Loop, which run on the CPU. */
import type { Graph, TensorType } from "../../../graph/graph.js";
import { toNumbers } from "../../../graph/tensor.js";
import type { FlatGraph } from "../flat.js";
import { stacked } from "./lists.js";
import { Conversion, type Rule, type Rules } from "./rule.js";
import type { ListValue } from "./scope.js";

/** Loops that are known to end are unrolled while they make no more nodes than this. */
const mostUnrolled = 12_000;

function knownScalar(node: Conversion, value: string): number | undefined {
  const known = node.known(value);
  return known === undefined || known.data.length !== 1 || known.dtype === "string" ? undefined : toNumbers(known)[0];
}

/** A graph of what a scope holds, with these results. */
function bodyGraph(name: string, inputs: readonly string[], results: readonly string[], node: Conversion): Graph {
  const { scope } = node;
  // A result may be an input or a value from outside, or be there twice.
  const outputs = results.map((value) => node.emit("Identity", [value]));
  const types = new Map<string, TensorType>();
  for (const value of inputs) {
    const type = scope.known.type(value);
    if (type) types.set(value, type);
  }
  for (const [value, { dtype, shape }] of scope.constants) types.set(value, { dtype, shape });
  return { name, inputs, outputs, nodes: scope.nodes, types, constants: scope.constants };
}

function inBody(node: Conversion): Conversion {
  return new Conversion(node.source, [], node.scope.inner());
}

/** One branch's graph. It reads its arguments from outside. */
function branchGraph(node: Conversion, branch: FlatGraph, values: readonly string[]): Graph {
  const body = inBody(node);
  const results = body.scope.inline(branch, values, body.scope);
  return bodyGraph(
    branch.name,
    [],
    results.map((value) => tensorOf(body, value)),
    body,
  );
}

function tensorOf(node: Conversion, value: string): string {
  if (node.scope.complex(value)) throw node.refusal("its body gives complex numbers");
  const list = node.scope.list(value);
  return list === undefined ? value : stacked(node, list);
}

function choose(node: Conversion, condition: string, yes: FlatGraph, otherwise: (values: readonly string[]) => Graph): readonly string[] {
  const values = node.inputs.slice(1);
  const branches = { then_branch: branchGraph(node, yes, values), else_branch: otherwise(values) };
  const attributes = Object.fromEntries(Object.entries(branches).map(([name, value]) => [name, { type: "graph" as const, value }]));
  return node.emitAll("If", [condition], attributes, yes.outputs.length);
}

/** A condition that is no truth value is true where it is not 0. */
const asCondition = (node: Conversion, value: string): string => node.cast(value, "bool");

const conditional: Rule = (node) => {
  const [yes, no] = [node.body("then_branch"), node.body("else_branch")];
  const values = node.inputs.slice(1);
  const known = knownScalar(node, node.inputs[0]);
  if (known !== undefined) return node.scope.inline(known !== 0 ? yes : no, values, node.scope);
  return choose(node, asCondition(node, node.inputs[0]), yes, () => branchGraph(node, no, values));
};

/** One of several branches by index, the last for an index that has none. */
const switchCase: Rule = (node) => {
  const branches = node.bodies("branches");
  const [index, ...values] = node.inputs;
  const known = knownScalar(node, index);
  if (known !== undefined) {
    const taken = branches[known] ?? branches[branches.length - 1];
    return node.scope.inline(taken, values, node.scope);
  }
  const rest = (at: number, inner: Conversion): readonly string[] => {
    if (at === branches.length - 1) return inner.scope.inline(branches[at], values, inner.scope);
    const isIt = inner.emit("Equal", [index, inner.scalar(at, inner.dtypeOf(index))]);
    return choose(new Conversion(node.source, node.inputs, inner.scope), isIt, branches[at], () => {
      const body = inBody(inner);
      return bodyGraph(node.source.name, [], rest(at + 1, body), body);
    });
  };
  return rest(0, node);
};

/** Runs the loop at compile time as far as its condition is known; undefined where it is not known to end, or makes too many nodes. */
function unrolled(node: Conversion, condition: FlatGraph, body: FlatGraph): readonly string[] | undefined {
  const { scope } = node;
  const before = scope.nodes.length;
  let values: readonly string[] = node.inputs;
  for (;;) {
    const goesOn = knownScalar(node, scope.inline(condition, values, scope)[0]);
    if (goesOn === 0) return values;
    if (goesOn === undefined || scope.nodes.length - before > mostUnrolled) break;
    values = scope.inline(body, values, scope);
  }
  scope.truncate(before);
  return undefined;
}

/** A loop variable: its value before the loop, the name that the body reads it by, and what it is if it is a list. */
interface Variable {
  readonly initial: string;
  readonly type: TensorType | undefined;
  readonly list?: ListValue;
}

/** The loop's body with variables of these types: its graph, and each variable after an iteration. */
function loopBody(node: Conversion, variables: readonly Variable[], invariant: readonly boolean[]) {
  const body = inBody(node);
  const { scope } = body;
  const [iteration, goesOn] = [body.fresh(), body.fresh()];
  scope.known.addInput(iteration, { dtype: "int64", shape: [] });
  scope.known.addInput(goesOn, { dtype: "bool", shape: [] });
  const inputs: string[] = [iteration, goesOn];
  const values = variables.map(({ initial, type, list }, index) => {
    if (invariant[index]) return initial;
    const name = body.fresh();
    inputs.push(name);
    if (type) scope.known.addInput(name, type);
    return list ? scope.addList({ dtype: list.dtype, shape: list.shape, stacked: name }) : name;
  });
  const after = scope.inline(node.body("body"), values, scope);
  const [next] = scope.inline(node.body("cond"), after, scope);
  const carried = after.filter((_, index) => !invariant[index]);
  const types = after.map((value): Pick<Variable, "type" | "list"> => {
    const list = scope.list(value);
    return { type: scope.known.type(list?.stacked ?? value), list };
  });
  const results = [asCondition(body, next), ...carried.map((value) => tensorOf(body, value))];
  return { graph: bodyGraph(node.body("body").name, inputs, results, body), types };
}

/** A type that holds before and after an iteration, as far as that is known. */
function joinTypes(left: TensorType | undefined, right: TensorType | undefined): TensorType | undefined {
  if (left === undefined || right === undefined) return left;
  const [a, b] = [left.shape, right.shape];
  if (b === undefined) return left;
  if (a === undefined || a.length !== b.length) return { dtype: left.dtype };
  return { dtype: left.dtype, shape: a.map((extent, axis) => (extent === b[axis] ? extent : `changing_${axis}`)) };
}

/** Which variables a body hands on as they came. */
function invariants(body: FlatGraph): boolean[] {
  const producers = new Map(body.nodes.map((node) => [node.name, node]));
  return body.outputs.map((output, index) => {
    let at = output.value;
    const input = body.inputs[index].value;
    for (let node = producers.get(at.node); node?.op === "Identity" && node.name !== input.node; node = producers.get(at.node)) {
      at = node.inputs[0];
    }
    return at.node === input.node && at.output === input.output;
  });
}

/** A loop whose end only the run tells. The first conversion of the body is for the types, of lists' elements above all. */
function loop(node: Conversion): readonly string[] {
  const [condition, body] = [node.body("cond"), node.body("body")];
  const invariant = invariants(body);
  const { scope } = node;
  const before = scope.nodes.length;
  const variable = (value: string, index: number, learned?: Pick<Variable, "type" | "list">): Variable => {
    const known = scope.list(value);
    if (invariant[index] || known === undefined) return { initial: value, type: joinTypes(node.type(value), learned?.type) };
    const list = { ...known, shape: known.shape ?? learned?.list?.shape };
    if (list.shape === undefined && list.stacked === undefined) return { initial: value, type: { dtype: list.dtype }, list };
    const initial = stacked(node, list);
    return { initial, type: joinTypes(node.type(initial), learned?.type), list };
  };
  const first = node.inputs.map((value, index) => variable(value, index));
  const { types } = loopBody(node, first, invariant);
  scope.truncate(before);
  const variables = node.inputs.map((value, index) => variable(value, index, types[index]));
  const [goesOn] = scope.inline(condition, node.inputs, scope);
  const { graph } = loopBody(node, variables, invariant);
  const initial = variables.flatMap(({ initial: value }, index) => (invariant[index] ? [] : [value]));
  const outputs = node.emitAll(
    "Loop",
    ["", asCondition(node, goesOn), ...initial],
    { body: { type: "graph", value: graph } },
    initial.length,
  );
  let at = 0;
  return variables.map(({ initial: value, list }, index) => {
    if (invariant[index]) return value;
    const output = outputs[at++];
    return list ? scope.addList({ dtype: list.dtype, shape: list.shape, stacked: output }) : output;
  });
}

const whileLoop: Rule = (node) => unrolled(node, node.body("cond"), node.body("body")) ?? loop(node);

export const controlRules: Rules = {
  Case: switchCase,
  If: conditional,
  StatelessCase: switchCase,
  StatelessIf: conditional,
  StatelessWhile: whileLoop,
  While: whileLoop,
};
