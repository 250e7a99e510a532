import type { onnx as Onnx } from "onnx-proto";
import { describe, expect, it } from "vitest";
import { readTensorProto, writeTensorProto } from "../../src/frontend/index.js";
import { onnx } from "../../src/frontend/onnx/proto.js";
import { elementTypeCodes } from "../../src/frontend/onnx/tensor.js";
import { allocateData, type DType, dtypes, type Tensor } from "../../src/graph/tensor.js";
import { identityModel, importBytes, model, node, value } from "./build.js";

function read(proto: Onnx.ITensorProto): Tensor {
  return readTensorProto(onnx.TensorProto.encode(proto).finish()).tensor;
}

const varint = (number: bigint): number[] => (number < 128n ? [Number(number)] : [Number(number & 127n) | 128, ...varint(number >> 7n)]);
const unsigned = (number: bigint) => BigInt.asUintN(64, number);
const field = (id: number, wire: number, content: readonly number[]) => [
  (id << 3) | wire,
  ...(wire === 2 ? varint(BigInt(content.length)) : []),
  ...content,
];
/** The same header for the handmade messages: dims and data_type. */
const header = (dims: number[], dtype: DType) => [
  ...dims.flatMap((dim) => field(1, 0, varint(BigInt(dim)))),
  ...field(2, 0, [elementTypeCodes[dtype]]),
];

describe("tensor files", () => {
  it.each(dtypes)("round trip: %s", (dtype) => {
    const data = allocateData(dtype, 5);
    for (let index = 0; index < data.length; index++) {
      if (Array.isArray(data)) data[index] = `s${index}é`;
      else if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[index] = BigInt(index) << 59n;
      else data[index] = dtype.includes("2") && !dtype.includes("32") ? index % 2 : index;
    }
    const tensor: Tensor = { dtype, shape: [5], data };
    const bytes = writeTensorProto("t", tensor);
    expect(readTensorProto(bytes)).toEqual({ name: "t", tensor });
    // At any alignment, and without a change to the caller's bytes.
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect(readTensorProto(shifted.subarray(3)).tensor).toEqual(tensor);
    expect(shifted.subarray(3)).toEqual(new Uint8Array(bytes));
  });
});

describe("typed element fields", () => {
  const code = elementTypeCodes;
  const cases: readonly (readonly [string, Onnx.ITensorProto, Tensor["data"]])[] = [
    ["float_data", { dims: [2], dataType: code.float32, floatData: [1.5, -2] }, Float32Array.of(1.5, -2)],
    ["float_data, complex", { dims: [1], dataType: code.complex64, floatData: [1.5, -2] }, Float32Array.of(1.5, -2)],
    ["double_data", { dims: [2], dataType: code.float64, doubleData: [0.1, -2] }, Float64Array.of(0.1, -2)],
    ["int32_data", { dims: [2], dataType: code.int32, int32Data: [-7, 300] }, Int32Array.of(-7, 300)],
    ["int32_data, int8", { dims: [2], dataType: code.int8, int32Data: [-7, 127] }, Int8Array.of(-7, 127)],
    ["int32_data, uint16", { dims: [1], dataType: code.uint16, int32Data: [65535] }, Uint16Array.of(65535)],
    ["int32_data, bool", { dims: [2], dataType: code.bool, int32Data: [1, 0] }, Uint8Array.of(1, 0)],
    ["int32_data, float16 bits", { dims: [1], dataType: code.float16, int32Data: [0x3c00] }, Uint16Array.of(0x3c00)],
    ["int32_data, bfloat16 bits", { dims: [1], dataType: code.bfloat16, int32Data: [0x3f80] }, Uint16Array.of(0x3f80)],
    ["int32_data, float8 bits", { dims: [1], dataType: code.float8e5m2, int32Data: [0x81] }, Uint8Array.of(0x81)],
    ["int32_data, int4 in pairs", { dims: [3], dataType: code.int4, int32Data: [0xf7, 0x08] }, Int8Array.of(7, -1, -8)],
    ["int32_data, uint2 in fours", { dims: [5], dataType: code.uint2, int32Data: [0xe4, 1] }, Uint8Array.of(0, 1, 2, 3, 1)],
    ["uint64_data, uint32", { dims: [1], dataType: code.uint32, uint64Data: [4294967295] }, Uint32Array.of(4294967295)],
    ["string_data", { dims: [2], dataType: code.string, stringData: [Buffer.from("a"), Buffer.from("")] }, ["a", ""]],
    ["raw_data, int4 in pairs", { dims: [3], dataType: code.int4, rawData: Uint8Array.of(0xf7, 0x08) }, Int8Array.of(7, -1, -8)],
    ["no elements", { dims: [0, 3], dataType: code.float32 }, new Float32Array(0)],
  ];

  it.each(cases)("%s", (_, proto, data) => {
    expect(read(proto).data).toEqual(data);
  });

  it("reads values with a tag each, and 64 bits whole", () => {
    const wide = [-1n, 2n ** 62n + 3n, 5n];
    const int64 = Uint8Array.from([...header([3], "int64"), ...wide.flatMap((item) => field(7, 0, varint(unsigned(item))))]);
    expect(readTensorProto(int64).tensor.data).toEqual(BigInt64Array.from(wide));
    const packed = Uint8Array.from([
      ...header([3], "int64"),
      ...field(
        7,
        2,
        wide.flatMap((item) => varint(unsigned(item))),
      ),
    ]);
    expect(readTensorProto(packed).tensor.data).toEqual(BigInt64Array.from(wide));
    const floatBytes = [...new Uint8Array(Float32Array.of(1.5, -2, 0.1).buffer)];
    const single = [0, 4, 8].flatMap((at) => field(4, 5, floatBytes.slice(at, at + 4)));
    expect(readTensorProto(Uint8Array.from([...header([3], "float32"), ...single])).tensor.data).toEqual(Float32Array.of(1.5, -2, 0.1));
    const split = [...field(4, 2, floatBytes.slice(0, 4)), ...field(4, 2, floatBytes.slice(4))];
    expect(readTensorProto(Uint8Array.from([...header([3], "float32"), ...split])).tensor.data).toEqual(Float32Array.of(1.5, -2, 0.1));
  });
});

