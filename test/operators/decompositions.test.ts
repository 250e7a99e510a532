/** Operators that are decomposed, against ONNX Runtime's own kernels. */
import { describe, expect, it } from "vitest";
import type { Attribute } from "../../src/graph/graph.js";
import { fromNumbers, int64Tensor, type Tensor } from "../../src/graph/tensor.js";
import { attribute, type Case, compare, constant, integers, noCounts, Random } from "./support.js";

const { int, ints, float, string } = attribute;
const strings = (value: readonly string[]): Attribute => ({ type: "strings", value });
const floats = (value: readonly number[]): Attribute => ({ type: "floats", value });

/** Compares every case, none of which ONNX Runtime may refuse; all are decomposed. */
async function compareAll(cases: readonly Case[]): Promise<void> {
  const counts = noCounts();
  for (const test of cases) await compare(test, counts);
  expect(counts).toMatchObject({ accepted: cases.length, rejected: 0, decomposed: cases.length });
}

const repeat = <T>(count: number, make: (round: number) => T): T[] => Array.from({ length: count }, (_, round) => make(round));

/** Whole numbers in [low, high], of any shape. */
function whole(random: Random, shape: readonly number[], low: number, high: number, dtype: "int64" | "int32" = "int64"): Tensor {
  return random.tensor(shape, dtype, low, high);
}

describe("recurrent layers", () => {
  const gates = { RNN: 1, GRU: 3, LSTM: 4 } as const;

  function layer(random: Random, op: keyof typeof gates): Case {
    const [steps, batch, features, hidden] = [random.int(1, 4), random.int(1, 3), random.int(1, 4), random.int(1, 5)];
    const direction = random.pick(["forward", "reverse", "bidirectional"]);
    const count = direction === "bidirectional" ? 2 : 1;
    const own = gates[op];
    const state = (): Tensor | null => (random.chance(0.5) ? random.tensor([count, batch, hidden]) : null);
    const weights = (shape: number[]) =>
      random.chance(0.5) ? random.tensor(shape, "float32", -1, 1) : constant(random.tensor(shape, "float32", -1, 1));
    const inputs: Case["inputs"][number][] = [
      random.tensor([steps, batch, features]),
      weights([count, own * hidden, features]),
      weights([count, own * hidden, hidden]),
      random.chance(0.7) ? random.tensor([count, 2 * own * hidden], "float32", -1, 1) : null,
      random.chance(0.4) ? whole(random, [batch], 1, steps, "int32") : null,
      state(),
      ...(op === "LSTM" ? [state(), random.chance(0.5) ? random.tensor([count, 3 * hidden], "float32", -1, 1) : null] : []),
    ];
    const attributes: Record<string, Attribute> = { direction: string(direction), hidden_size: int(hidden) };
    if (random.chance(0.3)) attributes.clip = float(0.6);
    if (op === "GRU" && random.chance(0.5)) attributes.linear_before_reset = int(1);
    if (op === "LSTM" && random.chance(0.3)) attributes.input_forget = int(1);
    if (random.chance(0.3)) {
      const names = { RNN: ["Relu"], GRU: ["HardSigmoid", "Softsign"], LSTM: ["Sigmoid", "Tanh", "Relu"] }[op];
      attributes.activations = strings(count === 2 ? [...names, ...names] : names);
    }
    return { op, inputs, attributes, outputs: op === "LSTM" ? 3 : 2 };
  }

  it.each(["RNN", "GRU", "LSTM"] as const)("%s", async (op) => {
    const random = new Random(op.length);
    await compareAll(repeat(25, () => layer(random, op)));
  });

  it("gives each activation that takes an alpha or a beta the next one of the list", async () => {
    const random = new Random(9);
    const inputs = (gates: number): Tensor[] => [
      random.tensor([3, 2, 4]),
      random.tensor([2, 5 * gates, 4], "float32", -1, 1),
      random.tensor([2, 5 * gates, 5], "float32", -1, 1),
    ];
    const common = { direction: string("bidirectional"), hidden_size: int(5) };
    const named = (names: readonly string[], alphas: readonly number[], betas: readonly number[] = []) => ({
      ...common,
      activations: strings(names),
      activation_alpha: floats(alphas),
      ...(betas.length > 0 ? { activation_beta: floats(betas) } : {}),
    });
    await compareAll([
      { op: "GRU", inputs: inputs(3), outputs: 2, attributes: named(["Sigmoid", "LeakyRelu", "Sigmoid", "LeakyRelu"], [0.3, 0.4]) },
      {
        op: "LSTM",
        inputs: inputs(4),
        outputs: 3,
        attributes: named(["HardSigmoid", "Tanh", "Softsign", "Sigmoid", "Tanh", "ScaledTanh"], [0.25, 0.9], [0.4, 1.2]),
      },
      { op: "RNN", inputs: inputs(1), outputs: 2, attributes: named(["Affine", "Elu"], [0.4], [0.1]) },
    ]);
  });
});

