import { describe, expect, test } from "vitest";
import { UserError } from "../../src/diagnostics/diagnostic.js";
import { int64Tensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { bind } from "../../src/passes/bind.js";
import { type BindOptions, parseIoConfig } from "../../src/passes/index.js";

function graph(...inputs: string[]) {
  const names = inputs.map((input) => input.split(":")[0]);
  return parseGraph(
    `graph "main" { ${inputs.map((input) => `input %${input}\n`).join("")}${names.map((name) => `output %${name}\n`).join("")} }`,
  );
}

function shapes(inputs: string[], options: BindOptions) {
  const bound = bind(graph(...inputs), { bind: options });
  return Object.fromEntries(bound.inputs.map((name) => [name, bound.types.get(name)?.shape]));
}

function fault(inputs: string[], options: BindOptions): string {
  try {
    bind(graph(...inputs), { bind: options });
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  return "no fault";
}

const given = (entries: Record<string, number[]>): BindOptions => ({ inputShapes: new Map(Object.entries(entries)) });

describe("binding open dimensions", () => {
  test("static inputs need nothing, and take what they have", () => {
    expect(shapes(["x: float32[2, 3]"], {})).toEqual({ x: [2, 3] });
    expect(shapes(["x: float32[2, 3]"], { batchSize: 2, ...given({ x: [2, 3] }) })).toEqual({ x: [2, 3] });
  });
  test("the batch size is every input's open first extent", () => {
    expect(shapes(["x: float32[N, 3]", "y: float32[M]", "z: float32[7, 2]"], { batchSize: 4 })).toEqual({ x: [4, 3], y: [4], z: [7, 2] });
  });
  test("explicit shapes come before the batch size, and a name has one extent", () => {
    expect(shapes(["x: float32[N, 3]", "y: float32[N, L]", "z: float32[B, L]"], { batchSize: 4, ...given({ y: [2, 5] }) })).toEqual({
      x: [2, 3],
      y: [2, 5],
      z: [4, 5],
    });
  });
  test("an explicit shape gives an unknown rank", () => {
    expect(shapes(["x: float32[*]"], given({ x: [2, 5] }))).toEqual({ x: [2, 5] });
  });
  test("the io-config gives shapes, under TensorFlow's names too", () => {
    const ioConfig = parseIoConfig({ inputs: { "x:0": [[2, 5], "float32"] }, outputs: ["x:0"] });
    expect(shapes(["x: float32[N, L]"], { ioConfig })).toEqual({ x: [2, 5] });
  });
  test("an input with a value becomes a constant, and its shape counts", () => {
    const value = int64Tensor([2], [0, 1]);
    const bound = bind(graph("x: float32[N, 3]", "axes: int64[A]"), { bind: { batchSize: 4, inputValues: new Map([["axes", value]]) } });
    expect(bound.inputs).toEqual(["x"]);
    expect(bound.constants.get("axes")).toBe(value);
    expect(bound.types.get("axes")).toEqual({ dtype: "int64", shape: [2] });
  });
  test.each([
    ["NCC0351", ["image: float32[N]"], given({ imag: [1] }), "did you mean image?"],
    ["NCC0352", ["x: float32[N, 3]"], given({ x: [1] }), "[1] has 1 dimensions; the model's input [N, 3] has 2"],
    ["NCC0353", ["x: float32[N]"], given({ x: [0] }), "extent 0"],
    ["NCC0354", ["x: int64[3]"], { inputValues: new Map([["x", int64Tensor([2], [0, 1])]]) }, "dimension 0 is 3"],
    ["NCC0372", ["x: float32[2]"], { inputValues: new Map([["x", int64Tensor([2], [0, 1])]]) }, "dtype int64"],
    ["NCC0353", ["x: float32[N]"], given({ x: [1.5] }), "extent 1.5"],
    ["NCC0354", ["x: float32[N, 3]"], given({ x: [1, 4] }), "dimension 1 is 3"],
    ["NCC0355", ["x: float32[N]", "y: float32[N]"], given({ x: [1], y: [2] }), "N is 1 by --input-shape x but 2 by --input-shape y"],
    [
      "NCC0356",
      ["x: float32[N, 3]"],
      {},
      "x [N, 3]; a NeuronCore program has fixed shapes: bind them with --batch-size N, or --input-shape x=N,3",
    ],
    ["NCC0356", ["x: float32[N, H]", "y: float32[*]"], { batchSize: 1 }, "x [1, H], y (rank unknown)"],
    ["NCC0357", ["x: float32[2, 3]"], { batchSize: 4 }, "x [2, 3]"],
    ["NCC0358", ["x: float32[N]"], { batchSize: 0 }, "--batch-size 0"],
    ["NCC0358", ["x: float32[N]"], { batchSize: Number.NaN }, "NaN"],
    ["NCC0359", ["x: float32[N]"], { ...given({ x: [1] }), ioConfig: parseIoConfig({ inputs: { x: [[2], "float32"] } }) }, "[1]"],
    ["NCC0361", ["x: float32[N]"], { ioConfig: parseIoConfig({ inputs: { x: [[2], "int32"] } }) }, "int32"],
    ["NCC0362", ["x: float32[1]"], { ioConfig: parseIoConfig({ outputs: ["z"] }) }, "no output z"],
  ] as const)("%s: %j with %o", (id, inputs, options, part) => {
    const message = fault([...inputs], options);
    expect(message).toContain(id);
    expect(message).toContain(part);
  });
  test.each([
    [[], "NCC0363"],
    [{ inputs: [] }, "NCC0363"],
    [{ inputs: { x: [1, 2] } }, "NCC0363"],
    [{ inputs: { x: [["1"], "float32"] } }, "NCC0363"],
    [{ inputs: { x: [[1], 3] } }, "NCC0363"],
    [{ outputs: [1] }, "NCC0363"],
    [{ inputs: { q: [[1], "float33"] } }, "NCC0360"],
  ])("io-config %j is refused", (value, id) => {
    expect(() => parseIoConfig(value)).toThrow(id);
  });
});
