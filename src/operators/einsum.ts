/** Einsum: its equation, the shape that follows, and its form as products of matrices. */
import { type Dim, stringAttribute } from "../graph/graph.js";
import { elementCount } from "../graph/tensor.js";
import { type Builder, type Rule, range } from "./builder.js";
import type { OperatorUse } from "./record.js";
import { attributeFault, inputFault, mergeDims, reason, type Shape, shapeOf } from "./shapes.js";

interface Equation {
  /** The labels of each operand's axes. */
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** Labels of the axes that `...` stands for, from the right. */
const ellipsis = (count: number): string[] => range(0, count).map((index) => `.${count - index}`);

/** The equation for operands of known ranks; undefined where one is unknown. */
function equationOf(use: OperatorUse): Equation | undefined {
  const text = stringAttribute(use.attributes, "equation", "").replaceAll(" ", "");
  const fault = (expected: string): Error => attributeFault(use, "equation", text, expected);
  const [left, right, more] = text.split("->");
  const terms = left.split(",");
  if (more !== undefined || terms.length !== use.inputs.length) throw fault(`name ${use.inputs.length} operands, and one result`);
  const ranks = use.inputs.map((_, index) => shapeOf(use, index)?.length);
  let widest = 0;
  const counts = terms.map((term, index) => {
    if (!/^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(term)) throw fault("use letters and at most one ellipsis for an operand");
    const count = term.includes("...") ? (ranks[index] ?? 0) - (term.length - 3) : 0;
    widest = Math.max(widest, count);
    if (ranks[index] !== undefined && (count < 0 || (!term.includes("...") && term.length !== ranks[index]))) {
      throw inputFault(use, index, `of ${term.replace("...", "").length} dimensions, as ${term}`);
    }
    return count;
  });
  if (ranks.includes(undefined)) return undefined;
  const labels = (term: string, count: number): string[] => {
    const [before, after = ""] = term.split("...");
    return [...before, ...(term.includes("...") ? ellipsis(count) : []), ...after];
  };
  const inputs = terms.map((term, index) => labels(term, counts[index]));
  const all = inputs.flat();
  const once = [...new Set(all)].filter((label) => !label.startsWith(".") && all.filter((other) => other === label).length === 1).sort();
  const output = right === undefined ? [...ellipsis(widest), ...once] : labels(right, widest);
  if (output.some((label) => !all.includes(label))) throw fault("name only axes of operands in the result");
  return { inputs, output };
}

/** The extent of each label. */
function extents(use: OperatorUse, { inputs }: Equation): Map<string, Dim> {
  const result = new Map<string, Dim>();
  for (const [index, labels] of inputs.entries()) {
    for (const [axis, label] of labels.entries()) {
      const own = shapeOf(use, index)?.[axis] ?? 1;
      const known = result.get(label) ?? own;
      const merged = known === 1 ? own : own === 1 ? known : mergeDims(known, own);
      if (merged === undefined) throw inputFault(use, index, `of extent ${known} on axis ${axis} (${label})`);
      result.set(label, merged);
    }
  }
  return result;
}

export function einsumShape(use: OperatorUse): Shape | undefined {
  const equation = equationOf(use);
  if (equation === undefined) return undefined;
  const sizes = extents(use, equation);
  return equation.output.map((label) => sizes.get(label) ?? 1);
}

/** Of the products of operand after operand, each after sums over what no other needs, as `einsum` below takes them. */
export function einsumFlops(use: OperatorUse): number {
  const equation = equationOf(use);
  if (equation === undefined) return 0;
  const sizes = extents(use, equation);
  const count = (labels: Iterable<string>): number => elementCount([...new Set(labels)].map((label) => Number(sizes.get(label))));
  let flops = 0;
  const keep = (labels: readonly string[], needed: ReadonlySet<string>): string[] => {
    const kept = labels.filter((label) => needed.has(label));
    if (kept.length < labels.length) flops += count(labels);
    return kept;
  };
  let left = equation.inputs[0];
  for (const [index, right] of equation.inputs.entries()) {
    if (index === 0) continue;
    const later = new Set([...equation.output, ...equation.inputs.slice(index + 1).flat()]);
    const all = keep(left, new Set([...later, ...right])).concat(keep(right, new Set([...later, ...left])));
    flops += 2 * count(all);
    left = [...new Set(all)].filter((label) => later.has(label));
  }
  keep(left, new Set(equation.output));
  return flops;
}

/** A value whose axes have labels. */
interface Labelled {
  readonly value: string;
  readonly labels: readonly string[];
}

/** Sums over the labels that nothing after needs. */
function summed(builder: Builder, { value, labels }: Labelled, needed: ReadonlySet<string>): Labelled {
  const axes = range(0, labels.length).filter((axis) => !needed.has(labels[axis]));
  if (axes.length === 0) return { value, labels };
  const kept = labels.filter((label) => needed.has(label));
  const sum = builder.reduce("ReduceSum", value, axes);
  return {
    value: builder.reshape(
      sum,
      builder.shape(sum).filter((_, axis) => !axes.includes(axis)),
    ),
    labels: kept,
  };
}

function ordered(builder: Builder, { value, labels }: Labelled, order: readonly string[]): string {
  return builder.transpose(
    value,
    order.map((label) => labels.indexOf(label)),
  );
}

/** The product of two, contracted over what they share and nothing after needs. */
function product(
  builder: Builder,
  left: Labelled,
  right: Labelled,
  needed: ReadonlySet<string>,
  size: (label: string) => number,
): Labelled {
  const shared = left.labels.filter((label) => right.labels.includes(label));
  const batch = shared.filter((label) => needed.has(label));
  const inner = shared.filter((label) => !needed.has(label));
  const [rows, columns] = [left, right].map(({ labels }) => labels.filter((label) => !shared.includes(label)));
  const count = (labels: readonly string[]): number => elementCount(labels.map(size));
  const matrix = (operand: Labelled, order: readonly (readonly string[])[]): string => {
    const turned = ordered(builder, operand, order.flat());
    const full = builder.expand(turned, order.flat().map(size));
    return builder.reshape(full, [...batch.map(size), ...order.slice(1).map(count)]);
  };
  const result = builder.op("MatMul", [matrix(left, [batch, rows, inner]), matrix(right, [batch, inner, columns])]);
  const labels = [...batch, ...rows, ...columns];
  return { value: builder.reshape(result, labels.map(size)), labels };
}

export const einsum: Rule = (builder, inputs, use) => {
  const equation = equationOf(use);
  if (equation === undefined) return undefined;
  const sizes = extents(use, equation);
  const size = (label: string): number => Number(sizes.get(label));
  const repeated = equation.inputs.find((labels) => new Set(labels).size < labels.length);
  if (repeated) return reason("attribute", "equation", `a diagonal (${repeated.join("")})`, "each axis once in an operand");
  const operands = equation.inputs.map((labels, index): Labelled => ({ value: inputs[index], labels }));
  const result = operands.reduce((left, right, index) => {
    const later = new Set([...equation.output, ...equation.inputs.slice(index + 1).flat()]);
    const [a, b] = [
      [left, right],
      [right, left],
    ].map(([own, other]) => summed(builder, own, new Set([...later, ...other.labels])));
    return product(builder, a, b, later, size);
  });
  return ordered(builder, summed(builder, result, new Set(equation.output)), equation.output);
};