describe("places and choices", () => {
  const random = new Random(3);

  it("arguments of extremes, the first or the last of equal ones", async () => {
    const cases = repeat(
      20,
      (round): Case => ({
        op: round % 2 ? "ArgMax" : "ArgMin",
        inputs: [random.tensor(random.shape(3), random.pick(["float32", "int32", "uint8"]), 0, 4)],
        attributes: { axis: int(random.int(-3, 2)), keepdims: int(random.int(0, 1)), select_last_index: int(random.int(0, 1)) },
      }),
    );
    await compareAll(cases);
  });

  it("TopK and Hardmax", async () => {
    const top = repeat(15, (): Case => {
      const shape = random.shape(3, 3, 6);
      const attributes = { axis: int(random.int(-3, 2)), largest: int(random.int(0, 1)) };
      return {
        op: "TopK",
        inputs: [random.tensor(shape, random.pick(["float32", "int32"])), integers([random.int(1, 3)])],
        attributes,
        outputs: 2,
      };
    });
    await compareAll([...top, { op: "Hardmax", inputs: [random.tensor([3, 4])], attributes: { axis: int(0) } }]);
  });

  it("Gather, GatherElements, GatherND by computed indices", async () => {
    const cases = repeat(12, (): Case[] => {
      const data = random.tensor([3, 4, 2], random.pick(["float32", "int32", "bool"]));
      const axis = random.int(0, 2);
      const size = data.shape[axis];
      return [
        { op: "Gather", inputs: [data, whole(random, random.shape(2), -size, size - 1)], attributes: { axis: int(axis) } },
        { op: "GatherElements", inputs: [data, whole(random, [2, 3, 2], -2, 1)], attributes: { axis: int(axis) } },
        { op: "GatherND", inputs: [data, whole(random, [3, 2, 2], -2, 1)], attributes: { batch_dims: int(random.int(0, 1)) } },
      ];
    });
    await compareAll(cases.flat());
  });

  it("ScatterElements and ScatterND, with every reduction", async () => {
    const data = random.tensor([4, 3]);
    const cases = ["none", "add", "mul", "max", "min"].flatMap((reduction): Case[] => [
      {
        op: "ScatterElements",
        inputs: [data, fromNumbers("int64", [2, 2], [0, 1, -1, 2]), random.tensor([2, 2])],
        attributes: { axis: int(0), reduction: string(reduction) },
      },
      {
        op: "ScatterND",
        inputs: [data, fromNumbers("int64", [2, 1], [3, reduction === "none" ? 1 : 3]), random.tensor([2, 3])],
        attributes: { reduction: string(reduction) },
      },
    ]);
    await compareAll(cases);
  });

  it("OneHot, EyeLike, running sums, reversed sequences", async () => {
    const values = constant(fromNumbers("float32", [2], [-1, 5]));
    const oneHots = [-1, 0, 1].map(
      (axis): Case => ({
        op: "OneHot",
        inputs: [whole(random, [2, 3], -5, 6), constant(int64Tensor([], [4])), values],
        attributes: { axis: int(axis) },
      }),
    );
    const sums = repeat(
      8,
      (round): Case => ({
        op: "CumSum",
        inputs: [random.tensor([3, 5], round % 2 ? "float32" : "int32"), constant(int64Tensor([], [round % 4 < 2 ? -1 : 0]))],
        attributes: { exclusive: int(random.int(0, 1)), reverse: int(random.int(0, 1)) },
      }),
    );
    await compareAll([
      ...oneHots,
      ...sums,
      { op: "EyeLike", inputs: [random.tensor([3, 4])], attributes: { k: int(1) } },
      {
        op: "ReverseSequence",
        inputs: [random.tensor([4, 3, 2]), fromNumbers("int64", [3], [1, 4, 2])],
        attributes: { time_axis: int(0), batch_axis: int(1) },
      },
    ]);
  });

  it("losses, with weights and ignored targets", async () => {
    const cases = ["mean", "sum", "none"].flatMap((reduction) =>
      [false, true].flatMap((weighted): Case[] => {
        const inputs = [random.tensor([3, 5, 2]), whole(random, [3, 2], 0, 4), ...(weighted ? [random.tensor([5], "float32", 0, 1)] : [])];
        const attributes = { reduction: string(reduction), ...(weighted ? { ignore_index: int(2) } : {}) };
        return [
          { op: "NegativeLogLikelihoodLoss", inputs, attributes },
          { op: "SoftmaxCrossEntropyLoss", inputs, attributes, outputs: 2 },
        ];
      }),
    );
    await compareAll(cases);
  });
});

