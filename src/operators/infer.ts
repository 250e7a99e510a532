/** Shape and dtype inference of a whole graph, with the values of shapes that the model computes. */
import { UserError, userError } from "../diagnostics/diagnostic.js";
import { type Attribute, type Dim, type Graph, intAttribute, intsAttribute, type Node, type TensorType } from "../graph/graph.js";
import type { Tensor } from "../graph/tensor.js";
import { evaluate } from "./evaluate.js";
import type { OperatorRecord, OperatorUse } from "./record.js";
import { epilogueUse, ownInputs, recordOf, useOf } from "./registry.js";
import { attributeFault, checkSize, constantScalar, inputFault, nodeLabel, OPEN, type Shape } from "./shapes.js";

/** What inference knows while it goes through a graph: its own values and, in a body, those outside. */
interface Scope {
  readonly types: Map<string, TensorType>;
  readonly constants: Map<string, Tensor>;
  /** Shared counter of extents that can't be told. */
  readonly open: { count: number };
}

const madeUp = /^open_\d+$/;

/**
 * The graph with the type of every value that can be told, in one pass. Types that the graph already has for computed values fill in only
 * what inference can't tell. Extents that depend on data get names of their own (`open_1`, ...). Bodies of If, Loop and Scan are done
 * too. Throws UserError for a node whose inputs or attributes don't fit its operator.
 */
export function inferTypes(graph: Graph): Graph {
  return inferGraph(graph, { types: new Map(), constants: new Map(), open: { count: 0 } });
}

/** Infers a graph in a scope that sees what is outside. The result's types are those of its own values. */
function inferGraph(graph: Graph, outer: Scope, isBody = false): Graph {
  const declared = graph.types;
  const scope: Scope = { types: new Map(outer.types), constants: new Map(outer.constants), open: outer.open };
  const own = new Set([...graph.inputs, ...graph.constants.keys()]);
  for (const name of graph.inputs) {
    const type = declared.get(name);
    if (type) scope.types.set(name, type);
    scope.constants.delete(name);
  }
  for (const [name, tensor] of graph.constants) {
    scope.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    scope.constants.set(name, tensor);
  }
  const nodes = graph.nodes.map((node) => {
    for (const output of node.outputs) own.add(output);
    return addNode(node, declared, scope);
  });
  const types = new Map([...scope.types].filter(([name]) => own.has(name)));
  return isBody ? withConditions({ ...graph, nodes, types }, scope) : { ...graph, nodes, types };
}

/** A body whose conditions of If are constants where they follow from shapes: no folding comes there that could tell. */
function withConditions(body: Graph, scope: Scope): Graph {
  const constants = new Map(body.constants);
  for (const node of body.nodes) {
    const value = node.op === "If" ? scope.constants.get(node.inputs[0]) : undefined;
    if (value) constants.set(node.inputs[0], value);
  }
  if (constants.size === body.constants.size) return body;
  return { ...body, constants, nodes: body.nodes.filter(({ outputs }) => outputs.length > 1 || !constants.has(outputs[0])) };
}

/** Brings what a node computes into the scope; returns the node with the types of its bodies. */
function addNode(node: Node, declared: ReadonlyMap<string, TensorType>, scope: Scope): Node {
  for (const output of node.outputs) {
    scope.types.delete(output);
    scope.constants.delete(output);
  }
  const { types, result } = inferNode(node, scope);
  for (const [index, output] of node.outputs.entries()) {
    const type = output === "" ? undefined : refine(types[index], declared.get(output), scope);
    if (type) scope.types.set(output, type);
  }
  return result;
}

/** Inference of a graph while it is made, for what has to know types and shapes that are computed before the next node is added. */
export class GrowingTypes {
  private readonly scope: Scope;

  constructor(outer?: Scope) {
    this.scope = outer
      ? { types: new Map(outer.types), constants: new Map(outer.constants), open: outer.open }
      : { types: new Map(), constants: new Map(), open: { count: 0 } };
  }

