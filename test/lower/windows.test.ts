import { describe, expect, it } from "vitest";
import { type Graph, staticType } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { toNumbers } from "../../src/graph/tensor.js";
import { planChip } from "../../src/lower/batching.js";
import { defaultBudget, lower } from "../../src/lower/index.js";
import { batchedInputs } from "../../src/lower/items.js";
import { splitBatch } from "../../src/lower/windows.js";
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
  const x = g.input("x", [batch, 3, 48, 48]);
  const [a] = g.node("Relu", [convolution(x, 3, 8, 3)]);
  const b = convolution(a, 8, 8, 3);
  const [c] = g.node("Add", [a, b]);
  const [d] = g.node("MaxPool", [c], { kernel_shape: [2, 2], strides: [2, 2] });
  const [e] = g.node("Concat", [d, convolution(d, 8, 4, 1)], { axis: 1 });
  const f = convolution(e, 12, 6, 3, 2);
  const [h] = g.node("AveragePool", [f], { kernel_shape: [12, 12] });
  const [i] = g.node("Sigmoid", [h]);
  return applyPrecision(inferTypes(g.finish([d, i])), parsePrecision(["all"], undefined), recordOf);
}

/** Two layers of attention over 64 positions, with heads that reshapes and transposes tell apart. */
function transformer(batch: number): Graph {
  const random = seeded(5);
  const g = new GraphBuilder();
  const [positions, width, heads] = [64, 64, 4];
  const dense = (x: string) => g.node("MatMul", [x, g.constant(randomTensor([width, width], random))])[0];
  const split = g.constant({ dtype: "int64", shape: [4], data: BigInt64Array.of(0n, BigInt(positions), BigInt(heads), -1n) });
  const merge = g.constant({ dtype: "int64", shape: [3], data: BigInt64Array.of(0n, BigInt(positions), BigInt(width)) });
  const headsOf = (x: string, perm: number[]) => g.node("Transpose", g.node("Reshape", [x, split]), { perm })[0];
  let x = g.input("x", [batch, positions, width]);
  for (let layer = 0; layer < 2; layer++) {
    const [query, key, value] = [dense(x), dense(x), dense(x)];
    const [scores] = g.node("MatMul", [headsOf(query, [0, 2, 1, 3]), headsOf(key, [0, 2, 3, 1])]);
    const [shares] = g.node("Softmax", [scores], { axis: -1 });
    const [context] = g.node("MatMul", [shares, headsOf(value, [0, 2, 1, 3])]);
    const [merged] = g.node("Reshape", [g.node("Transpose", [context], { perm: [0, 2, 1, 3] })[0], merge]);
    [x] = g.node("Add", [dense(merged), x]);
  }
  return applyPrecision(inferTypes(g.finish([x])), parsePrecision(["all"], undefined), recordOf);
}

const random = seeded(9);

/** A network at batch 3 with its input, and what each item gives alone. */
function items(build: (batch: number) => Graph) {
  const batch = 3;
  const whole = build(batch);
  const input = new Map([["x", toNumbers(randomTensor(staticType(whole, "x").shape, random))]]);
  const alone = Array.from({ length: batch }, (_, item) => {
    const numbers = input.get("x") ?? [];
    const size = numbers.length / batch;
    return new Execution(lower(build(1))).run(new Map([["x", numbers.slice(item * size, (item + 1) * size)]]));
  });
  return { whole, input, alone };
}

const images = items(network);
const sequences = items(transformer);
const { whole } = images;

describe("batches in windows", () => {
  it.each([
    ...[4_000, 8_000, 12_000, 20_000].map((valueBytes) => ({ name: "images", run: images, valueBytes })),
    ...[500, 1000, 4000].map((valueBytes) => ({ name: "sequences", run: sequences, valueBytes })),
  ])("give the bits of their items: $name, with $valueBytes bytes for values", ({ run, valueBytes }) => {
    const lowered = lower(run.whole, { ...defaultBudget, valueBytes, residentBytes: 200 });
    const outputs = new Execution(lowered).run(run.input);
    for (const name of run.whole.outputs) {
      expect(Array.from(outputs.get(name) ?? [])).toEqual(run.alone.flatMap((item) => Array.from(item.get(name) ?? [])));
    }
    const result = schedule(lowered);
    if (!result.fits) throw new Error("does not fit");
    expect(checkProgram(result.program)).toEqual([]);
  });

  it("repeat where the graph does: each layer's attention by itself", () => {
    const kindsOf = (valueBytes: number) => {
      const { windowed } = planChip(sequences.whole, { ...defaultBudget, valueBytes, residentBytes: 0 });
      return windowed.segments.map(({ first, end, windows }) =>
        windowed.graph.nodes
          .slice(first, first + (end - first) / windows)
          .map(({ op }) => op)
          .join(" "),
      );
    };
    const kinds = kindsOf(4000);
    expect(kinds).toHaveLength(2);
    expect(kinds[0]).toContain("Softmax");
    expect(kinds[1]).toBe(kinds[0]);
    expect(kindsOf(50_000)).toEqual([]);
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
    const tight = planChip(whole, { ...defaultBudget, valueBytes: 8_000, residentBytes: 0 });
    expect(tight.windowed.segments).toMatchObject([{ first: 1, items: 1, windows: 3 }]);
    expect(tight.held[0].size).toBeGreaterThanOrEqual(2);
    const none = planChip(whole, { ...defaultBudget, valueBytes: 0, residentBytes: 0 });
    expect(none.windowed.segments).toEqual([]);
    expect(tight.seconds).toBeLessThan(0.8 * none.seconds);
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
