import { describe, expect, it } from "vitest";
import { viewBytes } from "../../src/simulator/boundary.js";

describe("raw bytes", () => {
  it("are read at any offset of a file's buffer", () => {
    const file = Buffer.from([9, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
    expect([...viewBytes("float32", file.subarray(1))]).toEqual([1, 2]);
  });
});