  type(value: string): TensorType | undefined {
    return this.scope.types.get(value);
  }

  /** The value, where it is constant or follows from constants and static shapes (then only small ones). */
  constant(value: string): Tensor | undefined {
    return this.scope.constants.get(value);
  }

  addInput(name: string, type: TensorType): void {
    this.scope.types.set(name, type);
  }

  addConstant(name: string, tensor: Tensor): void {
    this.scope.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    this.scope.constants.set(name, tensor);
  }

  /** `declared`: types of the outputs that are known otherwise; they fill in what inference can't tell. */
  addNode(node: Node, declared: ReadonlyMap<string, TensorType> = new Map()): void {
    addNode(node, declared, this.scope);
  }

  /** For a body that sees this graph's values. */
  inner(): GrowingTypes {
    return new GrowingTypes(this.scope);
  }
}

/** Completes an inferred type by the declared one, and names what stays open. */
function refine(inferred: TensorType | undefined, declared: TensorType | undefined, scope: Scope): TensorType | undefined {
  if (inferred === undefined) return declared;
  const known = declared?.dtype === inferred.dtype ? declared.shape : undefined;
  const shape = inferred.shape?.map((dim, axis): Dim => {
    if (dim !== OPEN) return dim;
    const other = known?.length === inferred.shape?.length ? known?.[axis] : undefined;
    if (other !== undefined && !(typeof other === "string" && madeUp.test(other))) return other;
    scope.open.count++;
    return `open_${scope.open.count}`;
  });
  const result = shape ?? known;
  return result === undefined ? { dtype: inferred.dtype } : { dtype: inferred.dtype, shape: result };
}

interface Inferred {
  readonly types: readonly (TensorType | undefined)[];
  /** The node, with the types of its bodies. */
  readonly result: Node;
}

function inferNode(node: Node, scope: Scope): Inferred {
  const record = recordOf(node.op, node.domain);
  if (record === undefined) return { types: [], result: node };
  const use = useOf(scope, node);
  checkForm(record, use, node);
  const control = controlFlow[node.op];
  if (control) return control(node, use, scope);
  const unknown = node.inputs.some((name) => name !== "" && !scope.types.has(name));
  if (unknown) return { types: [], result: node };
  const types = record.infer(use).map((type) => checkSize(use, type));
  if (node.epilogue?.length) return { types: inferEpilogue(node, types, scope), result: node };
  for (const [index, value] of evaluate(record, use, types).entries()) {
    if (value && node.outputs[index]) scope.constants.set(node.outputs[index], value);
  }
  return { types, result: node };
}

/** The first output's type after the steps of the epilogue. */
function inferEpilogue(node: Node, main: readonly TensorType[], scope: Scope): (TensorType | undefined)[] {
  let running: TensorType | undefined = main[0];
  for (const step of node.epilogue ?? []) {
    if (running === undefined) break;
    const types: Map<string, TensorType> = new Map(scope.types).set(node.outputs[0], running);
    running = recordOf(step.op, "")?.infer(epilogueUse({ types, constants: scope.constants }, node, step))[0];
  }
  return [running, ...main.slice(1)];
}