describe("normalisations and attention", () => {
  const random = new Random(5);
  const scale = (size: number): Tensor => random.tensor([size], "float32", 0.5, 2);

  it("of layers, groups, by norms", async () => {
    await compareAll([
      { op: "LayerNormalization", inputs: [random.tensor([2, 3, 4]), scale(4), scale(4)], outputs: 3 },
      {
        op: "LayerNormalization",
        inputs: [random.tensor([2, 3, 4]), random.tensor([3, 4])],
        attributes: { axis: int(1), epsilon: float(0.1) },
      },
      { op: "GroupNormalization", inputs: [random.tensor([2, 6, 3]), scale(6), scale(6)], attributes: { num_groups: int(3) } },
      { op: "RMSNormalization", inputs: [random.tensor([2, 3, 4]), scale(4)] },
      { op: "LpNormalization", inputs: [random.tensor([2, 3])], attributes: { p: int(1), axis: int(0) } },
      { op: "MeanVarianceNormalization", inputs: [random.tensor([2, 3, 2, 2])] },
      { op: "BatchNormalization", inputs: [random.tensor([2, 3, 4]), scale(3), scale(3), scale(3), scale(3)] },
    ]);
  });

  it("Attention with groups of heads, masks, a cap, and the past", async () => {
    const heads = (count: number, steps: number, width = 4): Tensor => random.tensor([2, count, steps, width]);
    await compareAll([
      { op: "Attention", inputs: [heads(4, 3), heads(2, 5), heads(2, 5, 6)], attributes: { is_causal: int(1) } },
      {
        op: "Attention",
        inputs: [heads(2, 3), heads(2, 5), heads(2, 5), random.tensor([3, 5], "bool")],
        attributes: { softcap: float(2) },
      },
      { op: "Attention", inputs: [heads(2, 3), heads(2, 2), heads(2, 2), null, heads(2, 4), heads(2, 4)], outputs: 3 },
      {
        op: "Attention",
        inputs: [random.tensor([2, 3, 8]), random.tensor([2, 4, 8]), random.tensor([2, 4, 8]), random.tensor([1, 2, 3, 4])],
        attributes: { q_num_heads: int(2), kv_num_heads: int(2), scale: float(0.3) },
      },
    ]);
  });

  it("RotaryEmbedding", async () => {
    const cases = [0, 1].map(
      (interleaved): Case => ({
        op: "RotaryEmbedding",
        inputs: [random.tensor([2, 3, 4, 8]), random.tensor([6, 2]), random.tensor([6, 2]), whole(random, [2, 4], 0, 5)],
        attributes: { interleaved: int(interleaved), rotary_embedding_dim: int(4) },
      }),
    );
    await compareAll(cases);
  });
});

describe("large windows", () => {
  const random = new Random(13);
  const windows: readonly (readonly [readonly number[], Record<string, Attribute>])[] = [
    [[2, 3, 20, 17], { kernel_shape: ints([9, 9]), pads: ints([4, 4, 4, 4]) }],
    [[1, 2, 31, 40], { kernel_shape: ints([8, 11]), strides: ints([3, 2]), pads: ints([1, 2, 3, 0]), ceil_mode: int(1) }],
    [[1, 1, 60, 50], { kernel_shape: ints([6, 7]), dilations: ints([5, 4]), strides: ints([2, 1]), pads: ints([5, 0, 0, 6]) }],
    [[1, 2, 9, 10, 11], { kernel_shape: ints([4, 5, 6]), auto_pad: string("SAME_LOWER") }],
  ];
  it.each(windows)("the maximum, axis by axis, of %j %o", async (shape, attributes) => {
    await compareAll([{ op: "MaxPool", inputs: [random.tensor(shape)], attributes }]);
  });
});

