import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { decodeHeader, encodeHeader, HEADER_BYTES, hashHolds } from "../../src/neff/header.js";
import { readTar, tarPieces } from "../../src/neff/tar.js";
import { fits, mismatch } from "../../src/options/schema.js";

const bytes = (text: string) => Buffer.from(text, "utf8");

describe("tar", () => {
  const sources = [
    { name: "manifest.json", pieces: [bytes("{}")] },
    { name: "sg00/core0.weights", pieces: [new Uint8Array(700).fill(7), new Uint8Array(324).fill(9)] },
    { name: "empty", pieces: [] },
  ];

  it("reads back what it wrote, pieces joined", () => {
    const entries = readTar(Buffer.concat(tarPieces(sources)));
    expect(entries?.map(({ name, data }) => [name, data.length])).toEqual([
      ["manifest.json", 2],
      ["sg00/core0.weights", 1024],
      ["empty", 0],
    ]);
    expect(entries?.[1].data[700]).toBe(9);
  });

  it("is read by tar", () => {
    const list = execFileSync("tar", ["tvf", "-"], { input: Buffer.concat(tarPieces(sources)), encoding: "utf8" });
    expect(list).toMatch(/1024 .*1970-01-01|1024 .*1969-12-31/);
    expect(list).toContain("sg00/core0.weights");
  });

  it("refuses a cut or changed archive", () => {
    const archive = Buffer.concat(tarPieces(sources));
    expect(readTar(archive.subarray(0, 1000))).toBeUndefined();
    expect(readTar(archive.subarray(0, archive.length - 1024))).toBeUndefined();
    const changed = Buffer.from(archive);
    changed[3] ^= 1;
    expect(readTar(changed)).toBeUndefined();
  });
});

describe("header", () => {
  const data = [bytes("some"), bytes("data")];
  const fields = {
    packageVersion: 2,
    headerSize: 1024,
    versionMajor: 1,
    versionMinor: 0,
    buildVersion: "neuronc 0.1.0",
    cores: 3,
    name: "a network",
    requestedCores: 4,
    coresPerNode: [1, 0, 2],
    featureBits: 1,
    logicalCoreSize: 1,
  };
  const header = encodeHeader(fields, data);

  it("has the vendor's fields at the vendor's offsets", () => {
    const view = Buffer.from(header);
    expect(view.length).toBe(HEADER_BYTES);
    expect(view.readBigUInt64LE(0)).toBe(2n);
    expect(view.readBigUInt64LE(8)).toBe(1024n);
    expect(view.readBigUInt64LE(16)).toBe(8n);
    expect(view.readUInt32LE(168)).toBe(3);
    expect(view.toString("latin1", 220, 229)).toBe("a network");
    expect(view.readUInt32LE(476)).toBe(4);
    expect([...view.subarray(480, 484)]).toEqual([1, 0, 2, 0]);
    expect(view.readUInt32LE(552)).toBe(1);
    expect(decodeHeader(header)).toMatchObject({ ...fields, dataSize: 8, coresPerNode: expect.arrayContaining([2]) });
  });

  it("tells any changed byte by its hash", () => {
    const file = Buffer.concat([header, ...data]);
    expect(hashHolds(file)).toBe(true);
    for (let at = 0; at < file.length; at++) {
      file[at] ^= 0x10;
      expect(hashHolds(file), `byte ${at}`).toBe(false);
      file[at] ^= 0x10;
    }
  });
});

describe("schema", () => {
  const schema = { fields: { name: "string", sizes: { list: "count" }, kind: { optional: { oneOf: ["a", "b"] } } } } as const;

  it("accepts what fits and names what does not", () => {
    const value: unknown = { name: "x", sizes: [1, 2], other: true };
    expect(fits(schema, value) && value.sizes[1]).toBe(2);
    expect(mismatch(schema, { name: "x", sizes: [1, -2] })).toBe("$.sizes[1]: not a count");
    expect(mismatch(schema, { name: "x", sizes: [], kind: "c" })).toBe("$.kind: not one of a, b");
    expect(mismatch(schema, { sizes: [] })).toBe("$.name: not a string");
    expect(mismatch(schema, [])).toBe("$: not an object");
    expect(mismatch({ record: "dtype" }, { x: "float33" })).toBe("$.x: not a dtype");
  });
});
