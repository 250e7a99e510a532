import { mkdirSync, rmSync, symlinkSync, truncateSync } from "node:fs";
import { dirname, join } from "node:path";
import type { onnx as Onnx } from "onnx-proto";
import { describe, expect, it } from "vitest";
import { UserError } from "../../src/diagnostics/diagnostic.js";
import { importModel } from "../../src/frontend/index.js";
import { convertModel } from "../../src/frontend/onnx/convert.js";
import { onnx } from "../../src/frontend/onnx/proto.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { refusal } from "../refusal.js";
import { body, failure, file, floatInit, folder, identityModel, importBytes, model, node, random, value } from "./build.js";

const input = [value("x", "float32", [2])];
const output = [value("y")];

describe("files that are no ONNX model", () => {
  it.each<readonly [string, Uint8Array | string, string]>([
    ["empty", "", "NCC0105"],
    ["zeros", new Uint8Array(4096), "NCC0106"],
    ["text", "hello\n".repeat(100), "NCC0106"],
    ["a JPEG", Uint8Array.from([0xff, 0xd8, 0xff, 0xe0, ...new Uint8Array(900)]), "NCC0108"],
    ["a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "NCC0108"],
    ["lengths that overrun", Buffer.from("0affffffff0f".repeat(1000), "hex"), "NCC0106"],
    ["groups in groups", Uint8Array.from([8, 8, ...new Uint8Array(100_000).fill(0x7b)]), "NCC0106"],
    ["a TensorFlow GraphDef", Buffer.from("0a0f0a01781209506c616365486f6c64", "hex"), "NCC0107"],
    ["a TensorFlow SavedModel", Buffer.from("080112040a020801", "hex"), "NCC0107"],
    ["a model without a graph", model(17, {}).subarray(0, 8), "NCC01"],
  ])("%s", async (name, bytes, id) => {
    expect(await failure(file(`${name}.onnx`, bytes))).toContain(id);
  });

  it("no file, a folder, a SavedModel's folder", async () => {
    expect(await failure(join(folder, "nothing.onnx"))).toContain("NCC0101");
    expect(await failure(folder)).toContain("NCC0102");
    mkdirSync(join(folder, "saved"), { recursive: true });
    file("saved/saved_model.pb", "x");
    expect(await failure(join(folder, "saved"))).toContain("NCC0107");
  });

  it.skipIf(process.platform === "win32")("a device, a link to itself, more than a message holds", async () => {
    expect(await failure("/dev/null")).toContain("NCC0103");
    const loop = join(folder, "loop.onnx");
    symlinkSync(loop, loop);
    expect(await failure(loop)).toContain("NCC0104");
    const large = file("large.onnx", "");
    truncateSync(large, 2 ** 31 + 1);
    expect(await failure(large)).toContain("NCC0109");
    rmSync(large);
  });

  it("more nodes than the limit", () => {
    const graph = { input, output, node: [node("Neg", ["x"], ["a"]), node("Neg", ["a"], ["y"], {}, "second")] };
    const limited = () => convertModel(onnx.ModelProto.decode(model(17, graph)), () => new Uint8Array(), 1);
    expect(refusal(limited)).toContain("NCC0216: ");
  });

  it("graphs nested in graphs without end", async () => {
    let graph: Onnx.IGraphProto = { name: "g" };
    for (let depth = 0; depth < 200; depth++) graph = { name: "g", node: [node("If", [], [], { then_branch: body(graph) })] };
    expect(await failure(file("nested.onnx", model(17, graph)))).toContain("nested deeper than");
  });
});

describe("models that are not sound", () => {
  const shared = { input, output };
  it.each<readonly [string, Uint8Array, string]>([
    [
      "a cycle",
      model(17, {
        ...shared,
        node: [
          node("Add", ["x", "c"], ["b"], {}, "first"),
          node("Neg", ["b"], ["c"], {}, "second"),
          node("Neg", ["c"], ["y"], {}, "third"),
        ],
      }),
      "NCC0201: the model's graph: nodes form a cycle: second (Neg) -> first (Add);",
    ],
    [
      "a value defined twice",
      model(17, { ...shared, node: [node("Neg", ["x"], ["y"], {}, "n"), node("Abs", ["x"], ["y"])] }),
      'NCC0202: the model\'s graph: value "y" is defined twice, by n (Neg) and by',
    ],
    [
      "an undefined value",
      model(17, { ...shared, node: [node("Add", ["x", "q"], ["y"], {}, "sum")] }),
      'NCC0203: sum (Add): uses value "q"',
    ],
    ["an undefined output", identityModel({ output: [value("q")] }), 'NCC0204: the model\'s graph: output "q"'],
    ["no outputs", identityModel({ output: [] }), "NCC0205"],
    ["a node without an operator", identityModel({ node: [node("", ["x"], ["y"])] }), "NCC0218"],
    [
      "dims and data that disagree",
      identityModel({ initializer: [{ ...floatInit("w", [2], [1, 2]), dims: [3] }] }),
      "NCC0208: initializer w",
    ],
    ["huge dims", identityModel({ initializer: [{ name: "w", dims: [2 ** 40, 2 ** 40], dataType: 1 }] }), "NCC0207: initializer w"],
    [
      "a sequence as input",
      identityModel({ input: [{ name: "x", type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } } }] }),
      "NCC0211: input x",
    ],
    [
      "a sequence as output",
      identityModel({ output: [{ name: "y", type: { sequenceType: { elemType: { tensorType: { elemType: 1 } } } } }] }),
      "NCC0211: output y",
    ],
    ["an opset of the future", model(99, { ...shared, node: [node("Identity", ["x"], ["y"])] }), "NCC0113: "],
    ["an IR version of the future", identityModel({}, { irVersion: 99 }), "NCC0111: "],
    ["no opset", identityModel({}, { opsetImport: [] }), "NCC0112"],
    [
      "an attribute reference outside a function",
      identityModel({ node: [node("Neg", ["x"], ["y"], { a: { refAttrName: "b", type: 1 } })] }),
      "NCC0214",
    ],
    ["an opset but no graph", onnx.ModelProto.encode({ irVersion: 8, opsetImport: [{ domain: "", version: 17 }] }).finish(), "NCC0110"],
    ["an input without a type", identityModel({ input: [{ name: "x" }] }), "NCC0212: input x"],
    [
      "an attribute of many tensors",
      identityModel({ node: [node("Neg", ["x"], ["y"], { a: { type: onnx.AttributeProto.AttributeType.TENSORS } }, "n")] }),
      "NCC0213: n (Neg): attribute a is of kind tensors",
    ],
    ["a Constant without a value", identityModel({ node: [node("Constant", [], ["y"])] }), "NCC0220"],
  ])("%s", async (_, bytes, message) => {
    await expect(importBytes(bytes)).rejects.toThrow(UserError);
    await expect(importBytes(bytes)).rejects.toThrow(message);
  });

  it("an unknown framework", async () => {
    await expect(importModel("x", { framework: "CAFFE" })).rejects.toThrow("NCC0114");
  });
});

