import { describe, expect, it } from "vitest";
import { UserError } from "../../../src/diagnostics/diagnostic.js";
import { convertibleOperators, convertTensorFlow } from "../../../src/frontend/tensorflow/convert/convert.js";
import type { FlatGraph } from "../../../src/frontend/tensorflow/flat.js";
import { toNumbers } from "../../../src/graph/tensor.js";
import { verifyGraph } from "../../../src/graph/verify.js";
import { runGraph } from "../../../src/host/index.js";
import { bool, constant, flatGraph, flatNode, integers, ramp, string } from "./flat-build.js";

async function run(flat: FlatGraph, shape: readonly number[]) {
  const { graph } = convertTensorFlow(flat);
  expect(verifyGraph(graph)).toEqual([]);
  const results = await runGraph(graph, new Map([["x:0", ramp(shape)]]));
  const result = results.get(graph.outputs[0]);
  if (result === undefined) throw new Error("no result");
  return { shape: result.shape, values: toNumbers(result) };
}

function failure(flat: FlatGraph): string {
  try {
    convertTensorFlow(flat);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  throw new Error("was converted");
}

const strides = integers([1, 2, 2, 1]);

describe("TensorFlow operators as ONNX", () => {
  it("convolves channels-last images, the odd row of SAME padding last", async () => {
    const filter = constant("w", [2, 2, 1, 1], [1, 10, 100, 1000]);
    const conv = flatNode("c", "Conv2D", ["x", "w"], { strides, padding: string("SAME") });
    expect(await run(flatGraph([1, 3, 3, 1], [filter, conv], "c"), [1, 3, 3, 1])).toEqual({
      shape: [1, 2, 2, 1],
      values: [4310, 502, 76, 8],
    });
  });

  it("takes explicit padding", async () => {
    const filter = constant("w", [1, 1, 1, 1], [2]);
    const attributes = {
      strides: integers([1, 1, 1, 1]),
      padding: string("EXPLICIT"),
      explicit_paddings: integers([0, 0, 1, 0, 0, 2, 0, 0]),
    };
    const conv = flatNode("c", "Conv2D", ["x", "w"], attributes);
    expect(await run(flatGraph([1, 1, 2, 1], [filter, conv], "c"), [1, 1, 2, 1])).toEqual({
      shape: [1, 2, 4, 1],
      values: [0, 0, 0, 0, 0, 2, 0, 0],
    });
  });

  it("convolves each channel by its own filters, channel-major", async () => {
    const filter = constant("w", [1, 1, 2, 2], [1, 2, 3, 4]);
    const conv = flatNode("c", "DepthwiseConv2dNative", ["x", "w"], { strides: integers([1, 1, 1, 1]), padding: string("VALID") });
    expect((await run(flatGraph([1, 1, 2, 2], [filter, conv], "c"), [1, 1, 2, 2])).values).toEqual([0, 0, 3, 4, 2, 4, 9, 12]);
  });

  it("averages over what lies in the image only", async () => {
    const pool = flatNode("p", "AvgPool", ["x"], { strides, ksize: strides, padding: string("SAME") });
    expect((await run(flatGraph([1, 3, 3, 1], [pool], "p"), [1, 3, 3, 1])).values).toEqual([2, 3.5, 6.5, 8]);
  });

  it("multiplies by transposed matrices and adds a bias", async () => {
    const nodes = [
      constant("w", [2, 3], [1, 0, 0, 0, 0, 1]),
      constant("b", [2], [10, 20]),
      flatNode("m", "MatMul", ["x", "w"], { transpose_b: bool(true) }),
      flatNode("y", "BiasAdd", ["m", "b"]),
    ];
    expect(await run(flatGraph([2, 3], nodes, "y"), [2, 3])).toEqual({ shape: [2, 2], values: [10, 22, 13, 25] });
  });

  it("reduces, pads, reshapes, splits and packs", async () => {
    const nodes = [
      constant("pads", [2, 2], [0, 0, 1, 0], "int32"),
      constant("axis", [], [1], "int32"),
      constant("shape", [2], [-1, 3], "int32"),
      flatNode("padded", "Pad", ["x", "pads"]),
      flatNode("shaped", "Reshape", ["padded", "shape"]),
      flatNode("parts", "Unpack", ["shaped"], { axis: { type: "int", value: 0 }, num: { type: "int", value: 2 } }),
      flatNode("packed", "Pack", ["parts:1", "parts:0"], { axis: { type: "int", value: 1 } }),
      flatNode("sum", "Sum", ["packed", "axis"]),
    ];
    expect(await run(flatGraph([2, 2], nodes, "sum"), [2, 2])).toEqual({ shape: [3], values: [0, 2, 4] });
  });

  it("clips by Relu6 and keeps TensorFlow's names as origins", async () => {
    const flat = flatGraph([9], [flatNode("r", "Relu6", ["x"])], "r");
    expect((await run(flat, [9])).values).toEqual([0, 1, 2, 3, 4, 5, 6, 6, 6]);
    const { graph, operators } = convertTensorFlow(flat);
    expect(graph.nodes[0].origins).toEqual(["r"]);
    expect(operators).toEqual([
      { name: "x", type: "Placeholder" },
      { name: "r", type: "Relu6" },
    ]);
  });

  it("slices with masks: whole axes, backwards, one element", async () => {
    const nodes = [
      constant("begin", [2], [5, -1], "int32"),
      constant("end", [2], [5, 0], "int32"),
      constant("strides", [2], [-1, 1], "int32"),
      flatNode("s", "StridedSlice", ["x", "begin", "end", "strides"], {
        begin_mask: { type: "int", value: 1 },
        end_mask: { type: "int", value: 1 },
        shrink_axis_mask: { type: "int", value: 2 },
      }),
    ];
    expect(await run(flatGraph([3, 2], nodes, "s"), [3, 2])).toEqual({ shape: [3], values: [5, 3, 1] });
  });

  it("slices to the end by size -1", async () => {
    const nodes = [constant("b", [2], [1, 0], "int32"), constant("n", [2], [-1, 1], "int32"), flatNode("s", "Slice", ["x", "b", "n"])];
    expect(await run(flatGraph([3, 2], nodes, "s"), [3, 2])).toEqual({ shape: [2, 1], values: [2, 4] });
  });

  it("takes fused products apart", async () => {
    const nodes = [
      constant("w", [2, 2], [1, 0, 0, -1]),
      constant("b", [2], [1, 2]),
      flatNode("m", "_FusedMatMul", ["x", "w", "b"], { fused_ops: { type: "list", value: ["BiasAdd", "Relu"] } }),
    ];
    expect((await run(flatGraph([2, 2], nodes, "m"), [2, 2])).values).toEqual([1, 1, 3, 0]);
  });

  it("reverses, fills and reduces truth values", async () => {
    const nodes = [
      constant("axis", [1], [1], "int32"),
      flatNode("reversed", "ReverseV2", ["x", "axis"]),
      flatNode("ones", "OnesLike", ["x"]),
      flatNode("greater", "Greater", ["reversed", "ones"]),
      flatNode("all", "All", ["greater", "axis"]),
      flatNode("any", "Any", ["greater", "axis"]),
      constant("along", [], [0], "int32"),
      flatNode("both", "Concat", ["along", "all", "any"]),
      flatNode("y", "Cast", ["both"], { DstT: { type: "dtype", value: "float32" } }),
    ];
    expect((await run(flatGraph([2, 3], nodes, "y"), [2, 3])).values).toEqual([0, 1, 1, 1]);
    expect((await run(flatGraph([2, 2], nodes.slice(0, 2), "reversed"), [2, 2])).values).toEqual([1, 0, 3, 2]);
  });

  it("lists what it converts in order", () => {
    expect(convertibleOperators).toContain("FusedBatchNormV3");
    expect([...convertibleOperators].sort()).toEqual(convertibleOperators);
  });
});

describe("what has no conversion", () => {
  it("is refused by name, all nodes at once", () => {
    const message = failure(flatGraph([1], [flatNode("a", "Mystery", ["x"]), flatNode("b", "Riddle", ["a"])], "b"));
    expect(message).toContain("Mystery (a), Riddle (b)");
    expect(message).toMatch(/^NCC0290: /);
  });

  it("tells why a form of an operator is refused", () => {
    const message = failure(flatGraph([1, 1, 1, 1], [flatNode("p", "MaxPool", ["x"], { data_format: string("NCHW_VECT_C") })], "p"));
    expect(message).toContain("NCC0291: MaxPool p: can't be converted: its data format NCHW_VECT_C is not supported");
  });

  it("tells an output that inference does not have", () => {
    const message = failure(flatGraph([1], [flatNode("r", "Relu", ["x"])], "r:1"));
    expect(message).toMatch(/^NCC0292: .*output 1 of TensorFlow node r/);
  });
});
