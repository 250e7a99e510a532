import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Candidate, chooseKept } from "../../src/lower/spill.js";

const NODES = 8;
const candidates: fc.Arbitrary<Candidate[]> = fc.array(
  fc
    .record({
      bytes: fc.integer({ min: 1, max: 6 }),
      first: fc.nat(NODES - 1),
      length: fc.nat(5),
      reloadSeconds: fc.integer({ min: 1, max: 9 }),
    })
    .map(({ bytes, first, length, reloadSeconds }) => ({ bytes, first, last: Math.min(NODES - 1, first + length), reloadSeconds })),
  { maxLength: 9 },
);

function liveAt(list: readonly Candidate[], node: number): number {
  return list.filter(({ first, last }) => first <= node && node <= last).reduce((sum, { bytes }) => sum + bytes, 0);
}

const fits = (list: readonly Candidate[], budget: number) =>
  Array.from({ length: NODES }, (_, node) => liveAt(list, node)).every((bytes) => bytes <= budget);
const cost = (list: readonly Candidate[]) => list.reduce((sum, { reloadSeconds }) => sum + reloadSeconds, 0);

/** The least re-load time of what has to go, by trying every choice. */
function leastCost(list: readonly Candidate[], budget: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let code = 0; code < 2 ** list.length; code++) {
    const spilled = list.filter((_, index) => (code >> index) & 1);
    const kept = list.filter((_, index) => !((code >> index) & 1));
    if (cost(spilled) < least && fits(kept, budget)) least = cost(spilled);
  }
  return least;
}

describe("chooseKept", () => {
  it("keeps what fits at every node, nothing more fits, and what goes costs little more than the least", () => {
    let taken = 0;
    let least = 0;
    fc.assert(
      fc.property(candidates, fc.integer({ min: 1, max: 15 }), (list, budget) => {
        const used = new Float64Array(NODES + 1);
        const chosen = chooseKept(list, used, budget);
        const kept = list.filter((_, index) => chosen.has(index));
        const spilled = list.filter((_, index) => !chosen.has(index));
        for (let node = 0; node < NODES; node++) expect(used[node]).toBe(liveAt(kept, node));
        expect(fits(kept, budget)).toBe(true);
        for (const one of spilled) expect(fits([...kept, one], budget)).toBe(false);
        taken += cost(spilled);
        least += leastCost(list, budget);
      }),
      { seed: 11, numRuns: 300 },
    );
    expect(taken).toBeLessThan(1.1 * least);
  });

  it("spills what is used late and seldom rather than what is used often, and only where it frees something", () => {
    const often = { bytes: 4, first: 2, last: 3, reloadSeconds: 9 };
    const seldom = { bytes: 4, first: 0, last: 7, reloadSeconds: 2 };
    const elsewhere = { bytes: 4, first: 5, last: 6, reloadSeconds: 1 };
    expect([...chooseKept([often, seldom, elsewhere], new Float64Array(NODES + 1), 4)].sort()).toEqual([0, 2]);
    expect([...chooseKept([often, elsewhere], new Float64Array(NODES + 1), 4)].sort()).toEqual([0, 1]);
  });
});
