import { describe, expect, it } from "vitest";
import { type Graph, staticType } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { floatTensor, int64Tensor, toNumbers } from "../../src/graph/tensor.js";
import { hardware } from "../../src/hardware/hardware.js";
import { runGraph } from "../../src/host/index.js";
import { type Budget, defaultBudget, lower } from "../../src/lower/index.js";
import type { LoweredProgram } from "../../src/lower/lowered.js";
import { inferTypes } from "../../src/operators/index.js";
import { dmaCost } from "../../src/program/cost.js";
import { reads } from "../../src/program/program.js";
import { GraphBuilder, randomTensor } from "./build.js";
import { Execution } from "./execute.js";

const budgets: Readonly<Record<string, Budget>> = {
  "on chip": defaultBudget,
  "through DRAM": { ...defaultBudget, valueBytes: 0, residentBytes: 0 },
};

/** Operands of engines, which lie on chip, start at quadrants of partitions. */
function expectQuadrants({ load, infer }: LoweredProgram): void {
  for (const { engine, operation } of [...load, ...infer]) {
    if (engine === "dma") continue;
    for (const { buffer, partitionStart } of [operation.out, ...reads(operation)])
      expect(partitionStart % hardware.partitionQuadrant, `${operation.kind} of ${buffer} from ${partitionStart} on`).toBe(0);
  }
}

/** Lowers without rounding and compares with ONNX Runtime: fp32 class. The bits do not depend on what stays on chip. */
async function expectSame(built: Graph, seed: number, change = (graph: Graph): Graph => graph): Promise<void> {
  const graph = change(inferTypes(built));
  const random = seeded(seed);
  const inputs = new Map(graph.inputs.map((name) => [name, randomTensor(staticType(graph, name).shape, random)]));
  const expected = await runGraph(graph, inputs);
  const seen = new Map<string, Buffer>();
  for (const [where, budget] of Object.entries(budgets)) {
    const lowered = lower(graph, budget);
    expectQuadrants(lowered);
    const outputs = new Execution(lowered).run(new Map([...inputs].map(([name, tensor]) => [name, toNumbers(tensor)])));
    for (const name of graph.outputs) {
      const wanted = expected.get(name);
      const got = outputs.get(name);
      if (!wanted || !got) throw new Error(`no output ${name}`);
      const numbers = toNumbers(wanted);
      expect(got.length).toBe(numbers.length);
      const bits = Buffer.from(got.slice().buffer);
      expect(seen.get(name)?.equals(bits) ?? true, `${name}: the same bits`).toBe(true);
      seen.set(name, bits);
      for (let index = 0; index < numbers.length; index++) {
        const error = Math.abs(got[index] - numbers[index]);
        if (!(error <= 1e-4 + 1e-3 * Math.abs(numbers[index]))) {
          throw new Error(`${where}: ${name}[${index}] is ${got[index]}, not ${numbers[index]}`);
        }
      }
    }
  }
}

type Convolution = readonly [x: number[], w: number[], attributes: Record<string, number[] | number>];

