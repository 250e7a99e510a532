import ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/index.js";
import type { Graph } from "../../src/graph/graph.js";
import { allocateData, type DType } from "../../src/graph/tensor.js";
import { parseGraph, printGraph } from "../../src/graph/text.js";
import { importBytes, runOnnx } from "./build.js";

describe("writing ONNX", () => {
  it("expands epilogues into nodes", async () => {
    const graph = parseGraph(`graph "fused" {
      input %x: float32[2, 2]
      input %r: float32[2, 2]
      const %w: float32[2, 2] = [1, 2, 3, 4]
      const %bias: float32[2] = [10, 20]
      %y: float32[2, 2] = Gemm(%x, %w, _, %bias, %r) @gemm then Add(_, #3) from ["bias"] then Sub(#4, _) then Relu(_)
      output %y
    }`);
    const feeds = [
      new ort.Tensor("float32", Float32Array.of(1, 2, 3, 4), [2, 2]),
      new ort.Tensor("float32", Float32Array.of(20, 20, 20, 60), [2, 2]),
    ];
    const [y] = await runOnnx(writeOnnx(graph), feeds);
    expect([...y.data]).toEqual([3, 0, 0, 18]);
    const written = await importBytes(writeOnnx(graph));
    expect(written.nodes.map(({ op, name, inputs }) => `${op} ${name}(${inputs})`)).toEqual([
      "Gemm gemm(x,w)",
      "Add gemm_then_0(y_stored,bias)",
      "Sub gemm_then_1(r,y_stored_1)",
      "Relu gemm_then_2(y_stored_2)",
    ]);
  });

  it("keeps every attribute, type and open extent, and is deterministic", async () => {
    const text = `graph "kinds" {
  input %x: float32[N, 4]
  input %h: bfloat16[2]
  const %big: int64[2] = [9223372036854775807, -9223372036854775808]
  const %half: float16[2] = [1.5, -inf]
  const %nibbles: int4[3] = [-8, 7, 1]
  %y: float32[N, 4] = my.domain::Op(%x, _, %h, %big, %half, %nibbles) {a = 3, b = 0.1f, c = "text", d = [1, -2], e = [0.5, 1.0], f = ["a", "b"], g = int64[1] [7], h = ints[], i = floats[], j = strings[], k = -9007199254740991} @"odd name"
  output %y
}
`;
    const graph = parseGraph(text);
    const bytes = writeOnnx(graph);
    expect(printGraph(await importBytes(bytes))).toBe(text);
    expect(writeOnnx(parseGraph(text))).toEqual(bytes);
  });

  it("keeps the values of every element type that ONNX Runtime takes", async () => {
    const types: DType[] = [
      "float32",
      "float16",
      "float64",
      "int8",
      "uint8",
      "int16",
      "uint16",
      "int32",
      "uint32",
      "int64",
      "uint64",
      "bool",
    ];
    for (const dtype of types) {
      const data = allocateData(dtype, 3);
      data[1] = data instanceof BigInt64Array || data instanceof BigUint64Array ? 1n : 1;
      const type = { dtype, shape: [3] };
      const node = { name: "copy", op: "Identity", domain: "", inputs: ["k"], outputs: ["y"], attributes: {}, origins: ["copy"] };
      const graph: Graph = {
        name: "g",
        inputs: [],
        outputs: ["y"],
        nodes: [node],
        types: new Map([
          ["k", type],
          ["y", type],
        ]),
        constants: new Map([["k", { ...type, data }]]),
      };
      const [y] = await runOnnx(writeOnnx(graph), []);
      expect(y.type).toBe(dtype);
      expect([...y.data].map(Number)).toEqual([...data].map(Number));
    }
  });
});
