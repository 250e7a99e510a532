/** What a random graph has to give: ONNX Runtime's values, and how far rounding of the values inside may move them. */
import type { Graph, Node } from "../../src/graph/graph.js";
import { type DType, elementCount, fromNumbers, numberAt, type Tensor } from "../../src/graph/tensor.js";
import { createHostSession } from "../../src/host/index.js";
import { inferTypes } from "../../src/operators/index.js";
import { parsePrecision, relayoutOf } from "../../src/passes/index.js";
import type { RandomCase } from "./case.js";
import { Draw } from "./draw.js";

/** Runs with every value inside moved by random amounts of the size of its rounding. */
const SAMPLES = 4;

/** Largest relative error of a rounding that a value of the type may meet, twice over. */
const sizes = { bfloat16: 2 ** -8, float16: 2 ** -10, float32: 2 ** -20 };

/** Operators whose operands are rounded in every mode. */
const recurrent = ["RNN", "GRU", "LSTM"];
const contractions = new Set(["Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "Attention", ...recurrent]);

export interface Expected {
  readonly value: Tensor;
  /** Greatest change of any element in any of the disturbed runs. */
  readonly spread: number;
}

export async function expectedOutputs(test: RandomCase): Promise<Map<string, Expected>> {
  const { graph, factors } = withFactors(test);
  const session = await createHostSession(graph, { optimise: false });
  try {
    const draw = new Draw(test.seed, "sensitivity");
    const run = (disturb: boolean) => {
      const inputs = new Map(test.inputs);
      for (const { name, dtype, shape, rest, size } of factors) {
        const moved = () => rest + draw.pick([-1, 1]) * draw.real(size / 2, size);
        const values = Float64Array.from({ length: elementCount(shape) }, () => (disturb ? moved() : rest));
        inputs.set(name, fromNumbers(dtype, shape, values));
      }
      return session.run(inputs);
    };
    const values = await run(false);
    const spreads = new Map(test.graph.outputs.map((name) => [name, 0]));
    for (let sample = 0; factors.length > 0 && sample < SAMPLES; sample++) {
      const moved = await run(true);
      for (const [name, spread] of spreads) spreads.set(name, Math.max(spread, greatestChange(values.get(name)!, moved.get(name)!)));
    }
    return new Map([...values].map(([name, value]) => [name, { value, spread: spreads.get(name) ?? 0 }]));
  } finally {
    await session.dispose();
  }
}

/** Infinite where a number becomes none, at the border of a function's domain. */
function greatestChange(a: Tensor, b: Tensor): number {
  let greatest = 0;
  for (let index = 0; index < elementCount(a.shape); index++) {
    const [before, after] = [numberAt(a, index), numberAt(b, index)];
    const change = Math.abs(before - after);
    if (before === after || (Number.isNaN(before) && Number.isNaN(after))) continue;
    greatest = Math.max(greatest, Number.isNaN(change) ? Number.POSITIVE_INFINITY : change);
  }
  return greatest;
}

interface Factor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** What changes nothing. */
  readonly rest: number;
  readonly size: number;
}

/**
 * The graph with each value that may be rounded times an input of its own, with the batch's extent bound. To states of recurrent networks it is
 * added: what is rounded are the gates inside, of which small states are differences.
 */
function withFactors({ graph, inputs, rounded, options }: RandomCase): { graph: Graph; factors: readonly Factor[] } {
  const bound = new Map(graph.types);
  for (const [name, { dtype, shape }] of inputs) bound.set(name, { dtype, shape });
  const typed = inferTypes({ ...graph, types: bound });
  const precision = parsePrecision(options.fastMath, options.fp32Cast);
  const states = new Set(graph.nodes.flatMap((node) => (recurrent.includes(node.op) ? node.outputs : [])));
  const operands = new Set(graph.nodes.flatMap((node) => (contractions.has(node.op) ? node.inputs : [])));
  const types = new Map(typed.types);
  const factors: Factor[] = [];
  const renamed = new Map<string, string>();
  const disturb = (value: string): Node[] => {
    const type = types.get(value);
    const shape = type?.shape?.flatMap((extent) => (typeof extent === "number" ? [extent] : []));
    if (!rounded.has(value) || type === undefined || shape === undefined || shape.length !== type.shape?.length) return [];
    const places: (keyof typeof sizes)[] = type.dtype === "float16" || type.dtype === "bfloat16" ? [type.dtype] : [precision.tensors];
    if (operands.has(value)) places.push(precision.matmult);
    if (relayoutOf(precision).fast) places.push(precision.transposeType);
    const isState = states.has(value);
    if (isState) places.push(precision.tensors, precision.matmult);
    const size = Math.max(...places.map((place) => sizes[place]));
    const factor = { name: `${value}/factor`, dtype: type.dtype, shape, rest: isState ? 0 : 1, size };
    factors.push(factor);
    types.set(factor.name, { dtype: type.dtype, shape });
    renamed.set(value, `${value}/disturbed`);
    types.set(`${value}/disturbed`, type);
    const name = `${value}/disturb`;
    const op = isState ? "Add" : "Mul";
    return [{ name, op, domain: "", inputs: [value, factor.name], outputs: [`${value}/disturbed`], attributes: {}, origins: [] }];
  };
  const nodes: Node[] = [...graph.inputs, ...graph.constants.keys()].flatMap(disturb);
  for (const node of graph.nodes) {
    nodes.push({ ...node, inputs: node.inputs.map((input) => renamed.get(input) ?? input) });
    nodes.push(...node.outputs.flatMap(disturb));
  }
  // Outputs keep their names: the value itself goes by another.
  const swapped = new Map<string, string>();
  for (const output of graph.outputs) {
    const other = renamed.get(output);
    if (other !== undefined) swapped.set(output, `${output}/plain`).set(other, output);
  }
  const swap = (name: string) => swapped.get(name) ?? name;
  for (const [from, to] of swapped) {
    const type = typed.types.get(from) ?? typed.types.get(to);
    if (type) types.set(to, type);
  }
  const named = nodes.map((node) => ({ ...node, inputs: node.inputs.map(swap), outputs: node.outputs.map(swap) }));
  return { graph: { ...typed, inputs: [...graph.inputs, ...factors.map(({ name }) => name)], nodes: named, types }, factors };
}
