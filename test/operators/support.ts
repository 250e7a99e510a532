/** Single-node graphs, and all that a record says of one compared with ONNX Runtime. */
import { expect } from "vitest";
import type { Attribute, Graph, Node, TensorType } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { type DType, elementCount, fromNumbers, int64Tensor, isFloat, type Tensor, toNumbers } from "../../src/graph/tensor.js";
import { runGraph } from "../../src/host/index.js";
import { broadcastIndices, evaluate, evaluateExpression } from "../../src/operators/evaluate.js";
import { isWithinFp32 } from "../../src/operators/exactness.js";
import { checkNode, decompose, inferTypes, recordOf, useOf } from "../../src/operators/index.js";
import { applyMovement } from "../../src/operators/pieces.js";
import { convolve, pool } from "./reference.js";

/** Draws from a seed. */
export class Random {
  /** A number in [0, 1). */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = seeded(seed);
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)];
  }

  /** Whether to do what happens with a probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  shape(rank: number, low = 1, high = 5): number[] {
    return Array.from({ length: rank }, () => this.int(low, high));
  }

  shuffled(count: number): number[] {
    const list = Array.from({ length: count }, (_, index) => index);
    for (let index = count - 1; index > 0; index--) {
      const other = this.int(0, index);
      [list[index], list[other]] = [list[other], list[index]];
    }
    return list;
  }

  /** Values of both signs; for integers, small ones. */
  tensor(shape: readonly number[], dtype: DType = "float32", low = -3, high = 3): Tensor {
    const count = elementCount(shape);
    const value = (): number => {
      if (dtype === "bool") return this.int(0, 1);
      if (!isFloat(dtype)) return this.int(dtype.startsWith("u") ? Math.max(0, low) : low, high);
      return low + this.next() * (high - low);
    };
    return fromNumbers(dtype, shape, Array.from({ length: count }, value));
  }
}

export const attribute = {
  int: (value: number): Attribute => ({ type: "int", value }),
  float: (value: number): Attribute => ({ type: "float", value }),
  string: (value: string): Attribute => ({ type: "string", value }),
  ints: (value: readonly number[]): Attribute => ({ type: "ints", value }),
};

export interface Case {
  readonly op: string;
  /** Run-time tensors; `constant` ones are known to the compiler; null: absent. */
  readonly inputs: readonly (Tensor | { readonly constant: Tensor } | null)[];
  readonly attributes?: Readonly<Record<string, Attribute | undefined>>;
  readonly outputs?: number;
}

export const constant = (tensor: Tensor): { readonly constant: Tensor } => ({ constant: tensor });
export const integers = (values: readonly number[]): { readonly constant: Tensor } => constant(int64Tensor([values.length], values));

export interface Built {
  readonly graph: Graph;
  readonly node: Node;
  readonly feeds: ReadonlyMap<string, Tensor>;
  /** All inputs, absent ones as an empty tensor. */
  readonly tensors: readonly Tensor[];
}

export function build(test: Case): Built {
  const types = new Map<string, TensorType>();
  const constants = new Map<string, Tensor>();
  const feeds = new Map<string, Tensor>();
  const tensors: Tensor[] = [];
  const names = test.inputs.map((input, index) => {
    tensors.push(input === null ? fromNumbers("float32", [0], []) : "constant" in input ? input.constant : input);
    if (input === null) return "";
    types.set(`x${index}`, { dtype: tensors[index].dtype, shape: tensors[index].shape });
    ("constant" in input ? constants : feeds).set(`x${index}`, tensors[index]);
    return `x${index}`;
  });
  const outputs = Array.from({ length: test.outputs ?? 1 }, (_, index) => `y${index}`);
  const given = Object.entries(test.attributes ?? {}).filter((entry): entry is [string, Attribute] => entry[1] !== undefined);
  const attributes = Object.fromEntries(given);
  const node: Node = {
    name: "node",
    op: test.op,
    domain: "",
    inputs: names,
    outputs,
    attributes,
    origins: ["node"],
  };
  const graph: Graph = { name: "case", inputs: [...feeds.keys()], outputs, nodes: [node], types, constants };
  return { graph, node, feeds, tensors };
}

/** Equal values; where `fp32`, within the FP32 exactness class. */
export function expectClose(actual: readonly number[], wanted: readonly number[], fp32: boolean, what: string): void {
  expect(actual.length, what).toBe(wanted.length);
  for (const [index, value] of wanted.entries()) {
    const same = Object.is(actual[index], value) || actual[index] === value;
    if (!same && !(fp32 && isWithinFp32(actual[index], value)))
      expect.fail(`${what}: element ${index} is ${actual[index]}, should be ${value}`);
  }
}

export interface Counts {
  accepted: number;
  rejected: number;
  /** Cases whose lowering was computed, and whose decomposition was run. */
  lowered: number;
  decomposed: number;
}

