import { describe, expect, test } from "vitest";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { floatTensor, type Tensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { createHostSession, fromOrtTensor, runGraph, toOrtTensor } from "../../src/host/index.js";

const tensors: Record<string, Tensor> = {
  float32: { dtype: "float32", shape: [2], data: Float32Array.of(1.5, -0) },
  float64: { dtype: "float64", shape: [1, 2], data: Float64Array.of(1.5, Number.NaN) },
  float16: { dtype: "float16", shape: [2], data: Uint16Array.of(0x3c00, 0xfc00) },
  int64: { dtype: "int64", shape: [1], data: BigInt64Array.of(-(2n ** 62n)) },
  uint64: { dtype: "uint64", shape: [1], data: BigUint64Array.of(2n ** 63n) },
  int8: { dtype: "int8", shape: [2], data: Int8Array.of(-128, 127) },
  bool: { dtype: "bool", shape: [2], data: Uint8Array.of(0, 1) },
  string: { dtype: "string", shape: [2], data: ["", "ä"] },
  empty: { dtype: "int32", shape: [0, 3], data: new Int32Array(0) },
  scalar: { dtype: "uint16", shape: [], data: Uint16Array.of(7) },
};

describe("tensors to ONNX Runtime and back", () => {
  test.each(Object.keys(tensors))("%s", (name) => {
    expect(fromOrtTensor(name, toOrtTensor(name, tensors[name]))).toEqual(tensors[name]);
  });
  test.each(Object.keys(tensors))("%s through a model", async (name) => {
    const { dtype, shape } = tensors[name];
    const graph = parseGraph(`graph "main" { input %x: ${dtype}[${shape.join(", ")}]
      %y: ${dtype}[${shape.join(", ")}] = Identity(%x) @copy
      output %y }`);
    expect((await runGraph(graph, new Map([["x", tensors[name]]]))).get("y")).toEqual(tensors[name]);
  });
  test("an operator that has a kernel for an older opset alone, in a graph with constants", async () => {
    const graph = parseGraph(`graph "main" { input %x: float32[1, 1, 2]
      const %axes: int64[2] = [1, 2]
      %pool: float32[1, 1, 1] = GlobalLpPool(%x) @pool
      %y: float32[1] = Squeeze(%pool, %axes) @squeeze
      output %y }`);
    const inputs = new Map([["x", floatTensor([1, 1, 2], [3, 4])]]);
    const session = await createHostSession(writeOnnx(graph));
    expect((await session.run(inputs)).get("y")).toEqual(floatTensor([1], [5]));
    await session.dispose();
    expect((await runGraph(graph, inputs)).get("y")).toEqual(floatTensor([1], [5]));
  });
  test("a fused step on an element type that has no kernel", async () => {
    const graph = parseGraph(`graph "main" { input %x: float32[2]
      const %one: float32[] = [1]
      const %mask: bool[2] = [true, false]
      const %no: bool[] = [false]
      %y: bool[2] = Greater(%x, %one, %mask, %no) @greater then Where(#2, _, #3)
      output %y }`);
    expect((await runGraph(graph, new Map([["x", floatTensor([2], [3, 4])]]))).get("y")?.data).toEqual(Uint8Array.of(1, 0));
  });
  test("a graph that ONNX Runtime's optimiser breaks", async () => {
    const graph = parseGraph(`graph "main" { input %x: int8[1, 2]
      const %scale: float32[] = [0.5]
      const %zero: int8[] = [1]
      const %shape: int64[2] = [2, 1]
      %wide: float32[1, 2] = DequantizeLinear(%x, %scale, %zero) @wide
      %y: float32[2, 1] = Reshape(%wide, %shape) @reshape
      output %y }`);
    const session = await createHostSession(graph);
    const x: Tensor = { dtype: "int8", shape: [1, 2], data: Int8Array.of(3, -1) };
    expect((await session.run(new Map([["x", x]]))).get("y")).toEqual(floatTensor([2, 1], [1, -1]));
    await session.dispose();
  });
  test("what cannot cross is named", () => {
    const data = new Uint8Array(1);
    expect(() => toOrtTensor("x", { dtype: "float8e5m2", shape: [1], data })).toThrow(/NCC0851: value x: element type float8e5m2/);
  });
  test("an output that cannot cross is refused before it is fetched", async () => {
    const graph = parseGraph(`graph "main" { input %x: float32[2]
      %y: int4[2] = Cast(%x) {to = 22} @narrow
      output %y }`);
    await expect(runGraph(graph, new Map([["x", floatTensor([2], [1, 2])]]))).rejects.toThrow(/NCC0851: value y: element type int4/);
  });
  test("a step of an epilogue without a kernel is computed in a wider type", async () => {
    const graph = parseGraph(`graph "main" { input %x: bool[2] input %a: bool[2] input %b: bool[2]
      %n: bool[2] = Not(%x) @not
      %y: bool[2] = Where(%n, %a, %b) @choice
      output %y }`);
    const [choice, not] = [graph.nodes[1], graph.nodes[0]];
    const step = { op: choice.op, attributes: {}, operands: [null, 1, 2], origins: [] };
    const fused = { ...graph, nodes: [{ ...not, inputs: ["x", "a", "b"], outputs: ["y"], epilogue: [step] }] };
    const bools = (...data: number[]): Tensor => ({ dtype: "bool", shape: [2], data: Uint8Array.from(data) });
    const feeds = new Map([
      ["x", bools(1, 0)],
      ["a", bools(1, 1)],
      ["b", bools(0, 0)],
    ]);
    expect((await runGraph(fused, feeds)).get("y")).toEqual(bools(0, 1));
  });
  test("a branch that does not fit the extents, and is not taken, is no fault", async () => {
    const graph = parseGraph(`graph "main" { input %x: float32[2, 3]
      input %flag: bool[]
      %y: float32[*] = If(%flag) {then_branch = graph "t" {
          const %axes: int64[1] = [0]
          %squeezed: float32[3] = Squeeze(%x, %axes) @squeeze
          output %squeezed
        }, else_branch = graph "e" {
          %z: float32[2, 3] = Neg(%x) @negate
          output %z
        }} @if
      output %y }`);
    const flag: Tensor = { dtype: "bool", shape: [], data: Uint8Array.of(0) };
    const x = floatTensor([2, 3], [1, 2, 3, 4, 5, 6]);
    const results = await runGraph(
      graph,
      new Map([
        ["x", x],
        ["flag", flag],
      ]),
    );
    expect(results.get("y")).toEqual(floatTensor([2, 3], [-1, -2, -3, -4, -5, -6]));
  });
  test("a view of a larger buffer crosses alone", () => {
    const data = new Float32Array([1, 2, 3, 4]).subarray(1, 3);
    expect(fromOrtTensor("x", toOrtTensor("x", { dtype: "float32", shape: [2], data })).data).toEqual(Float32Array.of(2, 3));
  });
});

describe("ONNX Runtime's refusals", () => {
  const graphOf = (node: string) => parseGraph(`graph "main" { input %x: float32[2, 3]\n %y: float32[*] = ${node}\n output %y }`);
  test("an unknown operator is named", async () => {
    await expect(createHostSession(graphOf("Frobnicate(%x) @f"))).rejects.toThrow(/NCC0551: .*operator Frobnicate/);
  });
  test("a model that is none", async () => {
    await expect(createHostSession(Uint8Array.of(1, 2, 3))).rejects.toThrow(/NCC0553/);
  });
  test("a missing kernel names its node", async () => {
    const graph = parseGraph(
      `graph "main" { input %x: float64[1, 2, 3]\n %y: float64[*] = LpPool(%x) {kernel_shape = [1]} @r\n output %y }`,
    );
    await expect(createHostSession(graph)).rejects.toThrow(/NCC0552: node r: .*LpPool/);
  });
  test("a missing input", async () => {
    const session = await createHostSession(graphOf("Relu(%x) @relu"));
    await expect(session.run(new Map())).rejects.toThrow(/NCC0852: .*input x is missing/);
    await session.dispose();
  });
  test("an input of another rank", async () => {
    const session = await createHostSession(graphOf("Relu(%x) @relu"));
    const x: Tensor = { dtype: "float32", shape: [6], data: new Float32Array(6) };
    await expect(session.run(new Map([["x", x]]))).rejects.toThrow(/NCC0853/);
    await session.dispose();
  });
  test("a fault while running names the node", async () => {
    const graph = parseGraph(`graph "main" { input %x: float32[2, 3]\n input %s: int64[1]
      %y: float32[*] = Reshape(%x, %s) @shape_it\n output %y }`);
    const inputs = new Map<string, Tensor>([
      ["x", { dtype: "float32", shape: [2, 3], data: new Float32Array(6) }],
      ["s", { dtype: "int64", shape: [1], data: BigInt64Array.of(5n) }],
    ]);
    await expect(runGraph(graph, inputs)).rejects.toThrow(/NCC0854: node shape_it \(Reshape\)/);
  });
});
