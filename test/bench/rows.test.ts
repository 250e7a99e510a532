import { describe, expect, it } from "vitest";
import { isMissed, median } from "./rows.js";

describe("benchmark rows", () => {
  it.each([
    [1, 1, false],
    [1.01, 1, true],
    [Number.POSITIVE_INFINITY, 30, true],
    [Number.NaN, 30, true],
    [5, undefined, false],
  ])("%d of at most %d: missed is %s", (ours, limit, missed) => {
    expect(isMissed({ ours, limit })).toBe(missed);
  });

  it("take the middle, or the mean of two", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
  });
});