const convolutions: Readonly<Record<string, Convolution>> = {
  "1x1": [[1, 20, 7, 9], [70, 20, 1, 1], {}],
  "3x3 with padding": [[1, 5, 9, 11], [8, 5, 3, 3], { pads: [1, 1, 1, 1] }],
  "strided, uneven padding, dilated": [[2, 20, 13, 12], [9, 20, 3, 2], { pads: [2, 0, 1, 3], strides: [2, 3], dilations: [2, 1] }],
  "more than one tile of channels": [[1, 150, 5, 5], [140, 150, 3, 3], { pads: [1, 1, 1, 1] }],
  "first layer, packed": [[2, 3, 23, 21], [10, 3, 7, 7], { pads: [3, 3, 3, 3], strides: [2, 2] }],
  grouped: [[1, 24, 6, 6], [48, 4, 3, 3], { group: 6, pads: [1, 1, 1, 1] }],
  "groups over several tiles": [[1, 192, 4, 4], [192, 32, 1, 1], { group: 6 }],
  depthwise: [[1, 140, 9, 8], [140, 1, 3, 3], { group: 140, pads: [1, 1, 1, 1], strides: [2, 1] }],
  "depthwise with multiplier": [[1, 6, 9, 8], [12, 1, 3, 3], { group: 6 }],
  "one dimension": [[2, 12, 30], [7, 12, 5], { pads: [2, 2], strides: [2] }],
  "three dimensions": [[1, 4, 5, 6, 7], [6, 4, 3, 2, 3], { pads: [1, 0, 1, 1, 1, 1] }],
  "wider than a bank": [[1, 3, 2, 700], [4, 3, 1, 3], { pads: [0, 1, 0, 1] }],
  "kernel larger than the input": [[1, 20, 2, 2], [3, 20, 5, 5], { pads: [2, 2, 2, 2] }],
};

