import { describe, expect, it } from "vitest";
import type { Attribute } from "../../src/graph/graph.js";
import { type DType, fromNumbers, type Tensor } from "../../src/graph/tensor.js";
import { add, operand } from "../../src/operators/expression.js";
import { recordOf, useOf } from "../../src/operators/index.js";
import { attribute, build, type Case, compare, constant, noCounts, Random } from "./support.js";

const unary = (
  "Relu LeakyRelu Clip Sigmoid HardSigmoid HardSwish Tanh Elu Selu Celu Softplus Softsign ThresholdedRelu Shrink Mish Gelu " +
  "Abs Neg Sign Floor Ceil Round Sqrt Reciprocal Exp Log Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh IsNaN IsInf"
).split(" ");

/** Where a function is defined, and not too steep for a comparison in FP32. */
const domains: Readonly<Record<string, [number, number]>> = {
  Sqrt: [0, 9],
  Log: [0.1, 9],
  Asin: [-1, 1],
  Acos: [-1, 1],
  Acosh: [1.1, 4],
  Atanh: [-0.9, 0.9],
  Tan: [-1.3, 1.3],
};

const attributes: Readonly<Record<string, (random: Random) => Record<string, Attribute>>> = {
  LeakyRelu: (random) => ({ alpha: attribute.float(random.next()) }),
  Elu: (random) => ({ alpha: attribute.float(random.next() * 2) }),
  Celu: (random) => ({ alpha: attribute.float(random.next() + 0.5) }),
  Selu: (random) => ({ alpha: attribute.float(random.next()), gamma: attribute.float(random.next()) }),
  HardSigmoid: (random) => ({ alpha: attribute.float(random.next()), beta: attribute.float(random.next()) }),
  ThresholdedRelu: (random) => ({ alpha: attribute.float(random.next()) }),
  Shrink: (random) => ({ lambd: attribute.float(random.next()), bias: attribute.float(random.next()) }),
  Gelu: (random) => ({ approximate: attribute.string(random.pick(["none", "tanh"])) }),
  IsInf: (random) => ({ detect_positive: attribute.int(random.int(0, 1)), detect_negative: attribute.int(random.int(0, 1)) }),
};

describe("formulas of one operand, against ONNX Runtime", () => {
  it.each(unary)("%s", async (op) => {
    const random = new Random(op.length * 31 + op.charCodeAt(0));
    const counts = noCounts();
    for (let round = 0; round < 4; round++) {
      const [low, high] = domains[op] ?? [-4, 4];
      const x = random.tensor(random.shape(random.int(0, 3)), "float32", low, high);
      await compare({ op, inputs: [x], attributes: round === 0 ? {} : attributes[op]?.(random) }, counts);
    }
    const special = fromNumbers("float32", [6], [0, -0.5, 0.5, 1.5, 2.5, -1.5]);
    if (!domains[op]) await compare({ op, inputs: [special] }, counts);
    expect(counts.lowered).toBe(domains[op] ? 4 : 5);
  });

  it.each(["Relu", "Abs", "Neg", "Sign", "Clip"])("%s of int32", async (op) => {
    const counts = noCounts();
    await compare({ op, inputs: [new Random(3).tensor([20], "int32", -9, 9)] }, counts);
    expect(counts.lowered).toBe(1);
  });

  it("Clip takes constant, absent and run-time limits", async () => {
    const random = new Random(8);
    const counts = noCounts();
    const scalar = (value: number): Tensor => fromNumbers("float32", [], [value]);
    const x = random.tensor([4, 5]);
    for (const low of [null, scalar(-1), constant(scalar(-1))]) {
      for (const high of [null, scalar(1), constant(scalar(1))]) await compare({ op: "Clip", inputs: [x, low, high] }, counts);
    }
    expect(counts.lowered).toBe(9);
  });
});

/** A shape that broadcasts to `shape`. */
function narrower(random: Random, shape: readonly number[]): number[] {
  return shape.map((size) => (random.chance(0.3) ? 1 : size)).slice(random.int(0, shape.length));
}

const binary: Readonly<Record<string, readonly DType[]>> = {
  Add: ["float32", "int32"],
  Sub: ["float32", "int32"],
  Mul: ["float32", "int32"],
  Div: ["float32"],
  PRelu: ["float32"],
  Pow: ["float32"],
  Mod: ["float32", "int32"],
  Equal: ["float32", "int32", "bool"],
  Greater: ["float32", "int32"],
  GreaterOrEqual: ["float32", "int32"],
  Less: ["float32", "int32"],
  LessOrEqual: ["float32", "int32"],
  And: ["bool"],
  Or: ["bool"],
  Xor: ["bool"],
  BitwiseAnd: ["int32"],
  BitwiseOr: ["int32"],
  BitwiseXor: ["int32"],
  Max: ["float32", "int32"],
  Min: ["float32", "int32"],
  Sum: ["float32"],
  Mean: ["float32"],
};

describe("formulas with broadcasting, against ONNX Runtime", () => {
  it.each(Object.keys(binary))("%s", async (op) => {
    const random = new Random(op.length * 17 + op.charCodeAt(1));
    const counts = noCounts();
    for (let round = 0; round < 12; round++) {
      const shape = random.shape(random.int(1, 4));
      const dtype = random.pick(binary[op]);
      const count = ["Max", "Min", "Sum", "Mean"].includes(op) ? random.int(1, 4) : 2;
      const inputs = Array.from({ length: count }, (_, index): Case["inputs"][number] => {
        const low = op === "Pow" && index === 0 ? 0.2 : op === "Mod" && dtype === "int32" && index === 1 ? 1 : -3;
        const own = op === "PRelu" && index === 0 ? shape : narrower(random, shape);
        const tensor = random.tensor(own, dtype, low, 3);
        return random.chance(0.3) && index > 0 ? constant(tensor) : tensor;
      });
      const attributes = op === "Mod" && dtype === "float32" ? { fmod: attribute.int(1) } : {};
      await compare({ op, inputs, attributes }, counts);
    }
    expect(counts.rejected).toBe(0);
    expect(counts.lowered).toBe(12);
  });

  it("Where, Not, Cast", async () => {
    const random = new Random(5);
    const counts = noCounts();
    const codes = [1, 6, 9, 3, 2];
    for (let round = 0; round < 8; round++) {
      const shape = random.shape(3);
      const [a, b] = [random.tensor(narrower(random, shape)), random.tensor(narrower(random, shape))];
      await compare({ op: "Where", inputs: [random.tensor(narrower(random, shape), "bool"), a, b] }, counts);
      await compare({ op: "Not", inputs: [random.tensor(shape, "bool")] }, counts);
      for (const code of codes) {
        const x = random.tensor(shape, random.pick(["float32", "int32", "bool"]), 0, 9);
        await compare({ op: "Cast", inputs: [x], attributes: { to: attribute.int(code) } }, counts);
      }
    }
    expect(counts.lowered + counts.decomposed).toBe(counts.accepted);
    expect(counts.rejected).toBe(0);
  });

  it("has constant scalars as immediates", () => {
    const { graph, node } = build({ op: "Add", inputs: [fromNumbers("float32", [2], [1, 2]), constant(fromNumbers("float32", [], [3]))] });
    const lowering = recordOf("Add", "")?.lowering;
    expect(lowering?.kind === "pointwise" && lowering.formula(useOf(graph, node))).toEqual(add(operand(0), 3));
  });
});
