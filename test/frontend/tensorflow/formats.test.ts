import { describe, expect, it } from "vitest";
import { crc32c } from "../../../src/frontend/tensorflow/read/crc32c.js";
import { decompress } from "../../../src/frontend/tensorflow/read/snappy.js";
import { readTable } from "../../../src/frontend/tensorflow/read/table.js";
import { tensorOf } from "../../../src/frontend/tensorflow/read/tensor.js";
import { parseText } from "../../../src/frontend/tensorflow/read/text.js";
import { refusal } from "../../refusal.js";
import { binary, table } from "./saved-model.js";

describe("CRC-32C", () => {
  it("is Castagnoli's, in one piece or several", () => {
    const bytes = Buffer.from("123456789");
    expect(crc32c(bytes)).toBe(0xe3069283);
    expect(crc32c(bytes.subarray(3), crc32c(bytes.subarray(0, 3)))).toBe(0xe3069283);
  });
});

describe("Snappy blocks", () => {
  it("hold literals and copies of 1, 2 and 4 bytes' offset, which may overlap", () => {
    const copies = [0x01 | ((6 - 4) << 2), 2, 0x02 | (1 << 2), 8, 0, 0x03 | (2 << 2), 10, 0, 0, 0];
    const block = Buffer.from([13, 1 << 2, 0x61, 0x62, ...copies]);
    expect(Buffer.from(decompress(block)).toString()).toBe("ababababababa");
  });

  it.each([
    ["a length without an end", [0xff]],
    ["a literal beyond the end", [5, 4 << 2, 1, 2]],
    ["a copy of what is not there", [5, 0, 1, 0x02, 9, 0]],
    ["fewer bytes than announced", [5, 0, 1]],
    ["more bytes than it can hold", [0xff, 0xff, 0xff, 0xff, 0x0f, 0]],
  ])("refuse %s", (_, bytes) => {
    expect(() => decompress(Buffer.from(bytes))).toThrow(RangeError);
  });
});

describe("tables", () => {
  it("share the starts of keys", () => {
    const entries = ["", "layer/a", "layer/ab", "other"].map((key, index) => [key, Buffer.of(index)] as const);
    for (const snappy of [false, true]) expect([...readTable(table(entries, snappy)).keys()]).toEqual(entries.map(([key]) => key));
  });
});

describe("the text form", () => {
  it("takes comments, escapes, joined strings, lists, extensions and fields that are not known", () => {
    const text = `
      # A comment
      node: < name: 'a\\x62\\143' "d\\n" op: "Const", unknown { deep: [1, 2] other: "x" } [a.b/c]: { y: 1 }
        attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 3 } } float_val: [1.5, -inf] } } } >`;
    const { node } = parseText("GraphDef", Buffer.from(text));
    expect(node[0]).toMatchObject({ name: "abcd\n", op: "Const" });
    expect(tensorOf(node[0].attr.value.tensor, "a").data).toEqual(Float32Array.of(1.5, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY));
  });

  it("is the same message as the binary form", () => {
    const text =
      'node { name: "n" op: "Op" attr { key: "k" value { list { i: 1 i: -2 type: DT_HALF } } } attr { key: "b" value { b: false } } }';
    const bytes = binary("GraphDef", text);
    expect(Buffer.from(bytes).toString("latin1")).toContain("Op");
    expect(parseText("GraphDef", Buffer.from(text)).node[0].attr.b.value).toBe("b");
  });

  it.each(["node {", "node { name: 3 }", "node { attr { key: 1 value { i: x } } }", 'node { name: "abc }', "node: [", "{".repeat(500)])(
    "tells the line of a fault: %s",
    (text) => {
      expect(() => parseText("GraphDef", Buffer.from(`\n\n${text}`))).toThrow(/line 3/);
    },
  );
});

describe("tensors", () => {
  const tensor = (text: string) => tensorOf(parseText("AttrValue", Buffer.from(`tensor { ${text} }`)).tensor, "t");

  it("repeat the last value that is listed, or are zero", () => {
    expect(tensor("dtype: DT_INT64 tensor_shape { dim { size: 3 } } int64_val: -5 int64_val: 9007199254740993").data).toEqual(
      BigInt64Array.of(-5n, 9007199254740993n, 9007199254740993n),
    );
    expect(tensor("dtype: DT_HALF tensor_shape { dim { size: 2 } }").data).toEqual(Uint16Array.of(0, 0));
    expect(tensor("dtype: DT_HALF tensor_shape { dim { size: 2 } } half_val: 15360").data).toEqual(Uint16Array.of(15360, 15360));
    expect(
      tensor('dtype: DT_INT32 tensor_shape { dim { size: 2 } } tensor_content: "\\001\\000\\000\\000\\377\\377\\377\\377"').data,
    ).toEqual(Int32Array.of(1, -1));
  });

  it("refuse content that does not fit", () => {
    expect(refusal(() => tensor("dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: [1, 2]"))).toContain("NCC0208");
    expect(refusal(() => tensor('dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: "abc"'))).toContain("NCC0208");
    expect(refusal(() => tensor("dtype: DT_FLOAT tensor_shape { dim { size: -1 } }"))).toContain("NCC0207");
    expect(refusal(() => tensor("dtype: DT_RESOURCE"))).toContain("NCC0157");
  });
});
