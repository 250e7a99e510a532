import { describe, expect, it } from "vitest";
import type { Attribute } from "../../src/graph/graph.js";
import { attribute, type Case, compare, constant, noCounts, Random } from "./support.js";

const { int, ints, string } = attribute;

/** Random window attributes; some of them don't fit the input, which ONNX Runtime and inference then both refuse. */
function windowAttributes(random: Random, axes: number, kernel: readonly number[], dilated = true): Record<string, Attribute> {
  const result: Record<string, Attribute> = {};
  if (random.chance(0.7)) result.strides = ints(random.shape(axes, 1, 3));
  if (dilated && random.chance(0.4)) result.dilations = ints(random.shape(axes, 1, 2));
  const form = random.pick(["pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID", "none"]);
  if (form === "pads") result.pads = ints([...kernel, ...kernel].map((size) => random.int(0, Math.min(2, size - 1))));
  else if (form !== "none") result.auto_pad = string(form);
  return result;
}

describe("convolutions, against ONNX Runtime", () => {
  it("Conv: strides, pads, auto_pad, dilations, groups, 1 to 3 axes", async () => {
    const random = new Random(1);
    const counts = noCounts();
    for (let round = 0; round < 120; round++) {
      const axes = random.pick([1, 2, 2, 2, 3]);
      const groups = random.pick([1, 1, 2, 3]);
      const [inGroup, outGroup] = [random.int(1, 2), random.int(1, 2)];
      const kernel = random.shape(axes, 1, 3);
      const attributes = { ...windowAttributes(random, axes, kernel), group: int(groups) };
      const x = random.tensor([random.int(1, 2), groups * inGroup, ...random.shape(axes, 3, 7)]);
      const w = constant(random.tensor([groups * outGroup, inGroup, ...kernel]));
      const bias = random.chance(0.5) ? [constant(random.tensor([groups * outGroup]))] : [];
      const declared = random.chance(0.5) ? { kernel_shape: ints(kernel) } : {};
      await compare({ op: "Conv", inputs: [x, w, ...bias], attributes: { ...attributes, ...declared } }, counts);
    }
    expect(counts.lowered).toBe(counts.accepted);
    expect(counts.accepted).toBeGreaterThan(90);
  });

  it("ConvTranspose: with output_padding and output_shape too", async () => {
    const random = new Random(2);
    const counts = noCounts();
    for (let round = 0; round < 120; round++) {
      const axes = random.pick([1, 2, 2]);
      const groups = random.pick([1, 1, 2]);
      const [inGroup, outGroup] = [random.int(1, 2), random.int(1, 2)];
      const kernel = random.shape(axes, 1, 4);
      const attributes: Record<string, Attribute> = { ...windowAttributes(random, axes, kernel), group: int(groups) };
      const strides = attributes.strides?.type === "ints" ? attributes.strides.value : new Array<number>(axes).fill(1);
      if (random.chance(0.3)) attributes.output_padding = ints(strides.map((stride) => random.int(0, stride - 1)));
      const extents = random.shape(axes, 2, 5);
      if (random.chance(0.2)) {
        attributes.output_shape = ints(extents.map((size, axis) => size * strides[axis] + random.int(0, 1)));
        delete attributes.pads;
      }
      const x = random.tensor([random.int(1, 2), groups * inGroup, ...extents]);
      const w = constant(random.tensor([groups * inGroup, outGroup, ...kernel]));
      const bias = random.chance(0.5) ? [constant(random.tensor([groups * outGroup]))] : [];
      await compare({ op: "ConvTranspose", inputs: [x, w, ...bias], attributes }, counts);
    }
    expect(counts.lowered).toBe(counts.accepted);
    expect(counts.accepted).toBeGreaterThan(80);
  });

  it("Gemm and MatMul, shapes and decompositions", async () => {
    const random = new Random(3);
    const counts = noCounts();
    for (let round = 0; round < 30; round++) {
      const [m, k, n] = random.shape(3);
      const [transA, transB] = [random.int(0, 1), random.int(0, 1)];
      const bias = random.pick([[], [[n]], [[1, n]], [[m, 1]], [[]], [[m, n]]]).map((shape) => random.tensor(shape));
      const attributes: Record<string, Attribute> = { transA: int(transA), transB: int(transB) };
      if (random.chance(0.5)) attributes.alpha = attribute.float(random.next());
      if (random.chance(0.5)) attributes.beta = attribute.float(random.pick([0, 0.5]));
      const inputs: Case["inputs"] = [random.tensor(transA ? [k, m] : [m, k]), constant(random.tensor(transB ? [n, k] : [k, n])), ...bias];
      await compare({ op: "Gemm", inputs, attributes }, counts);
      const batch = random.shape(random.int(0, 2));
      const left = random.chance(0.2) ? [k] : [...batch, m, k];
      const right = random.chance(0.2) ? [k] : random.chance(0.5) ? [k, n] : [...batch.map((size) => random.pick([1, size])), k, n];
      await compare({ op: "MatMul", inputs: [random.tensor(left), random.tensor(right)] }, counts);
    }
    expect(counts.rejected).toBe(0);
    expect(counts.decomposed).toBeGreaterThan(35);
  });
});

describe("pools, against ONNX Runtime", () => {
  it.each(["MaxPool", "AveragePool", "LpPool"])("%s", async (op) => {
    const random = new Random(op.length);
    const counts = noCounts();
    for (let round = 0; round < 120; round++) {
      const axes = random.pick([1, 2, 2, 3]);
      const kernel = random.shape(axes, 1, 3);
      const attributes = windowAttributes(random, axes, kernel);
      attributes.kernel_shape = ints(kernel);
      if (random.chance(0.5)) attributes.ceil_mode = int(1);
      if (op === "AveragePool" && random.chance(0.5)) attributes.count_include_pad = int(1);
      // ONNX Runtime reads beyond an input that such a window does not fit.
      const shortest = attributes.dilations && attributes.auto_pad ? 8 : 3;
      const x = random.tensor([1, random.int(1, 2), ...random.shape(axes, shortest, 8)]);
      await compare({ op, inputs: [x], attributes, outputs: op === "MaxPool" && random.chance(0.2) ? 2 : 1 }, counts);
    }
    expect(counts.accepted).toBeGreaterThan(70);
    if (op !== "LpPool") expect(counts.lowered).toBeGreaterThan(counts.accepted * 0.7);
  });

  it.each(["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])("%s", async (op) => {
    const random = new Random(9);
    const counts = noCounts();
    for (let axes = 1; axes <= 3; axes++) await compare({ op, inputs: [random.tensor([2, 3, ...random.shape(axes)])] }, counts);
    expect(counts.decomposed + counts.rejected).toBe(3);
  });
});
