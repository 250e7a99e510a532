import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocate } from "../../src/schedule/allocate.js";
import { joinBlocks, unpack } from "../../src/schedule/plan/blocks.js";
import { parseMemoryInstance, printMemoryPlan } from "../../src/schedule/plan/instance.js";
import { independentParts } from "../../src/schedule/plan/parts.js";
import { search } from "../../src/schedule/plan/restarts.js";
import { cutSquare, numbers, overlaps, possible } from "./placements.js";

const fewItems = fc
  .array(fc.record({ lower: fc.nat(7), length: fc.integer({ min: 1, max: 5 }), size: fc.integer({ min: 1, max: 4 }) }), { maxLength: 7 })
  .map((list) => list.map(({ lower, length, size }, index) => ({ id: String(index), lower, upper: lower + length, size })));

describe("search", () => {
  it("agrees with brute force on what is possible", () => {
    fc.assert(
      fc.property(fewItems, fc.integer({ min: 1, max: 12 }), (items, capacity) => {
        const { outcome, offsets } = search(items, capacity, 100_000);
        expect(outcome).toBe(possible(items, capacity) ? "found" : "none");
        if (offsets) expect(overlaps(items, offsets)).toBe(false);
        for (const [index, item] of items.entries()) expect((offsets?.[index] ?? 0) + item.size <= capacity || !offsets).toBe(true);
      }),
      { seed: 3, numRuns: 400 },
    );
  });

  it.each([1, 2, 3, 4, 5, 6])("finds a place where nothing is to spare (%i)", (seed) => {
    const items = cutSquare(1000, 50, seed);
    const allocation = allocate(items, { capacity: 1000, nodeLimit: 300_000 });
    expect(allocation).toMatchObject({ peak: 1000, bound: 1000, fits: true });
    expect(overlaps(items, allocation.offsets)).toBe(false);
  });

  it("finds the same in the same number of nodes, and stops at its limit", () => {
    const items = cutSquare(1000, 50, 7);
    expect(search(items, 1000, 300_000)).toEqual(search(items, 1000, 300_000));
    expect(search(cutSquare(10_000, 300, 1), 10_000, 7)).toEqual({ outcome: "limit", nodes: 7 });
  });

  it("takes instances of any size", () => {
    const items = Array.from({ length: 2000 }, (_, index) => ({
      id: String(index),
      lower: index,
      upper: index + 3,
      size: 1,
    }));
    expect(search(items, 3, 10_000).outcome).toBe("found");
    const unlike = Array.from({ length: 6000 }, (_, index) => ({ id: String(index), lower: index, upper: index + 3, size: 1000 + index }));
    const { outcome, offsets } = search(unlike, 25_000, 10_000);
    expect(outcome).toBe("found");
    expect(unlike.every(({ size }, index) => (offsets?.[index] ?? 0) + size <= 25_000)).toBe(true);
    expect(search([], 0, 10)).toMatchObject({ outcome: "found" });
  });
});

describe("independentParts", () => {
  it("puts what lives through all of a part at its bottom, and cuts what is left where nothing lives", () => {
    const items = [
      [0, 9, 5],
      [0, 4, 3],
      [0, 2, 1],
      [2, 4, 1],
      [4, 7, 2],
      [6, 9, 2],
    ].map(([lower, upper, size], index) => ({ id: String(index), lower, upper, size }));
    const { open, offsets } = independentParts(items);
    expect([...offsets]).toEqual([0, 5, 8, 8, 0, 0]);
    expect(open).toEqual([{ items: [4, 5], base: 5 }]);
  });
});

describe("joinBlocks", () => {
  it("joins what lives together and what succeeds, so that any plan of the blocks is one of the items", () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const items = cutSquare(1000, 80, seed);
      for (const share of [0, 0.3, 1]) {
        const blocks = joinBlocks(items, share, numbers(seed));
        expect(blocks.length < items.length).toBe(share > 0);
        const tops = blocks.map((_, index) => blocks.slice(0, index).reduce((sum, { size }) => sum + size, 0));
        expect(overlaps(items, unpack(blocks, tops, items.length))).toBe(false);
      }
    }
  });
});

describe("parseMemoryInstance", () => {
  it("takes columns in any order, line ends of any kind, quotes and an earlier offset", () => {
    const items = parseMemoryInstance("x.csv", '\uFEFFsize, lower,Upper,id,offset\r\n3,-1,2,"a, ""b""",7\r\n\r\n0,5,6,c,');
    expect(items).toEqual([
      { id: 'a, "b"', lower: -1, upper: 2, size: 3 },
      { id: "c", lower: 5, upper: 6, size: 0 },
    ]);
    expect(printMemoryPlan(items, [4, 0])).toBe('id,lower,upper,size,offset\n"a, ""b""",-1,2,3,4\nc,5,6,0,0\n');
    expect(parseMemoryInstance("x.csv", "id,lower,upper,size")).toEqual([]);
  });

  it.each([
    ["", "it is empty"],
    ["id,lower,upper\n1,0,1", "column size is missing"],
    ["id,lower,upper,size,alignment\n1,0,1,4,8", "column alignment is not known"],
    ["id,lower,upper,size,size\n1,0,1,4,8", "column size is there twice"],
    ["id,lower,upper,size\n1,0,1", "line 2 has 3 fields, not 4"],
    ["id,lower,upper,size\n1,0,1,2,3", "line 2 has 5 fields, not 4"],
    ["id,lower,upper,size\n1,0,x,4", 'line 2: upper is "x"'],
    ["id,lower,upper,size\n1,0,1,4.5", 'line 2: size is "4.5"'],
    ["id,lower,upper,size\n1,0,1,99999999999999999", "line 2: size is"],
    ["id,lower,upper,size\n1,0,1,-4", "line 2: size is -4"],
    ["id,lower,upper,size\n1,2,2,4", "line 2: lower 2 is not less than upper 2"],
    ["id,lower,upper,size\n1,0,1,4\n\n1,1,2,4", "line 4: id 1 is that of line 2 too"],
    ["id,lower,upper,size\n,0,1,4", "line 2: id is empty"],
  ])("refuses %j with NCC0603", (text, detail) => {
    expect(() => parseMemoryInstance("x.csv", text)).toThrow(`NCC0603: x.csv: not a memory-plan instance: ${detail}`);
  });
});

const shared = join(import.meta.dirname, "../../../shared/minimalloc");

describe.skipIf(!existsSync(shared))("MiniMalloc's instances (skipped without ../shared)", () => {
  const files = existsSync(shared) ? readdirSync(shared).filter((name) => name.endsWith(".csv")) : [];
  it.each(files)("%s", { timeout: 120_000 }, (name) => {
    const capacity = Number(name.split(".")[1]);
    const items = parseMemoryInstance(name, readFileSync(join(shared, name), "utf8"));
    const { offsets, peak, fits } = allocate(items, { capacity, goal: capacity, nodeLimit: 5e6 });
    expect(fits).toBe(true);
    expect(overlaps(items, offsets)).toBe(false);
    expect(peak).toBe(items.reduce((most, item, index) => Math.max(most, offsets[index] + item.size), 0));
    expect(peak).toBeLessThanOrEqual(capacity);
  });
});
