/** Calls of functions: inlined, or kept as bodies where what runs is known only at run time. */
import { userError } from "../../../diagnostics/diagnostic.js";
import { numberAt, type Tensor } from "../../../graph/tensor.js";
import type { FlatAttribute, FlatGraph } from "../flat.js";
import { attributesOf, type Outputs, outputsOf, type Place, type Port, type Value } from "./builder.js";
import type { Flattener, Handler } from "./flatten.js";
import type { NameAttrList } from "./schema.js";
import type { SourceGraph, SourceNode, SourceReference } from "./source.js";
import { type FlatType, shapeOf, typeOf } from "./tensor.js";

/** A function as a call names it. */
interface Callee {
  readonly name: string;
  readonly attributes: NameAttrList["attr"];
}

const deepestCalls = 200;

/** The function that a call runs, and the place of what is put for it. */
function enter(flattener: Flattener, node: SourceNode, callee: Callee, place: Place): { graph: SourceGraph; callers: readonly string[] } {
  const label = place.prefix + node.name;
  const graph = flattener.options.library.get(callee.name);
  if (graph === undefined) throw userError("NCC0147", { node: label, function: callee.name });
  const { callers } = place;
  if (callers.includes(callee.name)) {
    const cycle = [...callers.slice(callers.indexOf(callee.name)), callee.name].join(" -> ");
    throw userError("NCC0146", { node: label, function: callee.name, cycle });
  }
  if (callers.length >= deepestCalls) throw userError("NCC0215", { node: label, function: callee.name, depth: deepestCalls });
  return { graph, callers: [...callers, callee.name] };
}

/** Puts the nodes of the function in place of the call. */
export function callFunction(flattener: Flattener, node: SourceNode, callee: Callee, inputs: readonly Value[], place: Place): Outputs {
  const { graph, callers } = enter(flattener, node, callee, place);
  if (inputs.length < graph.arguments.length) {
    throw userError("NCC0219", {
      node: place.prefix + node.name,
      function: callee.name,
      found: inputs.length,
      kind: "inputs",
      count: graph.arguments.length,
    });
  }
  const prefix = graph.isLocal ? place.prefix : `${place.prefix}${node.name}/`;
  const attributes = { ...callee.attributes, ...node.attributes };
  return outputsOf(flattener.instantiate(graph, inputs, { builder: place.builder, prefix, attributes, callers }));
}

function calleeOf(node: SourceNode, attribute: string, place: Place): Callee {
  const value = Object.hasOwn(node.attributes, attribute) ? node.attributes[attribute] : undefined;
  if (value?.value !== "func") {
    throw userError("NCC0252", { node: place.prefix + node.name, attribute, op: node.op });
  }
  return { name: value.func.name, attributes: value.func.attr };
}

const inlined: Handler = (flattener, node, inputs, place) => callFunction(flattener, node, calleeOf(node, "f", place), inputs, place);

/** The types or shapes that an attribute of the call lists for its inputs or outputs. */
function listedTypes(node: SourceNode, attribute: string): readonly (FlatType | undefined)[] {
  const value = Object.hasOwn(node.attributes, attribute) ? node.attributes[attribute] : undefined;
  return value?.value === "list" ? value.list.type.map(typeOf) : [];
}

/** What goes before the names of a body's nodes: nothing where the body is of nodes of this very graph. */
function bodyPrefix(graph: SourceGraph, node: SourceNode, role: string, { prefix }: Place): string {
  return graph.isLocal ? prefix : `${prefix}${node.name}/${role}/`;
}

/** A body's ports: arguments and results named as the function names them. */
function portsOf(graph: SourceGraph, node: SourceNode, inputTypes: string, outputTypes: string): { inputs: Port[]; outputs: Port[] } {
  const given = listedTypes(node, inputTypes);
  const returned = listedTypes(node, outputTypes);
  const shapes = Object.hasOwn(node.attributes, "output_shapes") ? node.attributes.output_shapes : undefined;
  return {
    inputs: graph.arguments.map(({ name, type, shape }, index) => ({ key: name, name: `${name}:0`, dtype: type ?? given[index], shape })),
    outputs: graph.results.map(({ name, value }, index) => ({
      key: name,
      name: `${value.node}:${value.output}`,
      dtype: returned[index],
      shape: shapes?.value === "list" && shapes.list.shape.length > index ? shapeOf(shapes.list.shape[index]) : undefined,
    })),
  };
}

/** The attributes of a call but those that list its inputs: some of these have gone into the bodies. */
function plainAttributes(node: SourceNode, place: Place): Map<string, FlatAttribute> {
  const attributes = attributesOf(node, place);
  for (const name of ["T", "Tin", "output_shapes", "_output_shapes"]) attributes.delete(name);
  return attributes;
}

/** TensorFlow 1's variables are passed to bodies by their value. */
function passedOf(flattener: Flattener, values: readonly Value[], place: Place): readonly Value[] {
  return values.map((value) => (value.kind === "variable" && value.isReference ? flattener.freeze(value.variable, place.builder) : value));
}

/** What is known of a value before any request: handles, and constants. */
function knownBefore(value: Value): Value | undefined {
  return value.kind === "tensor" && value.constant === undefined ? undefined : value;
}