describe("tensors whose dims and data disagree", () => {
  const code = elementTypeCodes;
  it.each<readonly [string, Onnx.ITensorProto, string]>([
    [
      "raw_data too short",
      { dims: [2], dataType: code.float32, rawData: new Uint8Array(7) },
      "NCC0208: the tensor: its shape asks for 2 elements of float32, its data has 7 bytes",
    ],
    ["too few values", { dims: [2], dataType: code.int64, int64Data: [1] }, "1 values"],
    ["no data at all", { dims: [1e9], dataType: code.float32 }, "0 values"],
    ["no strings", { dims: [1e12], dataType: code.string }, "0 strings"],
    ["a negative extent", { dims: [-2], dataType: code.float32 }, "NCC0207: the tensor: its shape [-2]"],
    ["more than memory", { dims: [1e9, 1e9], dataType: code.float32 }, "NCC0207"],
    ["an unknown type", { dims: [1], dataType: 77, rawData: new Uint8Array(4) }, "NCC0206: the tensor: has element type 77"],
  ])("%s", (_, proto, message) => {
    expect(() => read(proto)).toThrow(message);
  });

  it("no tensor file at all", () => {
    expect(() => readTensorProto(Buffer.from("hello, this is text"))).toThrow("NCC0210");
  });
});

describe("initializers", () => {
  it("that are large stay views of the file's buffer, whatever their alignment", async () => {
    const data = Float32Array.from({ length: 1000 }, (_, index) => index / 7);
    const names = ["a", "ab", "abc", "abcd", "abcde"];
    const initializer = names.map((name) => ({ name, dims: [1000], dataType: 1, rawData: new Uint8Array(data.buffer) }));
    const graph = await importBytes(identityModel({ initializer }));
    const buffers = new Set(
      names.map((name) => graph.constants.get(name)?.data).map((item) => (Array.isArray(item) ? undefined : item?.buffer)),
    );
    expect(buffers.size).toBe(1);
    for (const name of names) expect(graph.constants.get(name)?.data).toEqual(data);
  });

  it("may be sparse, with linear or tuple indices", async () => {
    const values = (name: string) => ({ name, dims: [2], dataType: 1, floatData: [5, 7] });
    const graph = await importBytes(
      identityModel({
        sparseInitializer: [
          { values: values("linear"), indices: { dims: [2], dataType: 7, int64Data: [1, 5] }, dims: [2, 3] },
          { values: values("tuples"), indices: { dims: [2, 2], dataType: 7, int64Data: [0, 1, 1, 2] }, dims: [2, 3] },
        ],
      }),
    );
    for (const name of ["linear", "tuples"]) expect(graph.constants.get(name)?.data).toEqual(Float32Array.of(0, 5, 0, 0, 0, 7));
    const outside = identityModel({
      sparseInitializer: [{ values: values("s"), indices: { dims: [2], dataType: 7, int64Data: [1, 6] }, dims: [2, 3] }],
    });
    await expect(importBytes(outside)).rejects.toThrow("NCC0209: initializer s");
  });

  it("come from Constant nodes of every kind", async () => {
    const constants = [
      node("Constant", [], ["i"], { value_int: 3 }),
      node("Constant", [], ["is"], { value_ints: [1, 2] }),
      node("Constant", [], ["s"], { value_string: "text" }),
      node("Identity", ["i"], ["y"]),
    ];
    const graph = await importBytes(model(13, { node: constants, output: [value("y", "int64")] }));
    expect(graph.nodes.map(({ op }) => op)).toEqual(["Identity"]);
    expect(graph.constants.get("i")).toEqual({ dtype: "int64", shape: [], data: BigInt64Array.of(3n) });
    expect(graph.constants.get("is")).toEqual({ dtype: "int64", shape: [2], data: BigInt64Array.of(1n, 2n) });
    expect(graph.constants.get("s")?.data).toEqual(["text"]);
  });
});
