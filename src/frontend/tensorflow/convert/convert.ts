/** A TensorFlow model, read and flat, as a graph of ONNX operators. */
import { userError } from "../../../diagnostics/diagnostic.js";
import type { Graph, TensorType } from "../../../graph/graph.js";
import type { SourceOperator } from "../../model.js";
import type { FlatGraph, FlatNode, FlatReference, FlatValue } from "../flat.js";
import { colourRules } from "./colour.js";
import { complexRules, convertComplex, isOfComplex } from "./complex.js";
import { controlRules } from "./control.js";
import { gatherRules } from "./gather.js";
import { listRules } from "./lists.js";
import { matrixRules } from "./matrices.js";
import { normalisationRules } from "./normalisation.js";
import { pointwiseRules } from "./pointwise.js";
import { productRules } from "./products.js";
import { reductionRules } from "./reductions.js";
import { refusedBecause } from "./refused.js";
import { resizeRules } from "./resize.js";
import { Conversion, type Rules } from "./rule.js";
import { type Inline, Scope } from "./scope.js";
import { segmentRules } from "./segments.js";
import { shapeRules } from "./shapes.js";
import { sliceRules } from "./slices.js";
import { spatialRules } from "./spatial.js";
import { suppressionRules } from "./suppression.js";

const rules: ReadonlyMap<string, Rules[string]> = new Map(
  Object.entries({
    ...pointwiseRules,
    ...reductionRules,
    ...shapeRules,
    ...sliceRules,
    ...gatherRules,
    ...segmentRules,
    ...suppressionRules,
    ...productRules,
    ...matrixRules,
    ...spatialRules,
    ...normalisationRules,
    ...resizeRules,
    ...colourRules,
    ...controlRules,
    ...listRules,
    ...complexRules,
  }),
);

/** Operators that conversion takes away: they hold no computation. */
const structural: ReadonlySet<string> = new Set(["Assert", "Const", "NoOp", "Placeholder", "PrintV2"]);

/** What TensorFlow calls the operators that can be converted, in alphabetical order. */
export const convertibleOperators: readonly string[] = [...structural, ...rules.keys()].sort();

export interface ConvertedGraph {
  readonly graph: Graph;
  /** Every node of the source, with TensorFlow's type. */
  readonly operators: readonly SourceOperator[];
}

/**
 * The graph of a model at the pinned opset. Its inputs and outputs are named as the vendor's tools name tensors (`x:0`).
 * Throws a UserError that names every node of an operator without conversion, or the first node in a form that has none.
 */
export function convertTensorFlow(flat: FlatGraph): ConvertedGraph {
  refuseUnknown(flat);
  const inputs = flat.inputs.map((input) => input.name);
  const scope = Scope.root(inline, inputs);
  const types = new Map<string, TensorType>();
  for (const input of flat.inputs) {
    const type = typeOf(input);
    types.set(input.name, type);
    scope.known.addInput(input.name, type);
  }
  const results = inline(flat, inputs, scope);
  // Two keys of a signature may name one tensor.
  const outputs = new Map(flat.outputs.map(({ name }, index) => [name, results[index]]));
  for (const [name, value] of outputs) {
    if (scope.list(value)) throw userError("NCC0211", { value: `output ${name}`, kind: "list of tensors" });
    if (scope.complex(value)) throw userError("NCC0211", { value: `output ${name}`, kind: "complex tensor" });
    if (value !== name)
      scope.nodes.push({ name, op: "Identity", domain: "", inputs: [value], outputs: [name], attributes: {}, origins: [] });
  }
  for (const [name, { dtype, shape }] of scope.constants) types.set(name, { dtype, shape });
  const { nodes, constants } = scope;
  const graph: Graph = { name: flat.name, inputs, outputs: [...outputs.keys()], nodes, types, constants };
  return { graph, operators: sourceOperators(flat) };
}

const inline: Inline = (flat, inputs, scope) => {
  const given = new Set(flat.inputs.map((input) => input.value.node));
  for (const [index, input] of flat.inputs.entries()) scope.bind(input.value, inputs[index]);
  for (const node of flat.nodes) {
    if (given.has(node.name)) continue;
    const values = node.inputs.map((input) => producedValue(scope, input));
    scope.remember(node, values);
    for (const [output, value] of convertNode(node, values, scope).entries()) scope.bind({ node: node.name, output }, value);
  }
  return flat.outputs.map((output) => producedValue(scope, output.value));
};

function convertNode(node: FlatNode, inputs: readonly string[], scope: Scope): readonly string[] {
  const conversion = new Conversion(node, inputs, scope);
  if (node.op === "Const") {
    const value = node.attributes.get("value");
    if (value?.type !== "tensor") throw conversion.refusal("it has no value");
    return [conversion.constant(value.value)];
  }
  // A constant read through Identity stays a constant, a list a list.
  if (node.op === "Identity" && (scope.holds(inputs[0]) || scope.list(inputs[0]))) return inputs;
  const rule = rules.get(node.op);
  if (rule === undefined) return [];
  return isOfComplex(conversion) ? convertComplex(conversion, rule) : rule(conversion);
}

/** The nodes of a graph and of the bodies that it calls. */
function* allNodes(flat: FlatGraph): Iterable<FlatNode> {
  const inputs = new Set(flat.inputs.map((input) => input.value.node));
  for (const node of flat.nodes) {
    if (inputs.has(node.name)) continue;
    yield node;
    for (const attribute of node.attributes.values()) {
      if (attribute.type === "function") yield* allNodes(attribute.value);
      if (attribute.type === "functions") for (const body of attribute.value) yield* allNodes(body);
    }
  }
}

/** Every node of a graph, those of bodies included, with TensorFlow's type; the inputs' first. */
export function sourceOperators(flat: FlatGraph): SourceOperator[] {
  const inputs = new Set(flat.inputs.map(({ value }) => value.node));
  const given = flat.nodes.filter(({ name }) => inputs.has(name));
  return [...given, ...allNodes(flat)].map(({ name, op }) => ({ name, type: op }));
}

function refuseUnknown(flat: FlatGraph): void {
  const unknown = [...allNodes(flat)].filter((node) => !structural.has(node.op) && !rules.has(node.op));
  if (unknown.length === 0) return;
  const nodes = unknown.map(({ op, name }) => {
    const reason = refusedBecause(op);
    return `${op} (${name}${reason === undefined ? "" : `: ${reason}`})`;
  });
  throw userError("NCC0290", { nodes: nodes.join(", ") });
}

function producedValue(scope: Scope, reference: FlatReference): string {
  const value = scope.lookup(reference);
  if (value === undefined) throw userError("NCC0292", { node: reference.node, output: reference.output });
  return value;
}

function typeOf(input: FlatValue): TensorType {
  const { dtype, name, shape } = input;
  if (dtype === "resource" || dtype === "variant") throw userError("NCC0211", { value: `input ${name}`, kind: dtype });
  return shape === undefined ? { dtype } : { dtype, shape: shape.map((extent, axis) => (extent < 0 ? `${name}_dim_${axis}` : extent)) };
}
