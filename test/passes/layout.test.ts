/** The layout pass: its choice is a minimum, and it keeps the values of random networks. */
import { describe, expect, test } from "vitest";
import type { Attributes, Graph, Node, TensorType } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { elementCount, floatTensor, int64Tensor, type Tensor, toFloat32 } from "../../src/graph/tensor.js";
import { printGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { runGraph } from "../../src/host/index.js";
import { inferTypes } from "../../src/operators/index.js";
import { cancelTransposes } from "../../src/passes/layout/index.js";
import { CutProblem } from "../../src/passes/layout/min_cut.js";
import { options } from "./support.js";

describe("minimum cuts", () => {
  test("cost what the best of all choices costs", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seeded(seed);
      const number = (limit: number) => Math.floor(random() * limit);
      const count = 2 + number(6);
      const choices = Array.from({ length: count }, () => [number(6), number(6)]);
      const pairs = Array.from({ length: number(12) }, () => [number(count), number(count), number(6)]);
      const cost = (moved: readonly boolean[]) =>
        choices.reduce((sum, [stays, moves], thing) => sum + (moved[thing] ? moves : stays), 0) +
        pairs.reduce((sum, [first, second, amount]) => sum + (!moved[first] && moved[second] ? amount : 0), 0);
      const problem = new CutProblem(count);
      for (const [thing, [stays, moves]] of choices.entries()) problem.choice(thing, stays, moves);
      for (const [first, second, amount] of pairs) problem.difference(first, second, amount);
      const all = Array.from({ length: 2 ** count }, (_, bits) => choices.map((_, thing) => ((bits >> thing) & 1) === 1));
      expect(cost(problem.solve()), `seed ${seed}`).toBe(Math.min(...all.map(cost)));
    }
  });
});

const ints = (value: readonly number[]) => ({ type: "ints", value }) as const;
const int = (value: number) => ({ type: "int", value }) as const;

/** Grows a graph of rank-4 values with transposes here and there, one operator at a time. */
class Network {
  private readonly nodes: Node[] = [];
  private readonly types = new Map<string, TensorType>([["x", { dtype: "float32", shape: [2, 3, 4, 5] }]]);
  private readonly constants = new Map<string, Tensor>();
  private readonly shapes = new Map<string, readonly number[]>([["x", [2, 3, 4, 5]]]);

  constructor(private readonly random: () => number) {}

  private below = (limit: number) => Math.floor(this.random() * limit);
  private pick = <T>(list: readonly T[]): T => list[this.below(list.length)];

  private constant(tensor: Tensor): string {
    const name = `c${this.constants.size}`;
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  private list = (values: readonly number[]) => this.constant(int64Tensor([values.length], [...values]));

  private add(op: string, inputs: readonly string[], shape: readonly number[], attributes: Attributes = {}): string {
    const name = `${op}${this.nodes.length}`;
    this.nodes.push({ name, op, domain: "", inputs: [...inputs], outputs: [`${name}_y`], attributes, origins: [name] });
    this.shapes.set(`${name}_y`, shape);
    return `${name}_y`;
  }

  private step(): void {
    const [value, shape] = this.pick([...this.shapes].slice(-4));
    const axis = this.below(shape.length);
    const resized = (extent: number) => shape.map((other, at) => (at === axis ? extent : other));
    const same = [...this.shapes].filter(([, other]) => other.join() === shape.join()).map(([name]) => name);
    const weights = () =>
      this.constant(floatTensor(shape.slice(axis), Array.from({ length: elementCount(shape.slice(axis)) }, this.random)));
    const forms: (() => unknown)[] = [
      () => this.transpose(value, shape),
      () => this.transpose(value, shape),
      () => this.add("Relu", [value], shape),
      () => this.add("Add", [value, this.pick(same)], shape),
      () => this.add("Mul", [weights(), value], shape),
      () =>
        this.add("Concat", [value, this.pick(same)], resized(2 * shape[axis]), {
          axis: int(axis - (this.random() < 0.5 ? 0 : shape.length)),
        }),
      () => this.add("ReduceSum", [value, this.list([axis])], resized(1)),
      () => this.add("Softmax", [value], shape, { axis: int(axis) }),
      () => this.add("Slice", [value, ...[[0], [shape[axis]], [axis], [2]].map(this.list)], resized(Math.ceil(shape[axis] / 2))),
      () =>
        this.add(
          "Pad",
          [value, this.list([...shape.map((_, at) => (at === axis ? 1 : 0)), ...shape.map(() => 0)])],
          resized(shape[axis] + 1),
        ),
      () => this.add("Reshape", [value, this.list(shape)], shape),
      () => this.add("MaxPool", [value], shape, { kernel_shape: ints([1, 1]) }),
    ];
    this.pick(forms)();
  }

  private transpose(value: string, shape: readonly number[]): void {
    const permutation = this.pick([
      [0, 2, 3, 1],
      [0, 3, 1, 2],
      [0, 2, 1, 3],
      [1, 0, 2, 3],
    ]);
    this.add(
      "Transpose",
      [value],
      permutation.map((axis) => shape[axis]),
      { perm: ints(permutation) },
    );
  }

  grow(steps: number): Graph {
    for (let step = 0; step < steps; step++) this.step();
    const used = new Set(this.nodes.flatMap((node) => node.inputs));
    const outputs = this.nodes.map((node) => node.outputs[0]).filter((value) => !used.has(value) || this.random() < 0.1);
    const { nodes, types, constants } = this;
    return inferTypes({ name: "g", inputs: ["x"], outputs, nodes, types, constants });
  }
}

/** Elements that a graph's transposes move. */
function moved(graph: Graph): number {
  const shapes = graph.nodes.flatMap((node) => (node.op === "Transpose" ? [graph.types.get(node.outputs[0])?.shape ?? []] : []));
  return shapes.reduce((sum, shape) => sum + elementCount(shape.map(Number)), 0);
}

describe("transposes that cancel", () => {
  test("random graphs keep their values and types, and move no more than before", async () => {
    const x = floatTensor(
      [2, 3, 4, 5],
      Array.from({ length: 120 }, (_, index) => ((index * 37) % 41) / 20 - 1),
    );
    let [before, after] = [0, 0];
    for (let seed = 1; seed <= 60; seed++) {
      const graph = new Network(seeded(seed)).grow(4 + (seed % 12));
      const result = cancelTransposes(graph, options());
      expect(verifyGraph(result), `seed ${seed}`).toEqual([]);
      expect(result.outputs).toEqual(graph.outputs);
      const [wanted, got] = await Promise.all([graph, result].map((each) => runGraph(each, new Map([["x", x]]))));
      for (const [name, tensor] of wanted) {
        const own = got.get(name);
        expect(own?.shape, `seed ${seed} ${name}`).toEqual(tensor.shape);
        const [left, right] = [tensor, own ?? tensor].map(toFloat32);
        const worst = Math.max(0, ...left.map((value, index) => Math.abs(value - right[index])));
        if (worst > 1e-3) throw new Error(`seed ${seed}: ${name} is off by ${worst}\n${printGraph(graph)}\n${printGraph(result)}`);
      }
      expect(moved(result), `seed ${seed}`).toBeLessThanOrEqual(moved(graph));
      before += moved(graph);
      after += moved(result);
    }
    expect(after).toBeLessThan(0.85 * before);
  });
});
