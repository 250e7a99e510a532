import { describe, expect, it } from "vitest";
import { firstCores, placeCopies } from "../../src/program/placement.js";

const machine = { coresPerChip: 4, dramBytesPerChip: 100 };
const place = (bytes: number[], chips = 2, wanted = 64) => placeCopies(bytes, chips, wanted, machine);

describe("placement", () => {
  it("lays subgraphs one after the other", () => {
    expect(firstCores([2, 1, 3])).toEqual([0, 2, 3]);
    expect(firstCores([])).toEqual([]);
  });

  it("lays copies one after the other as far as there are cores", () => {
    expect(place([1, 1, 1])).toEqual([0, 3]);
    expect(place([1], 2, 3)).toEqual([0, 1, 2]);
    expect(place([1, 1, 1, 1, 1], 1)).toEqual([]);
  });

  it("begins a chip anew where memory is short", () => {
    expect(place([40])).toEqual([0, 1, 4, 5]);
    expect(place([60])).toEqual([0, 4]);
    expect(place([101])).toEqual([]);
    expect(place([20, 20, 20, 20, 20], 4)).toEqual([0, 5, 10]);
    // 60 of the second chip are taken, and three cores of 25 would follow.
    expect(place([25, 25, 25, 25, 60], 4)).toEqual([0, 8]);
  });
});