describe("convolution", () => {
  for (const [name, [x, w, values]] of Object.entries(convolutions)) {
    it(name, async () => {
      const builder = new GraphBuilder();
      const random = seeded(7);
      const bias = builder.constant(randomTensor([w[0]], random));
      const [y] = builder.node("Conv", [builder.input("x", x), builder.constant(randomTensor(w, random)), bias], values);
      await expectSame(builder.finish([y]), 1);
    });
  }

  it("of an image whose channels lie next to each other: rows of the image are brought, not its elements", async () => {
    const builder = new GraphBuilder();
    const [x] = builder.node("Transpose", [builder.input("image", [2, 140, 33, 3])], { perm: [0, 3, 1, 2] });
    const [y] = builder.node("Conv", [x, builder.constant(randomTensor([8, 3, 5, 5], seeded(5)))], { pads: [2, 2, 2, 2], strides: [2, 2] });
    const graph = builder.finish([y]);
    await expectSame(graph, 1);
    const { buffers, infer } = lower(inferTypes(graph), defaultBudget);
    const types = new Map(buffers.map((buffer) => [buffer.name, buffer]));
    const charged = infer.flatMap(({ operation: move }) =>
      move.kind === "dma" ? [dmaCost(move, types.get(move.out.buffer)!, types.get(move.in.buffer)!, hardware).chargedBytes] : [],
    );
    expect(charged.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(16 * 4 * 2 * 140 * 33 * 3);
  });

  it("of channels that are joined within a quadrant, some of them scattered in DRAM", async () => {
    const builder = new GraphBuilder();
    const random = seeded(3);
    const image = builder.input("image", [1, 8, 16, 16]);
    const [a] = builder.node("Relu", [builder.input("x", [1, 40, 8, 8])]);
    const ends = [
      [0, 0],
      [16, 16],
      [2, 3],
      [2, 2],
    ].map((values) => builder.constant(int64Tensor([2], values)));
    const [b] = builder.node("Slice", [image, ...ends]);
    const [c] = builder.node("Concat", [a, b], { axis: 1 });
    const [d] = builder.node("Conv", [c, builder.constant(randomTensor([9, 48, 1, 1], random))]);
    await expectSame(builder.finish([d]), 1);
  });

  it("of a value on chip", async () => {
    const builder = new GraphBuilder();
    const random = seeded(9);
    const [a] = builder.node("Relu", [builder.input("x", [1, 40, 14, 14])]);
    const [b] = builder.node("Conv", [a, builder.constant(randomTensor([64, 40, 3, 3], random))], { pads: [1, 1, 1, 1] });
    const [c] = builder.node("Add", [b, b]);
    const [d] = builder.node("Conv", [c, builder.constant(randomTensor([200, 64, 1, 1], random))], { strides: [2, 2] });
    await expectSame(builder.finish([c, d]), 1);
  });

  for (const [name, [x, w, values]] of Object.entries({
    "stride 2": [[1, 20, 5, 6], [20, 9, 2, 2], { strides: [2, 2] }],
    "overlapping, padded": [[2, 20, 5, 6], [20, 70, 4, 3], { strides: [2, 1], pads: [1, 1, 1, 1] }],
    "kernel smaller than stride, grouped": [[1, 8, 4, 4], [8, 3, 1, 2], { strides: [3, 3], group: 2 }],
    dilated: [[1, 4, 5, 5], [4, 6, 3, 3], { strides: [2, 2], dilations: [2, 2], output_padding: [1, 1] }],
  } satisfies Record<string, Convolution>)) {
    it(`transposed: ${name}`, async () => {
      const builder = new GraphBuilder();
      const [y] = builder.node("ConvTranspose", [builder.input("x", x), builder.constant(randomTensor(w, seeded(3)))], values);
      await expectSame(builder.finish([y]), 2);
    });
  }
});

describe("matmul", () => {
  const cases: Readonly<Record<string, readonly [number[], number[], boolean]>> = {
    "by weights": [[3, 200], [200, 130], true],
    "rank 3 by weights": [[2, 5, 70], [70, 66], true],
    "two computed": [[5, 30], [30, 70], false],
    batched: [[2, 3, 5, 30], [2, 3, 30, 7], false],
    "batched with broadcast": [[2, 1, 5, 8], [3, 8, 7], false],
  };
  for (const [name, [a, b, constant]] of Object.entries(cases)) {
    it(name, async () => {
      const builder = new GraphBuilder();
      const x = builder.input("x", a);
      const [y] = builder.node("MatMul", [x, constant ? builder.constant(randomTensor(b, seeded(4))) : builder.input("w", b)]);
      await expectSame(builder.finish([y]), 5);
    });
  }
});

type Unary = readonly [op: string, shape: number[], attributes: Record<string, number | number[] | string>, ...constants: number[][]];
const unary: readonly Unary[] = [
  ["MaxPool", [1, 130, 9, 9], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }],
  ["MaxPool", [2, 5, 10, 11], { kernel_shape: [3, 2], strides: [2, 2], ceil_mode: 1 }],
  ["AveragePool", [1, 5, 9, 9], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }],
  ["AveragePool", [1, 5, 9, 9], { kernel_shape: [3, 3], pads: [1, 1, 1, 1], count_include_pad: 1 }],
  ["AveragePool", [1, 5, 8], { kernel_shape: [2], strides: [2] }],
  ["ReduceMean", [1, 3, 80, 90], {}],
  ["Softmax", [3, 11], { axis: -1 }],
  ["Softmax", [2, 5, 4, 3], { axis: 1 }],
  ["LogSoftmax", [2, 5, 7], { axis: 1 }],
  ["Softmax", [2, 9001], { axis: 1 }],
  ["LogSoftmax", [1, 1, 5000], { axis: 2 }],
  ["Softmax", [6], { axis: 0 }],
  ["Transpose", [2, 3, 4, 5], { perm: [0, 2, 3, 1] }],
  ["DepthToSpace", [1, 16, 3, 4], { blocksize: 2 }],
  ["HardSwish", [1, 6, 5, 4], {}],
  ["Elu", [2, 130], { alpha: 0.7 }],
  ["LeakyRelu", [1, 5, 3], { alpha: 0.1 }],
  ["Erf", [2, 7], {}],
  ["Softplus", [7], {}],
];