/** Puts a node that runs one of several bodies. All take and return the same; what is known of the inputs is known in the bodies. */
function conditional(
  flattener: Flattener,
  node: SourceNode,
  roles: readonly (readonly [role: string, callee: Callee])[],
  inputs: readonly Value[],
  place: Place,
  attributesFor: (bodies: readonly FlatGraph[]) => readonly (readonly [string, FlatAttribute])[],
): Outputs {
  const label = place.prefix + node.name;
  const [choice, ...rest] = inputs;
  const values = passedOf(flattener, rest, place);
  const known = values.map(knownBefore);
  const bodies = roles.map(([role, callee]) => {
    const { graph, callers } = enter(flattener, node, callee, place);
    const ports = portsOf(graph, node, "Tin", "Tout");
    const attributes = { ...callee.attributes, ...node.attributes };
    return flattener.flatten(graph, known, ports.inputs, ports.outputs, {
      prefix: bodyPrefix(graph, node, role, place),
      attributes,
      callers,
    });
  });
  const passed = [choice, ...values.filter((_, index) => known[index] === undefined)];
  const references = passed.map((value) => flattener.reference(value, label, node.op, place.builder));
  const attributes = new Map([...plainAttributes(node, place), ...attributesFor(bodies)]);
  const added = place.builder.add(label, node.op, references, attributes);
  return (output) => ({ kind: "tensor", reference: { node: added.node, output } });
}

function scalarOf(value: Value): number | undefined {
  const constant: Tensor | undefined = value.kind === "tensor" ? value.constant : undefined;
  if (constant === undefined || constant.data.length !== 1) return undefined;
  return constant.dtype === "string" ? String(constant.data[0]).length : numberAt(constant, 0);
}

const ifNode: Handler = (flattener, node, inputs, place) => {
  const [then, otherwise] = ["then_branch", "else_branch"].map((name) => calleeOf(node, name, place));
  const choice = scalarOf(inputs[0]);
  if (choice !== undefined) return callFunction(flattener, node, choice !== 0 ? then : otherwise, inputs.slice(1), place);
  const roles = [["then", then] as const, ["else", otherwise] as const];
  return conditional(flattener, node, roles, inputs, place, ([thenBody, elseBody]) => [
    ["then_branch", { type: "function", value: thenBody }],
    ["else_branch", { type: "function", value: elseBody }],
  ]);
};

const caseNode: Handler = (flattener, node, inputs, place) => {
  const branches = Object.hasOwn(node.attributes, "branches") ? node.attributes.branches : undefined;
  const callees = branches?.value === "list" ? branches.list.func.map(({ name, attr }) => ({ name, attributes: attr })) : [];
  if (callees.length === 0) throw userError("NCC0252", { node: place.prefix + node.name, attribute: "branches", op: node.op });
  const choice = scalarOf(inputs[0]);
  if (choice !== undefined) {
    const taken = choice >= 0 && choice < callees.length ? choice : callees.length - 1;
    return callFunction(flattener, node, callees[taken], inputs.slice(1), place);
  }
  const roles = callees.map((callee, index) => [`branch${index}`, callee] as const);
  return conditional(flattener, node, roles, inputs, place, (bodies) => [["branches", { type: "functions", value: bodies }]]);
};

/** Whether a loop's body hands its argument on as it came. */
function isInvariant(body: SourceGraph, index: number): boolean {
  let at: SourceReference | undefined = body.results[index]?.value;
  while (at !== undefined) {
    const name = at.node;
    if (body.arguments[index]?.name === name) return true;
    const node = body.nodes.get(name);
    at = node?.op === "Identity" ? node.inputs[0] : undefined;
  }
  return false;
}

/** Loop variables that never change and are known before the loop become part of the bodies; the others stay inputs and outputs. */
const whileNode: Handler = (flattener, node, given, place) => {
  const label = place.prefix + node.name;
  const condition = calleeOf(node, "cond", place);
  const step = calleeOf(node, "body", place);
  const { graph: conditionGraph } = enter(flattener, node, condition, place);
  const { graph: stepGraph, callers } = enter(flattener, node, step, place);
  const inputs = passedOf(flattener, given, place);
  const invariant = inputs.map((_, index) => isInvariant(stepGraph, index));
  const known = inputs.map((value, index) => (invariant[index] ? knownBefore(value) : undefined));
  const body = (graph: SourceGraph, callee: Callee, role: string, keeps: (index: number) => boolean) => {
    const ports = portsOf(graph, node, "T", role === "body" ? "T" : "");
    const outputs = ports.outputs.map((port, index) => (keeps(index) ? port : undefined));
    const attributes = { ...callee.attributes, ...node.attributes };
    return flattener.flatten(graph, known, ports.inputs, outputs, { prefix: bodyPrefix(graph, node, role, place), attributes, callers });
  };
  const attributes = plainAttributes(node, place);
  attributes.set("cond", { type: "function", value: body(conditionGraph, condition, "cond", () => true) });
  attributes.set("body", { type: "function", value: body(stepGraph, step, "body", (index) => known[index] === undefined) });
  const positions = inputs.flatMap((_, index) => (known[index] === undefined ? [index] : []));
  const references = positions.map((index) => flattener.reference(inputs[index], label, node.op, place.builder));
  const added = place.builder.add(label, node.op, references, attributes);
  const places = new Map(positions.map((index, output) => [index, output]));
  return (output) => {
    if (invariant[output]) return inputs[output];
    const at = places.get(output);
    return at === undefined ? undefined : { kind: "tensor", reference: { node: added.node, output: at } };
  };
};

export const callHandlers: readonly (readonly [string, Handler])[] = [
  ["PartitionedCall", inlined],
  ["StatefulPartitionedCall", inlined],
  ["RemoteCall", (flattener, node, inputs, place) => inlined(flattener, node, inputs.slice(1), place)],
  ["If", ifNode],
  ["StatelessIf", ifNode],
  ["Case", caseNode],
  ["StatelessCase", caseNode],
  ["While", whileNode],
  ["StatelessWhile", whileNode],
];