describe("external data", () => {
  const external = (location: string, more: Record<string, string> = {}) =>
    identityModel({
      initializer: [
        {
          name: "w",
          dims: [2],
          dataType: 1,
          dataLocation: 1,
          externalData: Object.entries({ location, ...more }).map(([key, item]) => ({ key, value: item })),
        },
      ],
    });

  it("is read by range from the model's folder", async () => {
    file("weights.bin", new Uint8Array(Float32Array.of(9, 1.5, 2.5, 9).buffer));
    const graph = await importBytes(external("weights.bin", { offset: "4", length: "8", checksum: "ignored" }));
    expect(graph.constants.get("w")?.data).toEqual(Float32Array.of(1.5, 2.5));
  });

  it("may lie deeper in the folder", async () => {
    mkdirSync(join(folder, "deep"), { recursive: true });
    file("deep/weights.bin", new Uint8Array(Float32Array.of(3, 4).buffer));
    expect((await importBytes(external("deep/weights.bin"))).constants.get("w")?.data).toEqual(Float32Array.of(3, 4));
  });

  it.each<readonly [string, string, Record<string, string>, string]>([
    ["is missing", "nowhere.bin", {}, "NCC0120: initializer w"],
    ["is above the folder", "../weights.bin", {}, "NCC0121"],
    ["is above the folder by a detour", "deep/../../weights.bin", {}, "NCC0121"],
    ["is absolute", "/etc/hosts", {}, "NCC0121"],
    ["leaves the folder by a link", "link.bin", {}, "NCC0121"],
    ["is too short", "short.bin", {}, "NCC0122: initializer w: its external data short.bin holds 5 bytes from offset 0 on, 8 are needed"],
    ["starts behind its end", "short.bin", { offset: "100" }, "holds 0 bytes from offset 100"],
    ["has a negative offset", "short.bin", { offset: "-1" }, "NCC0123"],
    ["has another length than its dims", "short.bin", { length: "4" }, "NCC0123"],
    ["has no location", "", {}, "NCC0123"],
    ["is a folder", "deep", {}, "NCC0120"],
  ])("%s", async (_, location, more, message) => {
    file("short.bin", "12345");
    mkdirSync(join(folder, "deep"), { recursive: true });
    try {
      symlinkSync(join(dirname(folder), "outside.bin"), join(folder, "link.bin"));
      file("../outside.bin", "12345678");
    } catch {
      // The link is there from the case before.
    }
    await expect(importBytes(external(location, more))).rejects.toThrow(message);
  });
});

describe("damaged files", () => {
  const weights = Array.from({ length: 60 }, (_, index) => index / 60);
  const graph: Onnx.IGraphProto = {
    node: [
      node("Conv", ["x", "w"], ["a"], { strides: [2, 2], pads: [1, 1, 1, 1] }, "conv"),
      node("Clip", ["a"], ["b"], { min: { type: 1, f: 0 } }),
      node("If", ["c"], ["y"], {
        then_branch: body({ name: "t", node: [node("Softmax", ["b"], ["t"])], output: [value("t")] }),
        else_branch: body({
          name: "e",
          node: [node("Upsample", ["b"], ["e"], { scales: { type: 6, floats: [1, 1, 2, 2] } })],
          output: [value("e")],
        }),
      }),
    ],
    input: [value("x", "float32", ["N", 5, 8, 8]), value("c", "bool", [])],
    output: [value("y")],
    initializer: [floatInit("w", [3, 5, 2, 2], weights)],
  };
  const whole = model(8, graph);

  it("end in a graph without faults or a UserError, whatever byte is flipped or missing", async () => {
    const next = random(1);
    const below = (count: number) => Math.floor(next() * count);
    for (let run = 0; run < 400; run++) {
      let bytes: Uint8Array = new Uint8Array(whole);
      if (run % 4 === 0) bytes = bytes.subarray(0, 1 + below(whole.length - 1));
      else for (let flip = [1, 3, 20][below(3)]; flip > 0; flip--) bytes[below(bytes.length)] = below(256);
      try {
        expect(verifyGraph(await importBytes(bytes))).toEqual([]);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
      }
    }
  });
});
