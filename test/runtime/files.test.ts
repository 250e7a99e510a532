import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { fromNumbers, type Tensor, toNumbers } from "../../src/graph/tensor.js";
import { compareTensors } from "../../src/runtime/compare.js";
import { readTensorFile } from "../../src/runtime/files/files.js";
import { readNpy, writeNpy } from "../../src/runtime/files/npy.js";
import { readNpz } from "../../src/runtime/files/npz.js";
import { sha256 } from "../../src/runtime/files/raw.js";
import { randomTensor, zeros } from "../../src/runtime/random.js";
import { refusal } from "../refusal.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-files-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A .npy file with a header as given. */
function npy(header: string, data: Uint8Array): Buffer {
  const lead = Buffer.from("\x93NUMPY\x01\x00", "latin1");
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  return Buffer.concat([lead, length, Buffer.from(header, "latin1"), data]);
}

describe(".npy", () => {
  it.each(["float32", "float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"] as const)(
    "reads back %s",
    (dtype) => {
      const tensor = fromNumbers(dtype, [2, 3], [0, 1, 1, 0, 1, 0]);
      expect(readNpy(writeNpy(tensor), "x.npy")).toEqual(tensor);
    },
  );

  it("keeps scalars, vectors, empty shapes and text", () => {
    for (const shape of [[], [1], [0, 3]]) {
      expect(readNpy(writeNpy(zeros("float32", shape)), "x.npy").shape).toEqual(shape);
    }
    const words: Tensor = { dtype: "string", shape: [3], data: ["a", "", "häuser\u{1f600}"] };
    expect(readNpy(writeNpy(words), "x.npy")).toEqual(words);
  });

  it("widens what NumPy lacks", () => {
    const tensor = fromNumbers("bfloat16", [2], [1.5, -3]);
    expect(readNpy(writeNpy(tensor), "x.npy")).toEqual(fromNumbers("float32", [2], [1.5, -3]));
  });

  it("starts its elements at a multiple of 64, as NumPy does", () => {
    expect((writeNpy(zeros("float32", [5])).length - 20) % 64).toBe(0);
  });

  it("reads big-endian and column-major files", () => {
    const data = Buffer.alloc(12);
    for (const [index, value] of [1, 2, 3, 4, 5, 6].entries()) data.writeInt16BE(value, 2 * index);
    const tensor = readNpy(npy("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }", data), "x.npy");
    expect(toNumbers(tensor)).toEqual([1, 3, 5, 2, 4, 6]);
  });

  it("refuses what is none", () => {
    expect(refusal(() => readNpy(Buffer.from("hello"), "x.npy"))).toContain("NCC0803: x.npy: not a valid .npy file: it does not start");
    expect(refusal(() => readNpy(npy("{'descr': '<f4'}", Buffer.alloc(0)), "x.npy"))).toContain("lacks descr");
    const short = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", Buffer.alloc(12));
    expect(refusal(() => readNpy(short, "x.npy"))).toContain("needs 16 bytes, the file holds 12");
    const object = npy("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }", Buffer.alloc(12));
    expect(refusal(() => readNpy(object, "x.npy"))).toContain("its type |O is not one of");
  });
});

/** A zip with one member. */
function zip(name: string, content: Uint8Array, method: 0 | 8): Buffer {
  const data = method === 8 ? deflateRawSync(content) : Buffer.from(content);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(method, 8);
  local.writeUInt16LE(name.length, 26);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(method, 10);
  entry.writeUInt32LE(data.length, 20);
  entry.writeUInt32LE(content.length, 24);
  entry.writeUInt16LE(name.length, 28);
  const start = 30 + name.length + data.length;
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(46 + name.length, 12);
  end.writeUInt32LE(start, 16);
  return Buffer.concat([local, Buffer.from(name), data, entry, Buffer.from(name), end]);
}

describe(".npz", () => {
  const tensor = fromNumbers("float32", [4], [1, 2, 3, 4]);

  it.each([0, 8] as const)("reads members of method %s", (method) => {
    expect(readNpz(zip("x.npy", writeNpy(tensor), method), "a.npz").get("x")).toEqual(tensor);
  });

  it("refuses a cut file", () => {
    const whole = zip("x.npy", writeNpy(tensor), 8);
    for (const length of [0, 10, whole.length - 30, whole.length - 1]) {
      expect(refusal(() => readNpz(whole.subarray(0, length), "a.npz"))).toContain("NCC0803: a.npz: not a valid .npz file");
    }
  });
});

describe("input files", () => {
  const put = (name: string, content: Uint8Array) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };

  it("reads by extension; of a .npz the array of that name, or the only one", () => {
    const tensor = fromNumbers("int32", [2], [3, 4]);
    expect(readTensorFile(put("a.npy", writeNpy(tensor)), "x")).toEqual(tensor);
    expect(readTensorFile(put("a.npz", zip("other.npy", writeNpy(tensor), 0)), "x")).toEqual(tensor);
  });

  it("says what is wrong", () => {
    expect(refusal(() => readTensorFile(join(folder, "none.npy"), "x"))).toContain("NCC0101");
    expect(refusal(() => readTensorFile(folder, "x"))).toContain("NCC0802");
    expect(refusal(() => readTensorFile(put("bad.pb", Buffer.from("\xff\xff\xff", "latin1")), "x"))).toContain("NCC0803");
    const archive = Buffer.concat([Buffer.from("PK\x05\x06"), Buffer.alloc(18)]);
    expect(refusal(() => readTensorFile(put("none.npz", archive), "x"))).toContain("NCC0804");
    expect(refusal(() => readTensorFile(put("a.jpg", Buffer.from("x")), "x"))).toContain("NCC0805");
  });
});

describe("random inputs", () => {
  it("depend on seed and name alone", () => {
    const first = randomTensor("float32", [1000], 1, "x");
    expect(sha256(randomTensor("float32", [1000], 1, "x"))).toBe(sha256(first));
    expect(sha256(randomTensor("float32", [1000], 2, "x"))).not.toBe(sha256(first));
    expect(sha256(randomTensor("float32", [1000], 1, "y"))).not.toBe(sha256(first));
    const values = toNumbers(first);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.1);
    expect(values.reduce((sum, value) => sum + value * value, 0) / values.length).toBeCloseTo(1, 0);
    expect(new Set(toNumbers(randomTensor("int64", [50], 1, "x")))).toEqual(new Set([0, 1]));
  });
});

describe("comparison", () => {
  it("gives absolute, relative error and cosine", () => {
    const reference = fromNumbers("float32", [1, 4], [1, 2, 4, 0]);
    expect(compareTensors("y", reference, reference)).toEqual({ name: "y", maxAbs: 0, maxRel: 0, peak: 4, cosine: 1, top1: true });
    const off = compareTensors("y", fromNumbers("float32", [1, 4], [1, 5, 4, 0]), reference);
    expect(off).toMatchObject({ maxAbs: 3, maxRel: 1.5, top1: false });
    expect(compareTensors("y", fromNumbers("float32", [4], [1, 5, 4, 0]), reference)).toMatchObject({ maxAbs: Infinity, cosine: 0 });
    const none = fromNumbers("float32", [2, 2, 1], [Number.NaN, 0, 0, 0]);
    expect(compareTensors("y", none, none)).toMatchObject({ maxAbs: 0, cosine: 1 });
  });
});
