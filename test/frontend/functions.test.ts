import type { onnx as Onnx } from "onnx-proto";
import { describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/index.js";
import { onnx } from "../../src/frontend/onnx/proto.js";
import { printGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { attribute, body, float, importBytes, intInit, model, node, randomFloats, reference, runOnnx, value } from "./build.js";

const kinds = onnx.AttributeProto.AttributeType;
const custom = (op: string, input: string[], output: string[], attributes = {}, name = "") => ({
  ...node(op, input, output, attributes, name),
  domain: "my",
});
const opsetImport = [{ domain: "", version: 17 }];
const graph = { input: [value("x", "float32", [2, 3])], output: [value("y")] };
const more = (functions: Onnx.IFunctionProto[]) => ({ functions, opsetImport: [...opsetImport, { domain: "my", version: 1 }] });

const scale: Onnx.IFunctionProto = {
  name: "Scale",
  domain: "my",
  input: ["x"],
  output: ["out"],
  attribute: ["alpha"],
  opsetImport,
  node: [node("LeakyRelu", ["x"], ["inner"], { alpha: reference("alpha", kinds.FLOAT) }), node("Neg", ["inner"], ["out"], {}, "negate")],
};

describe("model-local functions", () => {
  it("are expanded under names of their own, attributes bound", async () => {
    const bytes = model(
      17,
      {
        ...graph,
        node: [custom("Scale", ["x"], ["inner"], { alpha: float(0.5) }, "first"), custom("Scale", ["inner"], ["y"], {}, "second")],
      },
      more([scale]),
    );
    const imported = await importBytes(bytes);
    expect(verifyGraph(imported)).toEqual([]);
    expect(printGraph(imported)).toBe(`graph "g" {
  input %x: float32[2, 3]
  %first/inner = LeakyRelu(%x) {alpha = 0.5} @first/LeakyRelu_0
  %inner = Neg(%first/inner) @first/negate
  %second/inner = LeakyRelu(%inner) @second/LeakyRelu_0
  %y: float32[*] = Neg(%second/inner) @second/negate
  output %y
}
`);
    const feeds = [randomFloats([2, 3])];
    expect((await runOnnx(writeOnnx(imported), feeds))[0].data).toEqual((await runOnnx(bytes, feeds))[0].data);
  });

  it("may call others, bind attributes through them, have absent inputs and pass a value through", async () => {
    const outer: Onnx.IFunctionProto = {
      name: "Outer",
      domain: "my",
      input: ["x", "low"],
      output: ["a", "x"],
      attribute: ["slope"],
      opsetImport: more([]).opsetImport,
      node: [custom("Scale", ["x"], ["s"], { alpha: reference("slope", kinds.FLOAT) }, "scale"), node("Clip", ["s", "low"], ["a"])],
    };
    const imported = await importBytes(
      model(
        17,
        { ...graph, output: [value("y"), value("z")], node: [custom("Outer", ["x"], ["y", "z"], { slope: float(0.25) }, "o")] },
        more([outer, scale]),
      ),
    );
    expect(verifyGraph(imported)).toEqual([]);
    expect(imported.nodes.map((item) => `${item.name}: ${item.op}(${item.inputs})`)).toEqual([
      "o/scale/LeakyRelu_0: LeakyRelu(x)",
      "o/scale/negate: Neg(o/scale/inner)",
      "o/Clip_1: Clip(o/s,)",
      "o/x_copy: Identity(x)",
    ]);
    expect(imported.nodes[0].attributes.alpha).toEqual({ type: "float", value: 0.25 });
  });

  it("differ by overload, have attribute defaults and their own opset", async () => {
    const old = {
      ...scale,
      opsetImport: [{ domain: "", version: 9 }],
      node: [node("Slice", ["x"], ["out"], { starts: [0], ends: [1], axes: reference("axes", kinds.INTS) })],
    };
    // onnx-proto does not write the newer fields: they are put behind the messages that it writes.
    const defaults = onnx.AttributeProto.encode(attribute("axes", [1])).finish();
    const overloaded = [...onnx.FunctionProto.encode(old).finish(), ...field(11, defaults), ...field(13, Buffer.from("old"))];
    const call = [...onnx.NodeProto.encode(custom("Scale", ["x"], ["y"], {}, "call")).finish(), ...field(8, Buffer.from("old"))];
    const main = [...onnx.GraphProto.encode(graph).finish(), ...field(1, call)];
    const rest = onnx.ModelProto.encode({ irVersion: 10, ...more([scale]) }).finish();
    const imported = await importBytes(Uint8Array.from([...rest, ...field(7, main), ...field(25, overloaded)]));
    expect(imported.nodes.map((item) => `${item.name}: ${item.op}(${item.inputs})`)).toEqual([
      "call/Slice_0: Slice(x,call/Slice_0_starts,call/Slice_0_ends,call/Slice_0_axes)",
    ]);
    expect(imported.constants.get("call/Slice_0_axes")?.data).toEqual(BigInt64Array.of(1n));
  });

  it("that call themselves, or get more than they take, are errors", async () => {
    const loop = { ...scale, node: [custom("Scale", ["x"], ["out"], {}, "again")] };
    const call = { ...graph, node: [custom("Scale", ["x"], ["y"], {}, "call")] };
    await expect(importBytes(model(17, call, more([loop])))).rejects.toThrow(
      "NCC0215: call/again: calls function my::Scale, which calls itself",
    );
    const tooMany = { ...graph, node: [custom("Scale", ["x", "x"], ["y"], {}, "call")] };
    await expect(importBytes(model(17, tooMany, more([scale])))).rejects.toThrow(
      "NCC0219: call: calls function my::Scale with 2 inputs; it has 1",
    );
  });
});

describe("graphs in attributes", () => {
  const branch = (op: string, name: string) => body({ name: op, node: [node(op, ["a"], [name])], output: [value(name)] });

  it("capture outer values and keep them through a round trip", async () => {
    const bytes = model(11, {
      node: [node("Neg", ["x"], ["a"]), node("If", ["c"], ["y"], { then_branch: branch("Abs", "r"), else_branch: branch("Relu", "r") })],
      input: [value("x", "float32", [3]), value("c", "bool", [])],
      output: [value("y")],
    });
    const imported = await importBytes(bytes);
    expect(verifyGraph(imported)).toEqual([]);
    expect(imported.nodes.map(({ name }) => name)).toEqual(["Neg_0", "If_1"]);
    const again = await importBytes(writeOnnx(imported));
    expect(printGraph(again)).toBe(printGraph(imported));
  });

  it("that hide an outer name get another", async () => {
    const inner = { name: "t", node: [node("Abs", ["x"], ["a"])], output: [value("a")] };
    const imported = await importBytes(
      model(17, {
        node: [node("Neg", ["x"], ["a"]), node("If", ["c"], ["y"], { then_branch: body(inner), else_branch: branch("Relu", "r") })],
        input: [value("x", "float32", [3]), value("c", "bool", [])],
        output: [value("y")],
      }),
    );
    expect(verifyGraph(imported)).toEqual([]);
    expect(printGraph(imported)).toContain("%a_1 = Abs(%x)");
  });

  it("may give a constant or an outer value as their result", async () => {
    const give = (name: string, initializer: Onnx.ITensorProto[] = []) => body({ name, initializer, output: [value(name, "int64")] });
    const bytes = model(17, {
      node: [node("If", ["c"], ["y"], { then_branch: give("k", [intInit("k", [1], [5])]), else_branch: give("n") })],
      input: [value("c", "bool", []), value("n", "int64", [1])],
      output: [value("y", "int64"), value("w", "int64")],
      initializer: [intInit("w", [1], [8])],
    });
    const imported = await importBytes(bytes);
    const ort = await import("onnxruntime-node");
    for (const [flag, expected] of [
      [1, 5n],
      [0, 6n],
    ] as const) {
      const feeds = [new ort.Tensor("bool", Uint8Array.of(flag), []), new ort.Tensor("int64", BigInt64Array.of(6n), [1])];
      const [y, w] = await runOnnx(writeOnnx(imported), feeds);
      expect([y.data[0], w.data[0]]).toEqual([expected, 8n]);
    }
  });
});

/** A length-delimited field. */
function field(id: number, content: Iterable<number>): number[] {
  const bytes = [...content];
  const varint = (number: number): number[] => (number < 128 ? [number] : [(number & 127) | 128, ...varint(number >> 7)]);
  return [...varint((id << 3) | 2), ...varint(bytes.length), ...bytes];
}
