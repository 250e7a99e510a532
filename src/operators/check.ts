/** The verdict on a node: whether a NeuronCore can run it, or the reason why not; its cost and exactness. */

import { type Graph, isStatic, type Node, type TensorType } from "../graph/graph.js";
import { type DType, dtypes, elementCount } from "../graph/tensor.js";
import { deviceTypes } from "../program/program.js";
import { Builder, type Decomposition } from "./builder.js";
import { hasDecomposition, isAlwaysDecomposed, ruleOf } from "./decompositions.js";
import { type Exactness, loosest } from "./exactness.js";
import type { OperatorRecord, OperatorUse, Reason } from "./record.js";
import { allRecords, epilogueUse, recordOf, useOf } from "./registry.js";
import { reason } from "./shapes.js";

const narrower: Partial<Record<DType, DType>> = { float64: "float32", int64: "int32", uint64: "uint32" };

/** Most elements of a tensor on a NeuronCore: 32-bit addresses of 4-byte elements within a chip's 8 GiB. */
const MOST_ELEMENTS = 2 ** 31;

/** Names of ONNX's operators that can run on a NeuronCore, directly or decomposed, sorted. */
export function supportedOperators(): string[] {
  return allRecords()
    .filter(isSupported)
    .map((record) => record.name);
}

export function isSupported(record: OperatorRecord): boolean {
  return record.lowering !== undefined || record.isConstant === true || hasDecomposition(record.name);
}

function refuseType(subject: string, type: TensorType | undefined, allowed: readonly DType[]): Reason | undefined {
  if (type === undefined) return reason("unknown-type", subject, "unknown", "a type that shape inference can tell");
  if (!isStatic(type)) return reason("dynamic-shape", subject, `[${type.shape?.join(", ") ?? "..."}]`, "a static shape");
  if (!allowed.includes(type.dtype)) {
    const narrow = narrower[type.dtype];
    const nearest = narrow !== undefined && allowed.includes(narrow) ? narrow : allowed.join(", ");
    return reason("dtype", subject, type.dtype, nearest);
  }
  const count = elementCount(type.shape);
  if (count === 0) return reason("empty", subject, `[${type.shape.join(", ")}]`, "at least one element");
  return count > MOST_ELEMENTS ? reason("size", subject, `${count} elements`, `at most ${MOST_ELEMENTS}`) : undefined;
}

/** The rules for inputs. Parameters and constant scalars of formulas (immediates) may be of any type. */
function refuseInputs(record: OperatorRecord, use: OperatorUse, names: readonly string[]): Reason | undefined {
  const named = (index: number): string => (names[index] ? `input ${index} (${names[index]})` : `input ${index}`);
  for (const [index, type] of use.inputs.entries()) {
    if (names[index] === "") continue;
    if (record.parameters?.includes(index)) {
      if (use.constants[index] === undefined) return reason("not-constant", named(index), "computed at run time", "a constant");
      continue;
    }
    const scalar = record.lowering?.kind === "pointwise" && use.constants[index] && elementCount(use.constants[index].shape) === 1;
    const allowed = record.inputTypes?.[index] ?? record.types ?? deviceTypes;
    const fault = scalar && use.inputs.length > 1 && index > 0 ? undefined : refuseType(named(index), type, allowed);
    if (fault) return fault;
  }
  return undefined;
}

function refuseUse(record: OperatorRecord, use: OperatorUse, names: readonly string[]): Reason | undefined {
  return refuseInputs(record, use, names) ?? record.refuse?.(use);
}

function refuseOutputs(graph: Graph, node: Node, allowed: readonly DType[]): Reason | undefined {
  const faults = node.outputs.map((output) =>
    output === "" ? undefined : refuseType(`output ${output}`, graph.types.get(output), allowed),
  );
  return faults.find((fault) => fault !== undefined);
}

/** Why a node can't run on a NeuronCore; undefined if it can, as it stands or decomposed. Types have to be inferred. */
export function checkNode(graph: Graph, node: Node): Reason | undefined {
  const record = recordOf(node.op, node.domain);
  if (record === undefined) return reason("unknown-operator", "operator", node.domain === "" ? node.op : `${node.domain}.${node.op}`, "");
  if (record.lowering === undefined) {
    return (record.isConstant ? refuseInputs(record, useOf(graph, node), node.inputs) : undefined) ?? refuseComposite(graph, node);
  }
  const fault = refuseUse(record, useOf(graph, node), node.inputs) ?? refuseOutputs(graph, node, [...deviceTypes, ...(record.types ?? [])]);
  if (fault) return fault;
  for (const step of node.epilogue ?? []) {
    const stepRecord = recordOf(step.op, "");
    if (stepRecord?.lowering?.kind !== "pointwise") return reason("epilogue", "fused operator", step.op, "a pointwise operator");
    const names = step.operands.map((operand) => (operand === null ? node.outputs[0] : node.inputs[operand]));
    const stepFault = refuseUse(stepRecord, epilogueUse(graph, node, step), names);
    if (stepFault) return stepFault;
  }
  return undefined;
}