/** Whether a node has the inputs and attributes that its operator takes. */
function checkForm(record: OperatorRecord, use: OperatorUse, node: Node): void {
  const names = ownInputs(node);
  const count = names.length;
  if (count < record.minInputs || count > record.maxInputs) {
    const { minInputs: least, maxInputs: most } = record;
    const expected = least === most ? `${least}` : most === Number.POSITIVE_INFINITY ? `${least} or more` : `${least} to ${most}`;
    throw userError("NCC0251", { node: nodeLabel(use), op: node.op, count, expected });
  }
  const variadic = record.maxInputs === Number.POSITIVE_INFINITY;
  const absent = names.slice(0, variadic ? count : record.minInputs).indexOf("");
  if (absent >= 0 && !controlFlow[node.op]) throw inputFault(use, absent, "present");
  for (const [name, spec] of Object.entries(record.attributes)) {
    const attribute = node.attributes[name];
    if (attribute === undefined) {
      if (spec.required) throw userError("NCC0252", { node: nodeLabel(use), op: node.op, attribute: name });
      continue;
    }
    if (attribute.type !== spec.type && !(attribute.type === "int" && spec.type === "float")) {
      throw attributeFault(use, name, `of type ${attribute.type}`, `it has to be of type ${spec.type}`);
    }
    const whole = attribute.type === "int" ? [attribute.value] : attribute.type === "ints" ? attribute.value : [];
    if (!whole.every(Number.isInteger)) throw attributeFault(use, name, whole.join(", "), "use whole numbers");
  }
}

// Control flow: operators with graphs in their attributes.

function bodyOf(attribute: Attribute | undefined): Graph {
  if (attribute?.type !== "graph") throw new Error("a body that is no graph");
  return attribute.value;
}

/** A body with given types of its inputs. Where one is unknown, the body's own declaration stays. */
function inferBody(body: Graph, inputs: readonly (TensorType | undefined)[], scope: Scope): Graph {
  const types = new Map(body.types);
  for (const [index, name] of body.inputs.entries()) {
    const type = inputs[index];
    if (type) types.set(name, { dtype: type.dtype, shape: type.shape ?? types.get(name)?.shape });
  }
  return inferGraph({ ...body, types }, scope, true);
}

/** Types of a body's outputs, which may be values from outside. */
function outputTypes(body: Graph, scope: Scope): (TensorType | undefined)[] {
  return body.outputs.map((name) => body.types.get(name) ?? scope.types.get(name));
}

/** The type that covers two: what differs is open. */
function join(left: TensorType | undefined, right: TensorType | undefined): TensorType | undefined {
  if (!left || !right || left.dtype !== right.dtype) return undefined;
  const [a, b] = [left.shape, right.shape];
  if (!a || !b || a.length !== b.length) return { dtype: left.dtype };
  return { dtype: left.dtype, shape: a.map((dim, axis): Dim => (dim === b[axis] ? dim : OPEN)) };
}

function withBodies(node: Node, bodies: Readonly<Record<string, Graph>>): Node {
  const graphs = Object.fromEntries(Object.entries(bodies).map(([name, value]): [string, Attribute] => [name, { type: "graph", value }]));
  return { ...node, attributes: { ...node.attributes, ...graphs } };
}

/** A branch, or undefined where it doesn't fit: models have branches that are right only where they are taken. */
function inferBranch(body: Graph, scope: Scope): Graph | undefined {
  try {
    return inferBody(body, [], scope);
  } catch (fault) {
    if (fault instanceof UserError) return undefined;
    throw fault;
  }
}

/** Types that hold whichever branch is taken; those of the one that is, where the condition is known. */
function inferIf(node: Node, use: OperatorUse, scope: Scope): Inferred {
  const condition = constantScalar(use, 0);
  const bodies = ["then_branch", "else_branch"].map((name) => bodyOf(node.attributes[name]));
  const [yes, no] = bodies.map((body) => inferBranch(body, scope));
  const possible = condition === undefined ? [yes, no] : [condition !== 0 ? yes : no];
  const [first, ...others] = possible.filter((body) => body !== undefined).map((body) => outputTypes(body, scope));
  const types = first?.map((type, index) => others.reduce((left, other) => join(left, other[index]), type)) ?? [];
  return { types, result: withBodies(node, { then_branch: yes ?? bodies[0], else_branch: no ?? bodies[1] }) };
}

