/** FLOP of operators that are kept as they are, against those of what they are decomposed into. */
import { describe, expect, it } from "vitest";
import type { Graph, Node } from "../../src/graph/graph.js";
import { floatTensor } from "../../src/graph/tensor.js";
import { decompose, flopsOf } from "../../src/operators/index.js";
import { inferTypes } from "../../src/operators/infer.js";
import { attribute, build, type Case, constant, integers, Random } from "./support.js";

const { int, string } = attribute;
const random = new Random(5);
const tensor = (...shape: number[]) => random.tensor(shape);

/** The sum over all parts, decomposed as far as they can be; those that follow from constants are folded. */
function decomposed(graph: Graph, node: Node): number {
  const parts = decompose(graph, node);
  if (parts === undefined) return flopsOf(graph, node);
  const known = new Map([...graph.constants, ...parts.constants]);
  const inner = { ...graph, nodes: parts.nodes, constants: known, types: new Map([...graph.types, ...parts.types]) };
  const folded = new Set<string>(known.keys());
  let sum = 0;
  for (const part of parts.nodes) {
    if (part.inputs.every((input) => input === "" || folded.has(input))) for (const output of part.outputs) folded.add(output);
    else sum += decomposed(inner, part);
  }
  return sum;
}

function recurrent(op: string, gates: number, direction: string, peepholes: boolean): Case {
  const [steps, batch, features, hidden, count] = [6, 2, 24, 32, direction === "bidirectional" ? 2 : 1];
  const weights = [tensor(count, gates * hidden, features), tensor(count, gates * hidden, hidden), tensor(count, 2 * gates * hidden)];
  // States are given: products with zeros that are known would be folded.
  const states = [null, ...(op === "LSTM" ? [0, 1] : [0]).map(() => tensor(count, batch, hidden))];
  const rest = [...states, ...(peepholes ? [tensor(count, 3 * hidden)] : [])];
  return {
    op,
    inputs: [tensor(steps, batch, features), ...weights.map(constant), ...rest],
    attributes: { direction: string(direction), hidden_size: int(hidden) },
  };
}

const cases: Record<string, Case> = {
  "an RNN": recurrent("RNN", 1, "forward", false),
  "a GRU": recurrent("GRU", 3, "reverse", false),
  "an LSTM": recurrent("LSTM", 4, "bidirectional", false),
  "an LSTM with peepholes": recurrent("LSTM", 4, "forward", true),
  attention: { op: "Attention", inputs: [tensor(2, 4, 24, 16), tensor(2, 2, 40, 16), tensor(2, 2, 40, 8)] },
  "attention with a mask": {
    op: "Attention",
    inputs: [tensor(2, 24, 64), tensor(2, 40, 64), tensor(2, 40, 64), tensor(24, 40)],
    attributes: { q_num_heads: int(4), kv_num_heads: int(4) },
  },
  "a product of matrices": {
    op: "Einsum",
    inputs: [tensor(3, 20, 16), tensor(3, 16, 30)],
    attributes: { equation: string("bij,bjk->bik") },
  },
  "three operands and a sum": {
    op: "Einsum",
    inputs: [tensor(8, 9, 5), tensor(9, 7), tensor(7, 6)],
    attributes: { equation: string("ijs,jk,kl->il") },
  },
  quantization: { op: "QuantizeLinear", inputs: [tensor(4, 50), constant(floatTensor([], [0.1]))] },
  "rotary embedding": { op: "RotaryEmbedding", inputs: [tensor(2, 4, 6, 8), tensor(2, 6, 4), tensor(2, 6, 4)] },
};

describe("the FLOP of a kept operator", () => {
  it.each(Object.keys(cases))("are within 5 %% of those of its parts: %s", (name) => {
    const { graph, node } = build(cases[name]);
    const inferred = inferTypes(graph);
    const own = flopsOf(inferred, node);
    expect(own).toBeGreaterThan(0);
    expect(decompose(inferred, node)).toBeDefined();
    expect(own / decomposed(inferred, node)).toBeGreaterThan(0.95);
    expect(own / decomposed(inferred, node)).toBeLessThan(1.05);
  });

  it("count where the operator can't be decomposed", () => {
    const kept = (test: Case) => {
      const { graph, node } = build(test);
      const inferred = inferTypes(graph);
      expect(decompose(inferred, node)).toBeUndefined();
      return flopsOf(inferred, node);
    };
    const long = recurrent("LSTM", 4, "forward", false);
    expect(kept({ ...long, attributes: { ...long.attributes, activations: { type: "strings", value: ["none", "Tanh", "Tanh"] } } })).toBe(
      6 * 2 * 32 * (4 * (2 * (24 + 32) + 3) + 5),
    );
    expect(kept({ op: "Det", inputs: [tensor(5, 6, 6)] })).toBe((5 * 2 * 6 ** 3) / 3);
    expect(kept({ op: "GridSample", inputs: [tensor(2, 3, 8, 8), tensor(2, 4, 5, 2)] })).toBe(2 * 4 * 2 * 3 * 4 * 5);
    expect(kept({ op: "RoiAlign", inputs: [tensor(1, 3, 8, 8), tensor(7, 4), integers([0, 0, 0, 0, 0, 0, 0])] })).toBe(7 * 3 * 9);
  });

  it("are none where a host looks up what the engines compare", () => {
    const { graph, node } = build({ op: "GatherND", inputs: [tensor(30, 8), random.tensor([5, 1], "int32", 0, 29)] });
    expect(flopsOf(inferTypes(graph), node)).toBe(0);
  });
});
