/** Nodes that hold, hand on or read what outlives a request: read-only state becomes constants. Also what is known of values. */
import { userError } from "../../../diagnostics/diagnostic.js";
import { fromNumbers, numberAt, type Tensor } from "../../../graph/tensor.js";
import { attributesOf, type Outputs, outputsOf, type Place, type Value, type Variable } from "./builder.js";
import type { Handler } from "./flatten.js";
import type { SourceNode } from "./source.js";
import { controlKinds } from "./structure.js";
import { tensorOf } from "./tensor.js";

/** Nodes that are variables. `isReference`: their output is the value too, as in TensorFlow 1; else it is a handle. */
export const variableOps: ReadonlyMap<string, { readonly isReference: boolean }> = new Map([
  ["VarHandleOp", { isReference: false }],
  ["VariableV2", { isReference: true }],
  ["Variable", { isReference: true }],
  ["AutoReloadVariable", { isReference: true }],
]);

/** Nodes whose output is a table. */
const tableOps = [
  ...["HashTable", "HashTableV2", "AnonymousHashTable", "MutableHashTable", "MutableHashTableV2", "AnonymousMutableHashTable"],
  ...["MutableHashTableOfTensors", "MutableHashTableOfTensorsV2", "MutableDenseHashTable", "MutableDenseHashTableV2"],
];

const one = (value: Value): Outputs => outputsOf([value]);

/** The variable whose handle this is. Throws a UserError if it is another thing's. */
function variableOf(value: Value | undefined, node: SourceNode, place: Place): Variable {
  if (value?.kind === "variable") return value.variable;
  const resource = value?.kind === "resource" ? value.name : "that is computed at run time";
  throw userError("NCC0150", { node: place.prefix + node.name, op: node.op, resource });
}

const constant: Handler = (_, node, _inputs, place) => {
  const label = place.prefix + node.name;
  const value = Object.hasOwn(node.attributes, "value") ? node.attributes.value : undefined;
  if (value?.value !== "tensor") throw userError("NCC0252", { node: label, attribute: "value", op: node.op });
  return one(place.builder.constant(label, tensorOf(value.tensor, label)));
};

/** Hands on handles, and what is known of a value. */
const identity: Handler = (flattener, node, inputs, place) => {
  const [input] = inputs;
  if (input.kind !== "tensor" && !(input.kind === "variable" && input.isReference)) return one(input);
  const known = input.kind === "variable" ? flattener.freeze(input.variable, place.builder) : input;
  const output = flattener.operator(node, inputs, place)(0);
  return one(output?.kind === "tensor" ? { ...output, constant: known.constant } : input);
};

const readVariable: Handler = (flattener, node, inputs, place) => one(flattener.freeze(variableOf(inputs[0], node, place), place.builder));

const variableShape: Handler = (flattener, node, inputs, place) => {
  const { constant: value } = flattener.freeze(variableOf(inputs[0], node, place), place.builder);
  const shape = value?.shape ?? [];
  const type = attributesOf(node, place).get("out_type");
  const dtype = type?.value === "int64" ? "int64" : "int32";
  return one(place.builder.constant(place.prefix + node.name, fromNumbers(dtype, [shape.length], shape)));
};

/** A lookup in a variable is one in its value: along the first axis after the batch's. */
const resourceGather: Handler = (flattener, node, inputs, place) => {
  const label = place.prefix + node.name;
  const table = flattener.freeze(variableOf(inputs[0], node, place), place.builder);
  const indices = flattener.reference(inputs[1], label, node.op, place.builder);
  const { dtype: Tparams, Tindices, batch_dims } = Object.fromEntries(attributesOf(node, place));
  if (node.op === "ResourceGatherNd") {
    return one({
      kind: "tensor",
      reference: place.builder.add(label, "GatherNd", [table.reference, indices], new Map(Object.entries({ Tparams, Tindices }))),
    });
  }
  const batch = batch_dims?.type === "int" ? batch_dims.value : 0;
  const axis = flattener.reference(
    place.builder.constant(`${label}/axis`, fromNumbers("int32", [], [batch])),
    label,
    node.op,
    place.builder,
  );
  const attributes = new Map(Object.entries({ Tparams, Tindices, Taxis: { type: "dtype", value: "int32" } as const, batch_dims }));
  return one({ kind: "tensor", reference: place.builder.add(label, "GatherV2", [table.reference, indices, axis], attributes) });
};

