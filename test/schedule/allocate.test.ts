import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocate } from "../../src/schedule/allocate.js";
import { type AllocationItem, peakLive } from "../../src/schedule/plan/items.js";
import { allocatePsum } from "../../src/schedule/psum.js";
import { overlaps, possible } from "./placements.js";

const items = (maxLength: number) =>
  fc
    .array(fc.record({ lower: fc.nat(9), length: fc.integer({ min: 1, max: 6 }), size: fc.integer({ min: 1, max: 5 }) }), { maxLength })
    .map((list) =>
      list.map(({ lower, length, size }, index): AllocationItem => ({ id: String(index), lower, upper: lower + length, size })),
    );

describe("allocate", () => {
  it("never lets two live items overlap, and reports its peak and bound truly", () => {
    fc.assert(
      fc.property(items(40), (list) => {
        const { offsets, peak, bound } = allocate(list);
        expect(overlaps(list, offsets)).toBe(false);
        expect(peak).toBe(list.reduce((most, item, index) => Math.max(most, offsets[index] + item.size), 0));
        const live = (time: number) => list.reduce((sum, item) => sum + (item.lower <= time && time < item.upper ? item.size : 0), 0);
        expect(bound).toBe(Math.max(...Array.from({ length: 20 }, (_, time) => live(time))));
        expect(bound).toBeLessThanOrEqual(peak);
      }),
      { seed: 11, numRuns: 300 },
    );
  });

  it("agrees with brute force: never below the least possible peak, and at most a third above it", () => {
    let optimal = 0;
    let total = 0;
    fc.assert(
      fc.property(items(6), (list) => {
        let least = peakLive(list);
        while (!possible(list, least)) least++;
        const { peak, fits } = allocate(list, { capacity: least });
        expect(peak).toBeGreaterThanOrEqual(least);
        expect(peak).toBeLessThanOrEqual(Math.ceil((least * 4) / 3));
        expect(fits).toBe(peak === least);
        total++;
        if (peak === least) optimal++;
      }),
      { seed: 5, numRuns: 150 },
    );
    expect(optimal / total).toBeGreaterThan(0.9);
  });

  it("gives the same result for the same input, and nothing for nothing", () => {
    const list = fc.sample(items(30), { seed: 1, numRuns: 1 })[0];
    expect(allocate(list)).toEqual(allocate(list));
    expect(allocate([], { capacity: 0 })).toMatchObject({ peak: 0, bound: 0, fits: true });
  });

  it("says when it does not fit", () => {
    const list = [0, 1, 2].map((index) => ({ id: String(index), lower: 0, upper: 2, size: 4 }));
    expect(allocate(list, { capacity: 11 })).toMatchObject({ peak: 12, bound: 12, fits: false });
    expect(allocate(list, { capacity: 12 }).fits).toBe(true);
  });
});

describe("allocatePsum", () => {
  const tile = (lower: number, upper: number, size = 2048) => ({ id: `${lower}`, lower, upper, size });

  it("rotates the banks", () => {
    const { offsets } = allocatePsum([tile(0, 2), tile(2, 4), tile(4, 6), tile(6, 8), tile(8, 10)], 4, 2048);
    expect([...offsets]).toEqual([0, 2048, 4096, 6144, 0]);
  });

  it("lets small buffers share a bank where all are in use", () => {
    const { offsets, fits } = allocatePsum(
      [tile(0, 9), tile(0, 9), tile(0, 9), tile(0, 9, 512), tile(1, 9, 1024), tile(2, 9, 512)],
      4,
      2048,
    );
    expect(fits).toBe(true);
    expect([...offsets]).toEqual([0, 2048, 4096, 6144, 6656, 7680]);
  });

  it("packs where rotating does not fit", () => {
    const small = [0, 1, 2, 3].map((lower) => tile(lower, 20, 256));
    expect(allocatePsum([...small, tile(5, 20), tile(5, 20), tile(5, 20)], 4, 2048).fits).toBe(true);
  });

  it("keeps live buffers apart and in one bank", () => {
    fc.assert(
      fc.property(items(12), (list) => {
        const { offsets, fits } = allocatePsum(list, 4, 8);
        if (!fits) return;
        expect(overlaps(list, offsets)).toBe(false);
        for (const [index, item] of list.entries()) {
          expect(Math.floor(offsets[index] / 8)).toBe(Math.floor((offsets[index] + item.size - 1) / 8));
        }
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it("says when it does not fit", () => {
    expect(allocatePsum([tile(0, 2, 2049)], 4, 2048).fits).toBe(false);
    expect(
      allocatePsum(
        [0, 1, 2, 3, 4].map((lower) => tile(lower, 9)),
        4,
        2048,
      ).fits,
    ).toBe(false);
  });
});
