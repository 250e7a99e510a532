import { expect, it } from "vitest";
import { type Graph, staticType } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { floatTensor, int64Tensor, toNumbers } from "../../src/graph/tensor.js";
import { runGraph } from "../../src/host/index.js";
import { lower, type Relayout } from "../../src/lower/index.js";
import type { Step } from "../../src/lower/lowered.js";
import { inferTypes, recordOf } from "../../src/operators/index.js";
import { applyPrecision, parsePrecision } from "../../src/passes/index.js";
import { GraphBuilder, randomTensor } from "./build.js";
import { Execution } from "./execute.js";

const HEADS = 4;
const TOKENS = 40;
const WIDTH = 128;

/** Normalised rows, then self-attention over them, as exporters write it; `depth` is that of a head. */
function attention(depth: number): Graph {
  const random = seeded(3);
  const builder = new GraphBuilder();
  const inner = HEADS * depth;
  const x = builder.input("x", [1, TOKENS, WIDTH]);
  const [mean] = builder.node("ReduceMean", [x, builder.constant(int64Tensor([1], [-1]))]);
  const [centred] = builder.node("Sub", [x, mean]);
  const weights = (rows: number, columns: number) => {
    const tensor = randomTensor([rows, columns], random);
    return builder.constant({ ...tensor, data: Float32Array.from(toNumbers(tensor), (value) => value / 16) });
  };
  const project = (perm: number[]) => {
    const [product] = builder.node("MatMul", [centred, weights(WIDTH, inner)]);
    const [split] = builder.node("Reshape", [product, builder.constant(int64Tensor([4], [1, TOKENS, HEADS, depth]))]);
    return builder.node("Transpose", [split], { perm })[0];
  };
  const [query, key, value] = [project([0, 2, 1, 3]), project([0, 2, 3, 1]), project([0, 2, 1, 3])];
  const [scores] = builder.node("MatMul", [query, key]);
  const [shares] = builder.node("Softmax", [scores], { axis: -1 });
  const [mixed] = builder.node("MatMul", [shares, value]);
  const [turned] = builder.node("Transpose", [mixed], { perm: [0, 2, 1, 3] });
  const [joined] = builder.node("Reshape", [turned, builder.constant(int64Tensor([3], [1, TOKENS, inner]))]);
  const [out] = builder.node("MatMul", [joined, weights(inner, WIDTH)]);
  return inferTypes(builder.finish([out]));
}

function inBfloat16(graph: Graph): Graph {
  return applyPrecision(graph, parsePrecision(["all"], undefined), recordOf);
}

/** Between chip and DRAM, weights aside; and by engine. */
function histogram(steps: readonly Step[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { operation } of steps) {
    if (operation.kind === "dma" && operation.in.buffer.includes("weights")) continue;
    counts[operation.kind] = (counts[operation.kind] ?? 0) + 1;
  }
  return counts;
}

async function cosine(graph: Graph, lowered: Graph, relayout?: Relayout): Promise<number> {
  const input = randomTensor(staticType(graph, "x").shape, seeded(8));
  const [wanted] = (await runGraph(graph, new Map([["x", input]]))).values();
  const outputs = new Execution(lower(lowered, undefined, relayout)).run(new Map([["x", toNumbers(input)]]));
  const got = [...outputs.values()][0];
  const [a, b] = [toNumbers(wanted), [...got]];
  const dot = (p: readonly number[], q: readonly number[]) => p.reduce((sum, value, index) => sum + value * q[index], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

it("attention stays on chip: the input comes and the result goes, each with one DMA", async () => {
  const graph = attention(32);
  const lowered = inBfloat16(graph);
  expect(histogram(lower(lowered).infer)).toMatchInlineSnapshot(`
    {
      "activation": 2,
      "copy": 18,
      "dma": 2,
      "matmul": 15,
      "reduce": 3,
      "tensor_scalar": 1,
      "tensor_tensor": 3,
      "transpose": 6,
    }
  `);
  expect(await cosine(graph, lowered)).toBeGreaterThan(0.9999);
});

it("heads that cross tiles of partitions, or do not begin at a quadrant", async () => {
  for (const depth of [48, 20, 96]) {
    const graph = attention(depth);
    expect(await cosine(graph, inBfloat16(graph)), `${depth} to a head`).toBeGreaterThan(0.9999);
  }
});

it("FP32 values change their layout through 16 bits, or bit by bit", async () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", [1, 24, 40]);
  const sum = (value: string, axis: number) => {
    const [summed] = builder.node("ReduceSum", [value, builder.constant(int64Tensor([1], [axis]))], { keepdims: 0 });
    return summed;
  };
  const [scaled] = builder.node("Mul", [x, builder.constant(floatTensor([], Float32Array.of(0.3)))]);
  const [sums] = builder.node("Concat", [sum(scaled, 1), sum(scaled, 2)], { axis: 1 });
  const graph = inferTypes(builder.finish([sums]));
  const exact = await cosine(graph, graph, { fast: false, type: "bfloat16" });
  const rounded = await cosine(graph, graph, { fast: true, type: "bfloat16" });
  expect(1 - exact).toBeLessThan(1e-10);
  expect(1 - rounded).toBeGreaterThan(1e-8);
  expect(rounded).toBeGreaterThan(0.9999);
});