describe("products", () => {
  const random = new Random(7);
  const equations: readonly [string, readonly number[][]][] = [
    [
      "ij,jk->ik",
      [
        [2, 3],
        [3, 4],
      ],
    ],
    [
      "bij,bkj->bik",
      [
        [2, 3, 4],
        [2, 5, 4],
      ],
    ],
    ["i,j->ij", [[2], [3]]],
    ["ij->ji", [[2, 3]]],
    ["ijk->j", [[2, 3, 4]]],
    [
      "...ij,jk",
      [
        [2, 3, 4],
        [4, 5],
      ],
    ],
    [
      "bhqd,bhkd->bhqk",
      [
        [1, 2, 3, 4],
        [1, 2, 5, 4],
      ],
    ],
    [
      "ij,jk,kl->il",
      [
        [2, 3],
        [3, 4],
        [4, 2],
      ],
    ],
  ];
  it.each(equations)("Einsum %s", async (equation, shapes) => {
    await compareAll([{ op: "Einsum", inputs: shapes.map((shape) => random.tensor(shape)), attributes: { equation: string(equation) } }]);
  });

  const bytes = (shape: readonly number[], dtype: "uint8" | "int8" = "uint8"): Tensor =>
    random.tensor(shape, dtype, dtype === "uint8" ? 0 : -128, dtype === "uint8" ? 255 : 127);
  const zero = (value: number, dtype: "uint8" | "int8" = "uint8"): Tensor => fromNumbers(dtype, [], [value]);
  const one = (value: number): Tensor => fromNumbers("float32", [], [value]);

  it("of 8-bit integers, exactly, however long the sums are", async () => {
    await compareAll([
      { op: "MatMulInteger", inputs: [bytes([2, 700]), bytes([700, 3], "int8"), zero(7), zero(-3, "int8")] },
      {
        op: "ConvInteger",
        inputs: [bytes([1, 40, 5, 5]), bytes([4, 40, 3, 3]), zero(9), zero(3)],
        attributes: { pads: ints([1, 1, 1, 1]) },
      },
      { op: "ConvInteger", inputs: [bytes([1, 4, 5, 5]), bytes([4, 2, 3, 3]), zero(9)], attributes: { group: int(2) } },
      { op: "QLinearMatMul", inputs: [bytes([2, 5]), one(0.01), zero(3), bytes([5, 4]), one(0.02), zero(100), one(0.05), zero(118)] },
      {
        op: "QLinearConv",
        inputs: [
          bytes([1, 2, 5, 5]),
          one(0.01),
          zero(3),
          constant(bytes([3, 2, 3, 3])),
          constant(one(0.02)),
          constant(zero(100)),
          one(0.2),
          zero(118),
        ],
      },
    ]);
  });

  it("quantizing and back, for all, for an axis, for blocks", async () => {
    const scales = random.tensor([3], "float32", 0.1, 1);
    await compareAll([
      { op: "QuantizeLinear", inputs: [random.tensor([2, 3]), one(0.03), zero(-5, "int8")] },
      { op: "QuantizeLinear", inputs: [random.tensor([2, 3]), scales, fromNumbers("uint8", [3], [128, 3, 9])] },
      { op: "DequantizeLinear", inputs: [bytes([2, 3]), scales, fromNumbers("uint8", [3], [128, 3, 9])] },
      { op: "DequantizeLinear", inputs: [bytes([2, 6]), random.tensor([2, 3])], attributes: { block_size: int(2) } },
      { op: "DynamicQuantizeLinear", inputs: [random.tensor([4, 5])], outputs: 3 },
      { op: "DynamicQuantizeLinear", inputs: [random.tensor([4, 5], "float32", -3, -1)], outputs: 3 },
      { op: "DynamicQuantizeLinear", inputs: [fromNumbers("float32", [2], [0, 0])], outputs: 3 },
    ]);
  });

  it("by weights that are computed", async () => {
    await compareAll([
      {
        op: "Conv",
        inputs: [random.tensor([2, 4, 7]), random.tensor([6, 2, 3]), random.tensor([6])],
        attributes: { group: int(2), strides: ints([2]), pads: ints([1, 0]) },
      },
      { op: "Conv", inputs: [random.tensor([1, 2, 5, 6]), random.tensor([3, 2, 2, 3])], attributes: { dilations: ints([2, 1]) } },
      {
        op: "ConvTranspose",
        inputs: [random.tensor([1, 4, 3, 4]), random.tensor([4, 3, 3, 2])],
        attributes: { group: int(2), strides: ints([2, 3]), pads: ints([1, 0, 0, 1]) },
      },
      {
        op: "ConvTranspose",
        inputs: [random.tensor([1, 2, 3]), random.tensor([2, 1, 2]), random.tensor([1])],
        attributes: { strides: ints([3]), output_padding: ints([1]) },
      },
    ]);
  });

  it("rearrangements of space", async () => {
    await compareAll([
      { op: "LpPool", inputs: [random.tensor([1, 2, 6])], attributes: { kernel_shape: ints([3]), p: int(3), pads: ints([1, 1]) } },
      { op: "CenterCropPad", inputs: [random.tensor([5, 4, 3]), integers([2, 7])], attributes: { axes: ints([0, 1]) } },
      { op: "AffineGrid", inputs: [random.tensor([2, 2, 3]), integers([2, 1, 3, 4])], attributes: { align_corners: int(1) } },
      { op: "AffineGrid", inputs: [random.tensor([1, 3, 4]), integers([1, 1, 2, 3, 4])] },
      { op: "Col2Im", inputs: [random.tensor([1, 8, 12]), integers([4, 5]), integers([2, 2])] },
      { op: "Compress", inputs: [random.tensor([3, 4]), constant(fromNumbers("bool", [3], [0, 1, 1]))], attributes: { axis: int(0) } },
    ]);
  });
});
