/** A TensorFlow model, read and flat, as a graph of ONNX operators. */
import { userError } from "../../diagnostics/diagnostic.js";
import type { Graph, Node, TensorType } from "../../graph/graph.js";
import type { Tensor } from "../../graph/tensor.js";
import type { SourceOperator } from "../model.js";
import type { FlatGraph, FlatNode, FlatReference, FlatValue } from "./flat.js";
import { pointwiseRules } from "./pointwise.js";
import { Conversion, type Rules } from "./rule.js";
import { shapeRules } from "./shapes.js";
import { spatialRules } from "./spatial.js";

const rules: ReadonlyMap<string, Rules[string]> = new Map(Object.entries({ ...pointwiseRules, ...shapeRules, ...spatialRules }));

/** Operators that conversion takes away: they hold no computation. */
const structural: ReadonlySet<string> = new Set(["Const", "NoOp", "Placeholder"]);

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
  const inputNodes = new Set(flat.inputs.map((input) => input.value.node));
  refuseUnknown(flat.nodes.filter((node) => !inputNodes.has(node.name)));
  const nodes: Node[] = [];
  const constants = new Map<string, Tensor>();
  const types = new Map<string, TensorType>();
  const values = new Map<string, string>();
  for (const input of flat.inputs) {
    values.set(keyOf(input.value), input.name);
    types.set(input.name, typeOf(input));
  }
  for (const node of flat.nodes) {
    if (inputNodes.has(node.name)) continue;
    const inputs = node.inputs.map((input) => producedValue(values, input));
    const outputs = convertNode(node, inputs, { nodes, constants });
    for (const [output, value] of outputs.entries()) values.set(keyOf({ node: node.name, output }), value);
  }
  const outputs = flat.outputs.map((output) => {
    const value = producedValue(values, output.value);
    if (value === output.name) return value;
    nodes.push({ name: output.name, op: "Identity", domain: "", inputs: [value], outputs: [output.name], attributes: {}, origins: [] });
    return output.name;
  });
  for (const [name, { dtype, shape }] of constants) types.set(name, { dtype, shape });
  const graph: Graph = { name: flat.name, inputs: flat.inputs.map((input) => input.name), outputs, nodes, types, constants };
  return { graph, operators: flat.nodes.map(({ name, op }) => ({ name, type: op })) };
}

function convertNode(
  node: FlatNode,
  inputs: readonly string[],
  target: { nodes: Node[]; constants: Map<string, Tensor> },
): readonly string[] {
  const conversion = new Conversion(node, inputs, target);
  if (node.op === "Const") {
    const value = node.attributes.get("value");
    if (value?.type !== "tensor") throw conversion.refusal("it has no value");
    return [conversion.constant(value.value)];
  }
  // A constant read through Identity stays a constant for the rules that need one.
  if (node.op === "Identity" && target.constants.has(inputs[0])) return inputs;
  return rules.get(node.op)?.(conversion) ?? [];
}

function refuseUnknown(nodes: readonly FlatNode[]): void {
  const unknown = nodes.filter((node) => !structural.has(node.op) && !rules.has(node.op));
  if (unknown.length === 0) return;
  throw userError("NCC0290", { nodes: unknown.map((node) => `${node.op} (${node.name})`).join(", ") });
}

function keyOf(reference: FlatReference): string {
  return `${reference.node}:${reference.output}`;
}

function producedValue(values: ReadonlyMap<string, string>, reference: FlatReference): string {
  const value = values.get(keyOf(reference));
  if (value === undefined) throw userError("NCC0292", { node: reference.node, output: reference.output });
  return value;
}

function typeOf(input: FlatValue): TensorType {
  const { dtype, name, shape } = input;
  if (dtype === "resource" || dtype === "variant") throw userError("NCC0211", { value: `input ${name}`, kind: dtype });
  return shape === undefined ? { dtype } : { dtype, shape: shape.map((extent, axis) => (extent < 0 ? `${name}_dim_${axis}` : extent)) };
}