const truth = (value: boolean): Tensor => ({ dtype: "bool", shape: [], data: Uint8Array.of(value ? 1 : 0) });

const initialised: Handler = (_, node, _inputs, place) => one(place.builder.constant(place.prefix + node.name, truth(true)));

/** A truth value that follows from known ones; what a condition depends on may be so. */
function logical(rule: (...values: boolean[]) => boolean): Handler {
  return (flattener, node, inputs, place) => {
    const known = inputs.map((value) => (value.kind === "tensor" && value.constant?.shape.length === 0 ? value.constant : undefined));
    const values = known.flatMap((tensor) => (tensor?.dtype === "bool" ? [numberAt(tensor, 0) !== 0] : []));
    if (values.length < inputs.length) return flattener.operator(node, inputs, place);
    return one(place.builder.constant(place.prefix + node.name, truth(rule(...values))));
  };
}

/** An assignment whose result is used: the value is one request's, and the next one's start. */
const assignment: Handler = (_, node, inputs, place) => {
  const { name } = variableOf(inputs[0], node, place);
  throw userError("NCC0148", { node: place.prefix + node.name, op: node.op, variable: name });
};

/** Operators that change the variable that is their first input. Those of TensorFlow 1 return it. */
const assignmentOps: readonly string[] = [
  ...["Assign", "AssignAdd", "AssignSub", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"],
  ...["Add", "Sub", "Mul", "Div", "Min", "Max", "Update", "NdAdd", "NdSub", "NdUpdate", "NdMin", "NdMax"].flatMap((kind) => [
    `Scatter${kind}`,
    `ResourceScatter${kind}`,
  ]),
  ...["StridedSliceAssign", "ResourceStridedSliceAssign", "CountUpTo", "ResourceCountUpTo"],
];

const assigns = new Set(assignmentOps);

/** Whether an operator changes the variable that is its first input. */
export function isAssignment(op: string): boolean {
  return assigns.has(op) || /^(Resource)?(Sparse)?Apply[A-Z]/.test(op);
}

const placeholder: Handler = (flattener, node, _inputs, place) => {
  throw userError("NCC0151", { node: place.prefix + node.name, signature: flattener.options.signature });
};

/** A node of TensorFlow 1's control flow that is left after loops and conditions have become functions. */
const unstructured: Handler = (_, node, _inputs, place) => {
  throw userError("NCC0154", { node: place.prefix + node.name, op: node.op });
};

export const stateHandlers: readonly (readonly [string, Handler])[] = [
  ["Const", constant],
  ["HostConst", constant],
  ["Identity", identity],
  ["IdentityN", (_flattener, _node, inputs) => outputsOf(inputs)],
  ["Placeholder", placeholder],
  ["PlaceholderV2", placeholder],
  ["PlaceholderWithDefault", (_flattener, _node, inputs) => outputsOf(inputs)],
  ...[...variableOps].map(([op, { isReference }]): [string, Handler] => [
    op,
    (_, node, _inputs, place) => one({ kind: "variable", variable: { name: place.prefix + node.name, node }, isReference }),
  ]),
  ...tableOps.map((op): [string, Handler] => [op, (_, node, _inputs, place) => one({ kind: "resource", name: place.prefix + node.name })]),
  ...[...controlKinds].flatMap((kind): [string, Handler][] => [
    [kind, unstructured],
    [`Ref${kind}`, unstructured],
  ]),
  ["ReadVariableOp", readVariable],
  ["VariableShape", variableShape],
  ["ResourceGather", resourceGather],
  ["ResourceGatherNd", resourceGather],
  ["VarIsInitializedOp", initialised],
  ["IsVariableInitialized", initialised],
  ["LogicalNot", logical((value) => !value)],
  ["LogicalAnd", logical((left, right) => left && right)],
  ["LogicalOr", logical((left, right) => left || right)],
  ...assignmentOps.map((op): [string, Handler] => [op, assignment]),
];