export const noCounts = (): Counts => ({ accepted: 0, rejected: 0, lowered: 0, decomposed: 0 });

/**
 * Compares inference, lowering and decomposition of a case with ONNX Runtime. A case that ONNX Runtime refuses has to be refused here
 * too, or is passed over.
 */
export async function compare(test: Case, counts: Counts): Promise<void> {
  const built = build(test);
  const what = `${test.op} ${JSON.stringify(test.attributes ?? {})} ${built.tensors
    .map((tensor) => `${tensor.dtype}[${tensor.shape}]${tensor.dtype === "int64" ? `=${toNumbers(tensor)}` : ""}`)
    .join(" ")}`;
  let results: Map<string, Tensor>;
  try {
    results = await runGraph(built.graph, built.feeds);
  } catch {
    counts.rejected++;
    return;
  }
  counts.accepted++;
  const wanted = built.node.outputs.map((output) => results.get(output)!);
  // ONNX Runtime gives an empty result for a window larger than the input, which is an error here.
  if (test.op.endsWith("Pool") && wanted[0].shape.includes(0)) return;
  const inferred = inferTypes(built.graph);
  for (const [index, output] of built.node.outputs.entries()) {
    const type = inferred.types.get(output);
    expect(type, what).toEqual({ dtype: wanted[index].dtype, shape: [...wanted[index].shape] });
  }
  if (wanted[0].shape.includes(0)) return;
  const replacement = decompose(inferred, built.node);
  if (replacement) await compareDecomposition({ ...built, graph: inferred }, replacement, wanted, what, counts);
  if (checkNode(inferred, built.node) === undefined) compareLowering({ ...built, graph: inferred }, wanted, what, counts);
}

async function compareDecomposition(
  { graph, feeds, node }: Built,
  replacement: NonNullable<ReturnType<typeof decompose>>,
  wanted: readonly Tensor[],
  what: string,
  counts: Counts,
): Promise<void> {
  const rewritten: Graph = {
    ...graph,
    nodes: replacement.nodes,
    constants: new Map([...graph.constants, ...replacement.constants]),
    types: new Map([...graph.types, ...replacement.types]),
  };
  const results = await runGraph(rewritten, feeds);
  counts.decomposed++;
  for (const [index, output] of node.outputs.entries()) {
    expectClose(toNumbers(results.get(output)!), toNumbers(wanted[index]), isFloat(wanted[index].dtype), `decomposed ${what}: ${output}`);
  }
  const again = inferTypes({ ...rewritten, types: graph.types });
  for (const [name, type] of rewritten.types) expect(again.types.get(name), `${name} of ${what}`).toEqual(type);
}

function compareLowering({ graph, node, tensors }: Built, wanted: readonly Tensor[], what: string, counts: Counts): void {
  const record = recordOf(node.op, "")!;
  const { lowering } = record;
  if (lowering === undefined) return;
  const use = useOf(graph, node);
  const fp32 = record.exactness !== "exact" && isFloat(wanted[0].dtype);
  counts.lowered++;
  const values = (): number[][] => tensors.map((tensor) => (/int|float|bool/.test(tensor.dtype) ? toNumbers(tensor) : []));
  switch (lowering.kind) {
    case "movement": {
      for (const movement of lowering.movements(use)) {
        const output = wanted[movement.output];
        expectClose(applyMovement(movement, values(), elementCount(output.shape), movement.fill ?? 0), toNumbers(output), false, what);
      }
      return;
    }
    case "pointwise": {
      const formula = lowering.formula(use);
      const shape = wanted[0].shape;
      const numbers = values();
      const places = tensors.map((tensor, index) => (node.inputs[index] === "" ? [] : broadcastIndices(tensor.shape, shape)));
      const integer = tensors.every((tensor) => !isFloat(tensor.dtype));
      const actual = Array.from({ length: elementCount(shape) }, (_, element) =>
        evaluateExpression(formula, (index) => numbers[index!][places[index!][element]], integer),
      );
      return expectClose(actual, toNumbers(wanted[0]), fp32, what);
    }
    case "reduce": {
      const known = { ...use, constants: use.constants.map((_, index) => tensors[index]) };
      const value = evaluate(record, known, [{ dtype: wanted[0].dtype, shape: wanted[0].shape }])[0]!;
      return expectClose(toNumbers(value), toNumbers(wanted[0]), fp32, what);
    }
    case "convolution":
      return expectClose(convolve(lowering.transposed, lowering.geometry(use), tensors, wanted[0].shape), toNumbers(wanted[0]), true, what);
    case "pool":
      return expectClose(pool(lowering.op, lowering.geometry(use), tensors[0], wanted[0].shape), toNumbers(wanted[0]), true, what);
    default:
      counts.lowered--;
  }
}
