import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type MovableItem, placeWithDelays } from "../../src/schedule/plan/delays.js";
import { peakLive } from "../../src/schedule/plan/items.js";
import { overlaps } from "./placements.js";

const movable = fc
  .array(fc.record({ lower: fc.nat(30), late: fc.nat(8), length: fc.integer({ min: 1, max: 9 }), size: fc.integer({ min: 1, max: 9 }) }), {
    minLength: 1,
    maxLength: 40,
  })
  .map((list) =>
    list.map(({ lower, late, length, size }, index): MovableItem => {
      const upper = lower + length;
      return { id: String(index), lower, upper, size, latest: Math.min(lower + late, upper - 1) };
    }),
  );

describe("placeWithDelays", () => {
  it("finds nothing where more lives at once than the limit", () => {
    const items = [1, 2].map((size) => ({ id: String(size), lower: 0, upper: 2, size }));
    expect(placeWithDelays(items, 2, 0)).toBeUndefined();
    expect(placeWithDelays(items, 3, 0)?.peak).toBe(3);
  });

  it("keeps what lives at once apart, begins nothing too late, and never lowers the bound", () => {
    let found = 0;
    fc.assert(
      fc.property(movable, fc.constantFrom(1, 1.2), fc.constantFrom(0, 3), (items, factor, rest) => {
        const bound = peakLive(items);
        const limit = Math.floor(bound * factor);
        const placement = placeWithDelays(items, limit, rest);
        if (!placement) return;
        found++;
        const delayed = items.map((item, index) => ({ ...item, lower: placement.lowers[index] }));
        expect(overlaps(delayed, placement.offsets)).toBe(false);
        for (const [index, { lower, latest }] of items.entries()) {
          expect(delayed[index].lower).toBeGreaterThanOrEqual(lower);
          expect(delayed[index].lower).toBeLessThanOrEqual(latest!);
        }
        expect(placement.peak).toBe(Math.max(...items.map(({ size }, index) => placement.offsets[index] + size)));
        expect(placement.peak).toBeLessThanOrEqual(limit);
        expect(peakLive(delayed)).toBe(bound);
      }),
      { seed: 4, numRuns: 400 },
    );
    expect(found).toBeGreaterThan(100);
  });

  it("finds none below the bound", () => {
    const items = [0, 1].map((index) => ({ id: String(index), lower: index, upper: 4, latest: 2, size: 5 }));
    expect(placeWithDelays(items, 9, 0)).toBeUndefined();
  });

  it("meets the bound where nothing can without delays", () => {
    const chain = Array.from({ length: 40 }, (_, index) => ({ id: String(index), lower: index, upper: index + 3, size: 1 + (index % 2) }));
    expect(placeWithDelays(chain, 5, 0)).toBeUndefined();
    const waiting = chain.map((item) => ({ ...item, latest: item.lower + 1 }));
    expect(placeWithDelays(waiting, 5, 0)).toMatchObject({ peak: 5 });
  });
});
