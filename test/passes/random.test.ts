/** normalise keeps the values of random small networks: the graph before and after on ONNX Runtime, up to FP32 rounding. */
import { describe, expect, test } from "vitest";
import type { Attributes, Graph, Node, TensorType } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { elementCount, floatTensor, int64Tensor, type Tensor, toFloat32 } from "../../src/graph/tensor.js";
import { printGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { runGraph } from "../../src/host/index.js";
import { inferTypes, recordOf } from "../../src/operators/index.js";
import { applyPrecision, normalise, parsePrecision } from "../../src/passes/index.js";
import { options } from "./support.js";

const ints = (...value: number[]) => ({ type: "ints", value }) as const;
const int = (value: number) => ({ type: "int", value }) as const;

/** Grows a network of 4-channel 4 x 4 maps, one operator at a time, with values of random earlier ones as second operands. */
class Network {
  private readonly nodes: Node[] = [];
  private readonly types = new Map<string, TensorType>([["x", { dtype: "float32", shape: [1, 4, 4, 4] }]]);
  private readonly constants = new Map<string, Tensor>();
  private readonly maps = ["x"];

  constructor(private readonly random: () => number) {}

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.random() * list.length)];
  }

  constant(tensor: Tensor): string {
    const name = `c${this.constants.size}`;
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  weights(...shape: number[]): string {
    return this.constant(
      floatTensor(
        shape,
        Array.from({ length: elementCount(shape) }, () => this.random() - 0.4),
      ),
    );
  }

  add(op: string, inputs: string[], attributes: Attributes = {}): string {
    const name = `${op}${this.nodes.length}`;
    this.nodes.push({ name, op, domain: "", inputs, outputs: [`${name}_y`], attributes, origins: [name] });
    return `${name}_y`;
  }

  /** A constant that broadcasts over a map without widening it. */
  operand(): string {
    return this.weights(...this.pick([[], [1], [4, 1, 1], [1, 4, 1, 1], [4], [1, 1, 4], [1, 1, 4, 4], [1, 4, 4, 4]]));
  }

  readonly steps: readonly ((x: string) => string)[] = [
    (x) => this.add("Conv", [x, this.weights(4, 4, 1, 1), ...this.pick([[], [this.weights(4)]])]),
    (x) => this.add("Conv", [x, this.weights(4, 2, 3, 3), this.weights(4)], { group: int(2), pads: ints(1, 1, 1, 1) }),
    (x) => this.add("ConvTranspose", [x, this.weights(4, 2, 1, 1)], { group: int(2) }),
    (x) => this.add("MatMul", [x, this.weights(4, 4)]),
    (x) =>
      this.add("BatchNormalization", [x, this.weights(4), this.weights(4), this.weights(4), this.constant(floatTensor([4], [1, 2, 3, 4]))]),
    (x) => this.add(this.pick(["Relu", "Sigmoid", "HardSwish", "Abs", "Identity", "Dropout", "Tanh"]), [x]),
    (x) => this.add("Clip", [x, "", this.weights()]),
    (x) => this.add(this.pick(["Add", "Mul", "Sub"]), this.pick([true, false]) ? [x, this.operand()] : [this.operand(), x]),
    (x) => this.add("Div", [x, this.constant(floatTensor([4, 1, 1], [1, 2, 4, 8]))]),
    (x) => this.add(this.pick(["Add", "Mul", "Sub", "Max"]), [x, this.pick(this.maps)]),
    (x) => this.add("Transpose", [x], { perm: this.pick([ints(0, 1, 3, 2), ints(0, 1, 2, 3), ints(0, 2, 1, 3), ints(0, 3, 2, 1)]) }),
    (x) => this.add("Reshape", [this.add("Flatten", [x]), this.constant(int64Tensor([4], [1, 4, 4, -1]))]),
    (x) => this.add("Mul", [x, this.add("Sigmoid", [this.add("GlobalAveragePool", [x])])]),
    (x) => this.add("Mul", [this.add("Sigmoid", [x]), x]),
    (x) => this.add("Mul", [x, this.add("Tanh", [this.add("Softplus", [x])])]),
    (x) => this.add("MaxPool", [x], { kernel_shape: ints(3, 3), pads: ints(1, 1, 1, 1) }),
    (x) => this.add("Concat", [x], { axis: int(1) }),
  ];

  grow(count: number): Graph {
    for (let step = 0; step < count; step++) this.maps.push(this.pick(this.steps)(this.pick(this.maps.slice(-2))));
    const outputs = [...new Set([this.maps.at(-1)!, this.pick(this.maps.slice(1))])];
    const graph = { name: "random", inputs: ["x"], outputs, nodes: this.nodes, types: this.types, constants: this.constants };
    return inferTypes(graph);
  }
}

/** What a graph of some precision must hold, whatever it is made from. */
function expectPrecision(graph: Graph, words: readonly string[]): void {
  const precision = parsePrecision(words, undefined);
  const result = applyPrecision(graph, precision, recordOf);
  expect(verifyGraph(result)).toEqual([]);
  for (const name of [...graph.inputs, ...graph.outputs]) expect(result.types.get(name)).toEqual(graph.types.get(name));
  const dtype = (value: string) => result.types.get(value)?.dtype;
  for (const node of result.nodes) {
    const kind = recordOf(node.op, node.domain)?.lowering?.kind;
    if (kind === "convolution" || kind === "matmul")
      expect(node.inputs.slice(0, 2).map(dtype)).toEqual([precision.matmult, precision.matmult]);
    if (kind === "movement") expect(dtype(node.inputs[0])).toBe(dtype(node.outputs[0]));
    const inside = precision.tensors !== "float32" && node.op !== "Cast" && dtype(node.outputs[0]) === "float32";
    // Only statistics (what a reduction gives to operators that convert what they read), and an output's Reshape after its Cast.
    const isLast = node.op === "Reshape" && graph.outputs.includes(node.outputs[0]);
    expect(inside && kind !== "reduce" && !isLast, node.name).toBe(false);
  }
}

describe("random networks", () => {
  test.each(Array.from({ length: 150 }, (_, seed) => seed))("seed %i", async (seed) => {
    const random = seeded(seed);
    const network = new Network(random);
    const graph = network.grow(2 + Math.floor(random() * 14));
    const normalised = await normalise(graph, {
      ...options(),
      observe: (pass, after) => expect(verifyGraph(after), pass).toEqual([]),
    });
    expect(printGraph(await normalise(graph, options()))).toBe(printGraph(normalised));
    for (const words of [["all"], ["none"], ["fp32-cast-all-fp16"], ["fp32-cast-matmult-fp16"]]) expectPrecision(normalised, words);
    const x = floatTensor(
      [1, 4, 4, 4],
      Array.from({ length: 64 }, () => 2 * random() - 1),
    );
    const inputs = new Map([["x", x]]);
    const [before, after] = [await runGraph(graph, inputs), await runGraph(normalised, inputs)];
    for (const [name, tensor] of before) {
      const [expected, seen] = [toFloat32(tensor), toFloat32(after.get(name)!)];
      const scale = Math.max(1e-3, ...expected.map(Math.abs));
      for (let index = 0; index < expected.length; index++) expect(Math.abs(seen[index] - expected[index]) / scale).toBeLessThan(1e-4);
    }
  });
});
