import { describe, expect, it } from "vitest";
import type { Attribute } from "../../src/graph/graph.js";
import { int64Tensor } from "../../src/graph/tensor.js";
import { attribute, compare, constant, integers, noCounts, Random } from "./support.js";

const { float, int } = attribute;
const reductions = "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split(" ");

describe("reductions, against ONNX Runtime", () => {
  it.each(reductions)("Reduce%s", async (name) => {
    const random = new Random(name.length * 7 + name.charCodeAt(0));
    const counts = noCounts();
    for (let round = 0; round < 16; round++) {
      const rank = random.int(1, 4);
      const x = random.tensor(random.shape(rank), "float32", name === "LogSum" ? 0.1 : -3, 3);
      const axes = random
        .shuffled(rank)
        .slice(0, random.int(1, rank))
        .map((axis) => (random.chance(0.5) ? axis : axis - rank));
      const attributes: Record<string, Attribute> = { keepdims: int(random.int(0, 1)) };
      await compare({ op: `Reduce${name}`, inputs: random.chance(0.2) ? [x] : [x, integers(axes)], attributes }, counts);
    }
    expect(counts.rejected).toBe(0);
    expect(counts.lowered + counts.decomposed).toBe(16);
  });

  it("noop_with_empty_axes, integers, ArgMax", async () => {
    const random = new Random(4);
    const counts = noCounts();
    await compare({ op: "ReduceSum", inputs: [random.tensor([2, 3])], attributes: { noop_with_empty_axes: int(1) } }, counts);
    await compare({ op: "ReduceMax", inputs: [random.tensor([2, 3], "int32"), integers([1])] }, counts);
    for (const axis of [0, -1]) {
      for (const keepdims of [0, 1]) {
        const attributes = { axis: int(axis), keepdims: int(keepdims) };
        await compare({ op: "ArgMax", inputs: [random.tensor([2, 3, 4])], attributes }, counts);
      }
    }
    expect(counts).toEqual({ accepted: 6, rejected: 0, lowered: 1, decomposed: 5 });
  });
});

describe("normalisations, against ONNX Runtime", () => {
  it("BatchNormalization becomes a product and a sum", async () => {
    const random = new Random(5);
    const counts = noCounts();
    for (const axes of [0, 1, 2, 3]) {
      const parameters = [0, 1, 2].map(() => constant(random.tensor([3])));
      const variance = constant(random.tensor([3], "float32", 0.1, 2));
      const attributes = { epsilon: float(0.01) };
      await compare(
        { op: "BatchNormalization", inputs: [random.tensor([2, 3, ...random.shape(axes)]), ...parameters, variance], attributes },
        counts,
      );
    }
    expect(counts.decomposed).toBe(4);
  });

  it("LRN", async () => {
    const random = new Random(6);
    const counts = noCounts();
    for (const size of [1, 3, 5]) {
      const attributes = { size: int(size), alpha: float(0.3), beta: float(0.6), bias: float(1.5) };
      await compare({ op: "LRN", inputs: [random.tensor([2, 6, 3, 2])], attributes }, counts);
    }
    expect(counts.decomposed).toBe(3);
  });

  it("InstanceNormalization and LayerNormalization", async () => {
    const random = new Random(7);
    const counts = noCounts();
    await compare({ op: "InstanceNormalization", inputs: [random.tensor([2, 3, 4, 5]), random.tensor([3]), random.tensor([3])] }, counts);
    await compare({ op: "LayerNormalization", inputs: [random.tensor([2, 3, 4]), random.tensor([4]), random.tensor([4])] }, counts);
    await compare(
      { op: "LayerNormalization", inputs: [random.tensor([2, 3, 4]), random.tensor([3, 4])], attributes: { axis: int(1) } },
      counts,
    );
    expect(counts.decomposed).toBe(3);
  });

  it("Trilu: a choice by a constant mask, of 64-bit types too", async () => {
    const random = new Random(9);
    const counts = noCounts();
    for (const upper of [0, 1]) {
      const attributes = { upper: int(upper) };
      await compare({ op: "Trilu", inputs: [random.tensor([2, 3, 4])], attributes }, counts);
      for (const k of [-7, -1, 2]) {
        const diagonal = constant(int64Tensor([], [k]));
        await compare({ op: "Trilu", inputs: [random.tensor([4, 3]), diagonal], attributes }, counts);
      }
    }
    await compare({ op: "Trilu", inputs: [random.tensor([3, 3], "int64")] }, counts);
    expect(counts).toMatchObject({ accepted: 9, decomposed: 9 });
  });

  it("Softmax and LogSoftmax: types", async () => {
    const random = new Random(8);
    const counts = noCounts();
    for (const op of ["Softmax", "LogSoftmax"]) {
      for (const axis of [-1, 0, 1]) await compare({ op, inputs: [random.tensor([2, 3, 4])], attributes: { axis: int(axis) } }, counts);
    }
    expect(counts.accepted).toBe(6);
  });
});