/** What a rule makes of a node: its nodes, a reason why there are none, or undefined where the node stays as it is. */
function expand(graph: Graph, node: Node): Decomposition | Reason | undefined {
  const record = recordOf(node.op, node.domain);
  const rule = record && ruleOf(record.name);
  if (record === undefined || rule === undefined || node.epilogue?.length) return undefined;
  const use = useOf(graph, node);
  const fault = isAlwaysDecomposed(record.name)
    ? refuseOpen(graph, record, node, use)
    : (refuseInputs(record, use, node.inputs) ?? refuseOutputs(graph, node, dtypes));
  if (fault) return fault;
  const builder = new Builder(graph, node);
  const result = rule(builder, node.inputs, use);
  if (result === undefined || isReason(result)) return result;
  return builder.finish(typeof result === "string" ? [result] : result);
}

/** The least that a rule needs: static shapes and constant parameters. */
function refuseOpen(graph: Graph, record: OperatorRecord, node: Node, use: OperatorUse): Reason | undefined {
  const open = [...node.inputs, ...node.outputs].find((name) => name !== "" && !isStatic(graph.types.get(name)));
  if (open !== undefined) return reason("dynamic-shape", open, `[${graph.types.get(open)?.shape?.join(", ") ?? "..."}]`, "a static shape");
  const computed = record.parameters?.find((index) => use.inputs[index] && !use.constants[index]);
  return computed === undefined ? undefined : reason("not-constant", node.inputs[computed], "computed at run time", "a constant");
}

function isReason(result: Decomposition | string | readonly string[] | Reason): result is Reason {
  return typeof result === "object" && "rule" in result;
}

/** Why a node without a lowering of its own can't run on a NeuronCore decomposed. */
function refuseComposite(graph: Graph, node: Node): Reason | undefined {
  const result = expand(graph, node);
  if (result === undefined) return reason("no-lowering", "operator", node.op, "");
  return isReason(result) ? result : refuseParts(graph, result);
}

/** A decomposition as a graph, and those of its nodes that don't follow from constants: the others are folded. */
function remaining(graph: Graph, { nodes, constants, types }: Decomposition): { inner: Graph; running: Node[] } {
  const known = new Map([...graph.constants, ...constants]);
  const inner: Graph = { ...graph, nodes, constants: known, types: new Map([...graph.types, ...types]) };
  const folded = new Set<string>();
  const running = nodes.filter((part) => {
    const follows = part.inputs.every((input) => input === "" || known.has(input) || folded.has(input));
    if (follows) for (const output of part.outputs) folded.add(output);
    return !follows;
  });
  return { inner, running };
}

/** Why one of the parts can't run on a NeuronCore. */
function refuseParts(graph: Graph, decomposition: Decomposition): Reason | undefined {
  const { inner, running } = remaining(graph, decomposition);
  for (const part of running) {
    const result = expand(inner, part);
    const fault = result === undefined ? checkNode(inner, part) : isReason(result) ? result : refuseParts(inner, result);
    if (fault) return fault;
  }
  return undefined;
}

/**
 * The nodes that a node is decomposed into; undefined where it stays: it has a lowering or no rule, or the rule or one of the parts that
 * it gives does not fit, so that the host runs it as it is. Types have to be inferred.
 */
export function decompose(graph: Graph, node: Node): Decomposition | undefined {
  const result = expand(graph, node);
  if (result === undefined || isReason(result)) return undefined;
  return isAlwaysDecomposed(node.op) || refuseParts(graph, result) === undefined ? result : undefined;
}

/** Rules whose sentence is not "subject is value". */
const sentences: Readonly<Record<string, (reason: Reason) => string>> = {
  "no-lowering": ({ value }) => `no NeuronCore instructions are known for ${value}`,
  "unknown-operator": ({ value }) => `${value} is no operator that the compiler knows`,
  dtype: ({ subject, value }) => `${subject} has element type ${value}`,
  "dynamic-shape": ({ subject, value }) => `${subject} has the open shape ${value}`,
  empty: ({ subject, value }) => `${subject} has the shape ${value}, which holds nothing`,
};

/** One sentence for people. */
export function describeReason(reason: Reason): string {
  const fault = sentences[reason.rule]?.(reason) ?? `${reason.subject} is ${reason.value}`;
  return reason.nearest === "" ? fault : `${fault}; supported: ${reason.nearest}`;
}

/** FLOP of what a node is decomposed into, of what does not follow from constants. */
function decomposedFlops(graph: Graph, node: Node): number {
  const result = expand(graph, node);
  if (result === undefined || isReason(result)) return 0;
  const { inner, running } = remaining(graph, result);
  return running.reduce((sum, part) => sum + flopsOf(inner, part), 0);
}

/** Floating-point operations of a node with its epilogue, a multiply-add as two; 0 where shapes are open or the operator unknown. */
export function flopsOf(graph: Graph, node: Node): number {
  const values = [...node.inputs, ...node.outputs].filter((name) => name !== "");
  const record = recordOf(node.op, node.domain);
  if (record === undefined || !values.every((name) => isStatic(graph.types.get(name)))) return 0;
  const own = record.flops?.(useOf(graph, node)) ?? decomposedFlops(graph, node);
  const steps = (node.epilogue ?? []).map((step) => recordOf(step.op, "")?.flops?.(epilogueUse(graph, node, step)) ?? 0);
  return steps.reduce((sum, flops) => sum + flops, own);
}

/** The loosest class among a node and its epilogue; that of FP32 arithmetic for what has no record, which the host computes. */
export function exactnessOf(node: Node): Exactness {
  const records = [recordOf(node.op, node.domain), ...(node.epilogue ?? []).map((step) => recordOf(step.op, ""))];
  return loosest(records.map((record) => record?.exactness ?? "fp32"));
}
