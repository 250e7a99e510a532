/** Each upgrade rule against ONNX Runtime, which runs the old form itself. */
import type { onnx as Onnx } from "onnx-proto";
import { describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/index.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { body, float, floatInit, floats, importBytes, intInit, model, node, randomFloats, runOnnx, value } from "./build.js";

interface Case {
  readonly what: string;
  readonly opset: number;
  readonly node: Onnx.INodeProto;
  readonly shape: readonly number[];
  readonly initializer?: Onnx.ITensorProto[];
  /** The operators after import. */
  readonly ops: string;
}

const cases: readonly Case[] = [
  {
    what: "Slice's attributes",
    opset: 9,
    node: node("Slice", ["x"], ["y"], { starts: [1, 0], ends: [3, 2], axes: [0, 2] }),
    shape: [4, 3, 5],
    ops: "Slice",
  },
  { what: "Squeeze's axes", opset: 11, node: node("Squeeze", ["x"], ["y"], { axes: [0, 2] }), shape: [1, 3, 1], ops: "Squeeze" },
  { what: "Unsqueeze's axes", opset: 11, node: node("Unsqueeze", ["x"], ["y"], { axes: [0] }), shape: [2, 3], ops: "Unsqueeze" },
  {
    what: "ReduceSum's axes",
    opset: 12,
    node: node("ReduceSum", ["x"], ["y"], { axes: [1], keepdims: 0 }),
    shape: [2, 3],
    ops: "ReduceSum",
  },
  { what: "ReduceMean's axes", opset: 13, node: node("ReduceMean", ["x"], ["y"], { axes: [-1] }), shape: [2, 3], ops: "ReduceMean" },
  { what: "ReduceMax without axes", opset: 13, node: node("ReduceMax", ["x"], ["y"]), shape: [2, 3], ops: "ReduceMax" },
  { what: "Clip's bounds", opset: 6, node: node("Clip", ["x"], ["y"], { min: float(-0.5), max: float(0.5) }), shape: [9], ops: "Clip" },
  { what: "Clip's upper bound alone", opset: 10, node: node("Clip", ["x"], ["y"], { max: float(0.5) }), shape: [9], ops: "Clip" },
  {
    what: "Pad's attributes",
    opset: 10,
    node: node("Pad", ["x"], ["y"], { pads: [1, 0, 0, 2], value: float(1.5) }),
    shape: [2, 3],
    ops: "Pad",
  },
  { what: "Split's sizes", opset: 11, node: node("Split", ["x"], ["y", "z"], { split: [1, 3], axis: 1 }), shape: [2, 4], ops: "Split" },
  { what: "Split into equal parts", opset: 13, node: node("Split", ["x"], ["y", "z"], { axis: 1 }), shape: [2, 4], ops: "Split" },
  { what: "TopK's k", opset: 9, node: node("TopK", ["x"], ["y", "i"], { k: 2 }), shape: [2, 4], ops: "TopK" },
  { what: "Dropout's ratio", opset: 10, node: node("Dropout", ["x"], ["y"], { ratio: float(0.3) }), shape: [4], ops: "Dropout" },
  { what: "Softmax over the last axis", opset: 11, node: node("Softmax", ["x"], ["y"], { axis: 2 }), shape: [2, 3, 4], ops: "Softmax" },
  { what: "Softmax over a matrix", opset: 11, node: node("Softmax", ["x"], ["y"]), shape: [2, 3, 4], ops: "Shape Flatten Softmax Reshape" },
  {
    what: "LogSoftmax over all",
    opset: 11,
    node: node("LogSoftmax", ["x"], ["y"], { axis: 0 }),
    shape: [2, 3],
    ops: "Shape Flatten LogSoftmax Reshape",
  },
  {
    what: "Hardmax over a matrix",
    opset: 12,
    node: node("Hardmax", ["x"], ["y"], { axis: 1 }),
    shape: [2, 3, 4],
    ops: "Shape Flatten Hardmax Reshape",
  },
  {
    what: "Upsample's scales attribute",
    opset: 8,
    node: node("Upsample", ["x"], ["y"], { scales: floats(1, 1, 2, 3) }),
    shape: [1, 2, 3, 3],
    ops: "Resize",
  },
  {
    what: "Upsample, linear",
    opset: 9,
    node: node("Upsample", ["x", "s"], ["y"], { mode: "linear" }),
    shape: [1, 2, 3, 4],
    initializer: [floatInit("s", [4], [1, 1, 2, 2])],
    ops: "Resize",
  },
  {
    what: "Resize 10, larger",
    opset: 10,
    node: node("Resize", ["x", "s"], ["y"]),
    shape: [1, 1, 3, 4],
    initializer: [floatInit("s", [4], [1, 1, 2.5, 1.5])],
    ops: "Resize",
  },
  {
    what: "Resize 10, smaller",
    opset: 10,
    node: node("Resize", ["x", "s"], ["y"]),
    shape: [1, 1, 4, 8],
    initializer: [floatInit("s", [4], [1, 1, 0.6, 0.6])],
    ops: "Resize",
  },
  {
    what: "Resize 11's empty inputs",
    opset: 11,
    node: node("Resize", ["x", "none", "none", "sizes"], ["y"], { mode: "linear", coordinate_transformation_mode: "align_corners" }),
    shape: [1, 1, 4, 5],
    initializer: [floatInit("none", [0], []), intInit("sizes", [4], [1, 1, 7, 3])],
    ops: "Resize",
  },
  ...(["floor", "round_prefer_floor"] as const).map((rounding) => ({
    what: `Resize 11's tf_half_pixel_for_nn with ${rounding}`,
    opset: 11,
    node: node("Resize", ["x", "none", "none", "sizes"], ["y"], {
      nearest_mode: rounding,
      coordinate_transformation_mode: "tf_half_pixel_for_nn",
    }),
    shape: [1, 1, 6, 5],
    initializer: [floatInit("none", [0], []), intInit("sizes", [4], [1, 1, 9, 3])],
    ops: "Resize",
  })),
  {
    what: "Scatter's name",
    opset: 10,
    node: node("Scatter", ["x", "i", "u"], ["y"], { axis: 1 }),
    shape: [1, 4],
    initializer: [intInit("i", [1, 2], [0, 3]), floatInit("u", [1, 2], [5, 6])],
    ops: "ScatterElements",
  },
  {
    what: "BatchNormalization's spatial",
    opset: 7,
    node: node("BatchNormalization", ["x", "p", "q", "q", "p"], ["y"], { spatial: 1 }),
    shape: [2, 3, 4],
    initializer: [floatInit("p", [3], [1, 2, 3]), floatInit("q", [3], [0.5, 0.25, 1])],
    ops: "BatchNormalization",
  },
  {
    what: "RoiAlign's half pixels",
    opset: 10,
    node: node("RoiAlign", ["x", "r", "b"], ["y"], { output_height: 2, output_width: 2, sampling_ratio: 2 }),
    shape: [1, 1, 6, 6],
    initializer: [floatInit("r", [1, 4], [0, 0, 4, 3]), intInit("b", [1], [0])],
    ops: "RoiAlign",
  },
  {
    what: "GridSample's mode",
    opset: 16,
    node: node("GridSample", ["x", "g"], ["y"], { mode: "bilinear" }),
    shape: [1, 1, 3, 3],
    initializer: [floatInit("g", [1, 1, 2, 2], [0.1, 0.2, -0.5, 0.9])],
    ops: "GridSample",
  },
  { what: "DFT's axis", opset: 17, node: node("DFT", ["x"], ["y"], { axis: 2 }), shape: [1, 2, 4, 1], ops: "DFT" },
  {
    what: "GroupNormalization's parameters",
    opset: 18,
    node: node("GroupNormalization", ["x", "p", "q"], ["y"], { num_groups: 2 }),
    shape: [2, 4, 3],
    initializer: [floatInit("p", [2], [1, 2]), floatInit("q", [2], [0.5, 0.25])],
    ops: "Shape Div Concat Reshape Expand Reshape Reshape Expand Reshape GroupNormalization",
  },
  {
    what: "Scan's batch",
    opset: 8,
    node: node("Scan", ["", "init", "x"], ["y", "z"], {
      num_scan_inputs: 1,
      body: body({
        name: "sum",
        node: [node("Add", ["s", "e"], ["t"]), node("Identity", ["t"], ["u"])],
        input: [value("s", "float32", [2]), value("e", "float32", [2])],
        output: [value("t", "float32", [2]), value("u", "float32", [2])],
      }),
    }),
    shape: [3, 4, 2],
    initializer: [floatInit("init", [3, 2], [1, 2, 3, 4, 5, 6])],
    ops: "Scan",
  },
];

describe("upgrades agree with ONNX Runtime on the old form", () => {
  it.each(cases)("$what (opset $opset)", async ({ opset, node: old, shape, initializer, ops }) => {
    const outputs = (old.output ?? []).map((name) => value(name, name === "i" ? "int64" : "float32"));
    const bytes = model(opset, { node: [old], input: [value("x", "float32", shape)], output: outputs, initializer: initializer ?? [] });
    const graph = await importBytes(bytes);
    expect(verifyGraph(graph)).toEqual([]);
    expect(graph.nodes.map(({ op }) => op).join(" ")).toBe(ops);
    const feeds = [randomFloats(shape)];
    // ONNX Runtime's build refuses GroupNormalization 18: its definition is the reference there.
    const expected =
      old.opType === "GroupNormalization"
        ? [groupNormalization18(feeds[0].data)]
        : (await runOnnx(bytes, feeds)).map(({ data }) => [...data].map(Number));
    // ONNX Runtime has no kernel for RoiAlign 22, which differs from 16 in types only.
    const options = old.opType === "RoiAlign" ? { opset: 21 } : {};
    const found = (await runOnnx(writeOnnx(graph, options), feeds)).map(({ data }) => [...data].map(Number));
    for (const [index, data] of expected.entries()) {
      expect(found[index].length).toBe(data.length);
      for (const [at, item] of data.entries()) expect(found[index][at]).toBeCloseTo(item, 5);
    }
  });
});

/** For x [2, 4, 3], 2 groups, scale [1, 2], bias [0.5, 0.25]. */
function groupNormalization18(x: ArrayLike<number | bigint | string | boolean>): number[] {
  const result: number[] = [];
  for (let group = 0; group < 4; group++) {
    const items = Array.from({ length: 6 }, (_, index) => Number(x[6 * group + index]));
    const mean = items.reduce((sum, item) => sum + item) / 6;
    const variance = items.reduce((sum, item) => sum + (item - mean) ** 2, 0) / 6;
    for (const item of items) result.push(((item - mean) / Math.sqrt(variance + 1e-5)) * (group % 2 ? 2 : 1) + (group % 2 ? 0.25 : 0.5));
  }
  return result;
}

describe("opset 6, which ONNX Runtime does not run", () => {
  it("aligns a broadcast operand at its axis", async () => {
    const graph = await importBytes(
      model(6, {
        node: [node("Add", ["x", "b"], ["y"], { broadcast: 1, axis: 1 }), node("Mul", ["y", "b"], ["z"], { broadcast: 1, axis: 1 })],
        input: [value("x", "float32", [2, 3, 4])],
        output: [value("z")],
        initializer: [floatInit("b", [3], [1, 2, 3])],
      }),
    );
    const x = randomFloats([2, 3, 4]);
    const [z] = await runOnnx(writeOnnx(graph), [x]);
    const expected = Array.from(x.data, Number).map((item, index) => {
      const b = 1 + (Math.floor(index / 4) % 3);
      return (item + b) * b;
    });
    for (const [index, item] of expected.entries()) expect(Number(z.data[index])).toBeCloseTo(item, 4);
  });

  it("normalises each activation where spatial is 0", async () => {
    const graph = await importBytes(
      model(8, {
        node: [node("BatchNormalization", ["x", "p", "q", "q", "p"], ["y"], { spatial: 0 })],
        input: [value("x", "float32", [2, 2, 2])],
        output: [value("y")],
        initializer: [floatInit("p", [2, 2], [1, 2, 3, 4]), floatInit("q", [2, 2], [0.5, 0.25, 1, 2])],
      }),
    );
    const x = randomFloats([2, 2, 2]);
    const [y] = await runOnnx(writeOnnx(graph), [x]);
    const [p, q] = [
      [1, 2, 3, 4],
      [0.5, 0.25, 1, 2],
    ];
    for (let index = 0; index < 8; index++) {
      const at = index % 4;
      expect(Number(y.data[index])).toBeCloseTo(((Number(x.data[index]) - q[at]) / Math.sqrt(p[at] + 1e-5)) * p[at] + q[at], 4);
    }
  });

  it("names what it can't upgrade", async () => {
    const old = node("Upsample", ["x"], ["y"], {}, "up");
    const bytes = model(8, { node: [old], input: [value("x", "float32", [1, 1, 2, 2])], output: [value("y")] });
    await expect(importBytes(bytes)).rejects.toThrow("NCC0217: up: Upsample of opset 8 can't be upgraded to opset 26: it has no scales");
  });
});