describe("other operators", () => {
  for (const [op, shape, values] of unary) {
    it(`${op} of ${shape.join("x")}`, async () => {
      const builder = new GraphBuilder();
      const [y] = builder.node(op, [builder.input("x", shape)], values);
      await expectSame(builder.finish([y]), 6);
    });
  }

  for (const [left, right] of [
    [
      [2, 5, 4, 3],
      [5, 1, 1],
    ],
    [
      [2, 5, 4, 3],
      [1, 1, 4, 3],
    ],
    [
      [2, 130, 4, 3],
      [2, 130, 1, 1],
    ],
    [
      [2, 5, 4, 3],
      [4, 1],
    ],
    [
      [4, 1],
      [2, 5, 4, 3],
    ],
    [[3], [1]],
    [[], [2, 2]],
  ]) {
    for (const constant of [true, false]) {
      it(`Sub of ${left.join("x")} and ${constant ? "constant " : ""}${right.join("x")}`, async () => {
        const builder = new GraphBuilder();
        const x = builder.input("x", left);
        const [y] = builder.node("Sub", [x, constant ? builder.constant(randomTensor(right, seeded(2))) : builder.input("b", right)]);
        await expectSame(builder.finish([y]), 8);
      });
    }
  }

  it("Resize, nearest, between operators and alone", async () => {
    const builder = new GraphBuilder();
    const scales = builder.constant(floatTensor([4], [1, 1, 2, 3]));
    const x = builder.input("x", [2, 34, 14, 11]);
    const nearest = { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
    const [a] = builder.node("Resize", [x, "", scales], nearest);
    const [b] = builder.node("Neg", [x]);
    const [c] = builder.node("Resize", [b, "", scales], nearest);
    const [d] = builder.node("Add", [a, c]);
    await expectSame(builder.finish([a, d]), 8);
  });

  it("Slice with steps, of an input and of a value on chip", async () => {
    const builder = new GraphBuilder();
    const constants = [
      [1, 0, 1],
      [9, 20, 18],
      [1, 2, 3],
      [2, 3, 2],
    ].map((values) => builder.constant(int64Tensor([3], values)));
    const [starts, ends, axes, steps] = constants;
    const x = builder.input("x", [1, 10, 20, 18]);
    const [a] = builder.node("Slice", [x, starts, ends, axes, steps]);
    const [b] = builder.node("Neg", [x]);
    const [c] = builder.node("Slice", [b, starts, ends, axes, steps]);
    await expectSame(builder.finish([a, c]), 8);
  });

  it("PRelu with a slope a channel", async () => {
    const builder = new GraphBuilder();
    const [y] = builder.node("PRelu", [builder.input("x", [1, 140, 3, 3]), builder.constant(randomTensor([140, 1, 1], seeded(2)))]);
    await expectSame(builder.finish([y]), 8);
  });

  it("Concat of channels, after operators on chip", async () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", [1, 70, 5, 5]);
    const [a] = builder.node("Relu", [x]);
    const [b] = builder.node("Neg", [x]);
    const [c] = builder.node("Concat", [a, b, a], { axis: 1 });
    const [d] = builder.node("Tanh", [c]);
    await expectSame(builder.finish([d]), 8);
  });

  it("a residual block", async () => {
    const builder = new GraphBuilder();
    const random = seeded(5);
    const [x] = builder.node("Relu", [builder.input("x", [1, 64, 14, 14])]);
    const [a] = builder.node("Conv", [
      x,
      builder.constant(randomTensor([32, 64, 1, 1], random)),
      builder.constant(randomTensor([32], random)),
    ]);
    const [b] = builder.node("Relu", [a]);
    const [c] = builder.node("Conv", [b, builder.constant(randomTensor([64, 32, 3, 3], random)), ""], { pads: [1, 1, 1, 1] });
    await expectSame(builder.finish([c]), 8, (graph) => {
      const last = graph.nodes[graph.nodes.length - 1];
      const add = { op: "Add", attributes: {}, operands: [null, last.inputs.length], origins: ["add"] };
      const relu = { op: "Relu", attributes: {}, operands: [null], origins: ["relu"] };
      const fused = { ...last, inputs: [...last.inputs, x], epilogue: [add, relu] };
      return { ...graph, nodes: [...graph.nodes.slice(0, -1), fused] };
    });
  });
});
