import { expect, test } from "vitest";
import { convertTensorFlow } from "../../../src/frontend/tensorflow/convert/convert.js";
import type { FlatGraph } from "../../../src/frontend/tensorflow/flat.js";
import { floatTensor, toNumbers } from "../../../src/graph/tensor.js";
import { runGraph } from "../../../src/host/index.js";
import { constant, flatNode } from "./flat-build.js";

const float = { T: { type: "dtype", value: "float32" } } as const;
const rows = [
  [1, -2, 0.5, 3, 0, 1.5, -1, 2],
  [0, 1, 0, -1, 2, 0.25, 4, -3],
];

function graph(nodes: FlatGraph["nodes"], outputs: readonly string[], size = 8): FlatGraph {
  return {
    name: "spectrum",
    inputs: [{ key: "x", name: "x:0", value: { node: "x", output: 0 }, dtype: "float32", shape: [2, size] }],
    outputs: outputs.map((node) => ({ key: node, name: `${node}:0`, value: { node, output: 0 }, dtype: "float32", shape: undefined })),
    nodes: [flatNode("x", "Placeholder", []), ...nodes],
  };
}

async function run(flat: FlatGraph, x = rows): Promise<number[][]> {
  const converted = convertTensorFlow(flat).graph;
  const results = await runGraph(converted, new Map([["x:0", floatTensor([2, x[0].length], x.flat())]]));
  return flat.outputs.map(({ name }) => toNumbers(results.get(name)!));
}

const transform = (n: number) => [constant("n", [1], [n], "int32"), flatNode("f", "RFFT", ["x", "n"])];

function spectrum(row: readonly number[], n: number): { re: number; im: number }[] {
  return Array.from({ length: Math.floor(n / 2) + 1 }, (_, bin) => {
    const sum = (wave: (angle: number) => number) =>
      row.slice(0, n).reduce((total, value, k) => total + value * wave((2 * Math.PI * bin * k) / n), 0);
    return { re: sum(Math.cos), im: -sum(Math.sin) };
  });
}

const close = (seen: readonly number[], wanted: readonly number[]) => {
  expect(seen.length).toBe(wanted.length);
  for (const [index, value] of wanted.entries()) expect(seen[index]).toBeCloseTo(value, 4);
};

test.each([8, 6, 11])("the spectrum of real rows, cut or filled to %i", async (n) => {
  const parts = ["ComplexAbs", "Real", "Imag"].map((op) => flatNode(op, op, ["f"]));
  const [absolute, real, imaginary] = await run(graph([...transform(n), ...parts], ["ComplexAbs", "Real", "Imag"]));
  const wanted = rows.flatMap((row) => spectrum(row, n));
  close(
    absolute,
    wanted.map(({ re, im }) => Math.hypot(re, im)),
  );
  close(
    real,
    wanted.map(({ re }) => re),
  );
  close(
    imaginary,
    wanted.map(({ im }) => im),
  );
});

test.each([8, 11])("back to %i real numbers, by way of a product and a movement", async (n) => {
  const axes = constant("axes", [2], [1, 0], "int32");
  const [y] = await run(
    graph(
      [
        ...transform(n),
        constant("two", [], [2], "float32"),
        constant("none", [], [0], "float32"),
        flatNode("factor", "Complex", ["two", "none"]),
        flatNode("doubled", "Mul", ["f", "factor"]),
        axes,
        flatNode("turned", "Transpose", ["doubled", "axes"]),
        flatNode("back", "Transpose", ["turned", "axes"]),
        flatNode("y", "IRFFT", ["back", "n"]),
      ],
      ["y"],
    ),
  );
  close(
    y,
    rows.flatMap((row) => Array.from({ length: n }, (_, k) => 2 * (row[k] ?? 0))),
  );
});

test("complex outputs, and operators that have no complex form, are refused", () => {
  expect(() => convertTensorFlow(graph(transform(8), ["f"]))).toThrow(/NCC0211: output f:0: is a complex tensor/);
  expect(() => convertTensorFlow(graph([...transform(8), flatNode("y", "Tanh", ["f"], float)], ["y"]))).toThrow(
    /NCC0291.*y.*complex numbers/,
  );
});
