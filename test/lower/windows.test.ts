import { describe, expect, it } from "vitest";
import { type Graph, staticType } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { toNumbers } from "../../src/graph/tensor.js";
import { planChip } from "../../src/lower/batching.js";
import { defaultBudget, lower } from "../../src/lower/index.js";
import { batchedInputs, splitBatch } from "../../src/lower/windows.js";
import { inferTypes, recordOf } from "../../src/operators/index.js";
import { applyPrecision, parsePrecision } from "../../src/passes/index.js";
import { checkProgram } from "../../src/program/check.js";
import { schedule } from "../../src/schedule/index.js";
import { GraphBuilder, randomTensor } from "./build.js";
import { Execution } from "./execute.js";

/** Convolutions, a skip over several of them, branches, pools, a value that is an output and used on, and a classifier. */
function network(batch: number): Graph {
  const random = seeded(3);
  const g = new GraphBuilder();
  const convolution = (x: string, from: number, to: number, kernel: number, strides = 1) => {
    const pad = (kernel - 1) / 2;
    const weights = g.constant(randomTensor([to, from, kernel, kernel], random));
    return g.node("Conv", [x, weights], { pads: [pad, pad, pad, pad], strides: [strides, strides] })[0];
  };
  const x = g.input("x", [batch, 3, 16, 16]);
  const [a] = g.node("Relu", [convolution(x, 3, 8, 3)]);
  const b = convolution(a, 8, 8, 3);
  const [c] = g.node("Add", [a, b]);
  const [d] = g.node("MaxPool", [c], { kernel_shape: [2, 2], strides: [2, 2] });
  const [e] = g.node("Concat", [d, convolution(d, 8, 4, 1)], { axis: 1 });
  const f = convolution(e, 12, 6, 3, 2);
  const [h] = g.node("AveragePool", [f], { kernel_shape: [4, 4] });
  const [i] = g.node("Sigmoid", [h]);
  return applyPrecision(inferTypes(g.finish([d, i])), parsePrecision(["all"], undefined), recordOf);
}

const batch = 3;
const whole = network(batch);
const random = seeded(9);
const image = randomTensor(staticType(whole, "x").shape, random);
const numbers = toNumbers(image);
const itemSize = numbers.length / batch;

/** What each item gives alone. */
const alone = Array.from({ length: batch }, (_, item) => {
  const part = numbers.slice(item * itemSize, (item + 1) * itemSize);
  return new Execution(lower(network(1))).run(new Map([["x", part]]));
});

function expectItems(graph: Graph, outputs: ReadonlyMap<string, ArrayLike<number>>): void {
  for (const name of graph.outputs) {
    const got = Array.from(outputs.get(name) ?? []);
    expect(got).toEqual(alone.flatMap((item) => Array.from(item.get(name) ?? [])));
  }
}

describe("batches in windows", () => {
  it.each([100, 500, 1000, 1800, 2600, 4000, 8000])("give the bits of their items, with %i bytes for values", (valueBytes) => {
    const lowered = lower(whole, { ...defaultBudget, valueBytes, residentBytes: 200 });
    expectItems(whole, new Execution(lowered).run(new Map([["x", numbers]])));
    const result = schedule(lowered);
    if (!result.fits) throw new Error("does not fit");
    expect(checkProgram(result.program)).toEqual([]);
  });

  it("may have another size in each segment, also where both read one value", () => {
    const middle = whole.nodes.findIndex(({ op }) => op === "Concat");
    const { graph, segments } = splitBatch(whole, [
      { first: 0, end: middle, items: 2 },
      { first: middle, end: whole.nodes.length, items: 1 },
    ]);
    expect(segments.map(({ windows }) => windows)).toEqual([2, 3]);
    for (const node of graph.nodes) {
      const batched = [...(batchedInputs(whole, whole.nodes.find(({ name }) => name === node.name) ?? node) ?? [])];
      const items = [...batched.map((index) => node.inputs[index]), ...node.outputs].map((name) => staticType(graph, name).shape[0]);
      expect(new Set(items).size).toBe(1);
    }
  });

  it("are used where whole values do not fit, cross DRAM less and hold the weights", () => {
    const roomy = planChip(whole, { ...defaultBudget, valueBytes: 50_000, residentBytes: 0 });
    expect(roomy.windowed.segments).toEqual([]);
    const tight = planChip(whole, { ...defaultBudget, valueBytes: 1800, residentBytes: 0 });
    expect(tight.windowed.segments).toMatchObject([{ first: 0, items: 1, windows: 3 }]);
    expect(tight.held[0].size).toBeGreaterThanOrEqual(2);
    const none = planChip(whole, { ...defaultBudget, valueBytes: 0, residentBytes: 0 });
    expect(none.windowed.segments).toEqual([]);
    expect(tight.traffic).toBeLessThan(none.traffic / 2);
  });

  it("may be of several items, the last of fewer", () => {
    const { graph, windows } = splitBatch(whole, [{ first: 1, end: 4, items: 2 }]);
    expect(graph.nodes.length).toBe(whole.nodes.length + 3);
    expect([...windows.values()].filter(({ start }) => start === 2).every(({ size }) => size === 1)).toBe(true);
  });

  it("need items that can be told apart", () => {
    const g = new GraphBuilder();
    const x = g.input("x", [2, 3, 4]);
    const [flipped] = g.node("Transpose", [x], { perm: [1, 0, 2] });
    const [relu] = g.node("Relu", [x]);
    const [scaled] = g.node("Add", [x, g.constant(randomTensor([2, 1, 1], random))]);
    const [mean] = g.node("Softmax", [x], { axis: 0 });
    const graph = inferTypes(g.finish([flipped, relu, scaled, mean]));
    expect(graph.nodes.map((node) => batchedInputs(graph, node)?.size)).toEqual([undefined, 1, undefined, undefined]);
  });
});