/** Body inputs: iteration, condition, carried values; outputs: condition, carried values, scanned values. */
function inferLoop(node: Node, use: OperatorUse, scope: Scope): Inferred {
  const body = bodyOf(node.attributes.body);
  const carriedCount = Math.max(0, body.inputs.length - 2);
  const counters: TensorType[] = [
    { dtype: "int64", shape: [] },
    { dtype: "bool", shape: [] },
  ];
  const { carried, result } = settle(body, use.inputs.slice(2, 2 + carriedCount), 1, counters, [], scope);
  const scanned = outputTypes(result, scope).slice(1 + carriedCount);
  return { types: [...carried, ...scanned.map((type) => stacked(type, OPEN))], result: withBodies(node, { body: result }) };
}

/** Body inputs: states, then slices of the scanned inputs; outputs: states, then slices of the scanned outputs. */
function inferScan(node: Node, use: OperatorUse, scope: Scope): Inferred {
  const body = bodyOf(node.attributes.body);
  const scans = intAttribute(node.attributes, "num_scan_inputs", 1);
  const states = node.inputs.length - scans;
  if (scans < 1 || states < 0) throw attributeFault(use, "num_scan_inputs", scans, `the node has ${node.inputs.length} inputs`);
  const axes = intsAttribute(node.attributes, "scan_input_axes");
  const slices = use.inputs.slice(states).map((type, index): TensorType | undefined => {
    if (type?.shape === undefined) return type;
    const axis = (axes?.[index] ?? 0) < 0 ? (axes?.[index] ?? 0) + type.shape.length : (axes?.[index] ?? 0);
    return { dtype: type.dtype, shape: type.shape.filter((_, position) => position !== axis) };
  });
  const { carried, result } = settle(body, use.inputs.slice(0, states), 0, [], slices, scope);
  const plain = axes === undefined && intsAttribute(node.attributes, "scan_output_axes") === undefined;
  const length = (plain ? use.inputs[states]?.shape?.[0] : undefined) ?? OPEN;
  const scanned = outputTypes(result, scope).slice(states);
  const types = scanned.map((type) => (plain ? stacked(type, length) : type && { dtype: type.dtype }));
  return { types: [...carried, ...types], result: withBodies(node, { body: result }) };
}

function stacked(type: TensorType | undefined, length: Dim): TensorType | undefined {
  return type && { dtype: type.dtype, shape: type.shape && [length, ...type.shape] };
}

/** Types of carried values that hold in every iteration: what the first changes becomes open, and then what still changes unknown. */
function settle(
  body: Graph,
  initial: readonly (TensorType | undefined)[],
  firstOutput: number,
  before: readonly (TensorType | undefined)[],
  after: readonly (TensorType | undefined)[],
  scope: Scope,
): { carried: (TensorType | undefined)[]; result: Graph } {
  let carried = [...initial];
  let result = body;
  for (let round = 0; round < 3; round++) {
    const named = carried.map((type) => refine(type, undefined, scope));
    result = inferBody(body, [...before, ...named, ...after], scope);
    const next = outputTypes(result, scope).slice(firstOutput, firstOutput + initial.length);
    const joined = named.map((type, index) => (covers(type?.shape, next[index]?.shape, round > 0) ? type : join(type, next[index])));
    if (joined.every((type, index) => type === named[index])) return { carried: joined, result };
    carried = round === 0 ? joined : joined.map((type, index) => (type === named[index] ? type : type && { dtype: type.dtype }));
  }
  return { carried, result };
}

/** Whether a shape stands for another too: equal extents, or (`named`) ones that got a name because they change. */
function covers(left: Shape | undefined, right: Shape | undefined, named: boolean): boolean {
  if (left === undefined || right === undefined) return left === undefined;
  const fits = (dim: Dim, other: Dim): boolean => dim === other || (named && typeof dim === "string" && madeUp.test(dim));
  return left.length === right.length && left.every((dim, axis) => fits(dim, right[axis]));
}

const controlFlow: Readonly<Record<string, (node: Node, use: OperatorUse, scope: Scope) => Inferred>> = {
  If: inferIf,
  Loop: inferLoop,
  Scan: inferScan,
};
