import { beforeAll, describe, expect, it } from "vitest";
import { seeded } from "../../src/graph/random.js";
import { checkProgram } from "../../src/program/check.js";
import type { Program } from "../../src/program/program.js";
import { schedule } from "../../src/schedule/index.js";
import { compiledNetworks } from "./compiled.js";
import { type Mutation, mutations } from "./mutants.js";
import { isBroken } from "./oracle.js";
import { type SampleOptions, sampleNetwork } from "./samples.js";

const MUTANTS_PER_KIND = 20;

/** Small networks: all streamed, some resident, activations through DRAM or on chip, one or two tiles of channels. */
const samples: readonly SampleOptions[] = [
  { layers: 2, channels: 1, height: 6, width: 4, rows: 2, residentLayers: 0, spillEvery: 1 },
  { layers: 3, channels: 1, height: 4, width: 4, rows: 2, residentLayers: 1, spillEvery: 2 },
  { layers: 2, channels: 2, height: 4, width: 3, rows: 2, residentLayers: 1, spillEvery: 0 },
];

function scheduled(options: SampleOptions): Program {
  const result = schedule(sampleNetwork(options));
  if (!result.fits) throw new Error("the sample fits");
  return result.program;
}

/**
 * Counts of mutants that change what is ordered or where something lies, and of those that the checker finds. A moved
 * buffer in free space, or a shift that gives another sound program, is harmless; a finding there is the checker's being stricter
 * than need be: it wants whole buffers apart.
 */
function tally(
  programs: readonly Program[],
  mutation: Mutation,
): { broken: number; caught: number; falseAlarms: number; harmless: number } {
  const result = { broken: 0, caught: 0, falseAlarms: 0, harmless: 0 };
  for (const [index, program] of programs.entries()) {
    const random = seeded(1000 * index + mutation.length);
    for (let count = 0; count < MUTANTS_PER_KIND; count++) {
      const mutant = mutations[mutation](program, random);
      const found = checkProgram(mutant).length > 0;
      if (isBroken(mutant)) {
        result.broken++;
        if (found) result.caught++;
      } else {
        result.harmless++;
        if (found) result.falseAlarms++;
      }
    }
  }
  return result;
}

const sources = [
  { name: "hand-made programs", programs: async () => samples.map(scheduled) },
  { name: "compiled networks", programs: async () => [...(await compiledNetworks()).values()] },
];

describe.each(sources)("the checker on mutants of $name", ({ programs: make }) => {
  let programs: readonly Program[];
  beforeAll(async () => {
    programs = await make();
  });

  it("which are sound themselves, by the checker and by brute force", () => {
    for (const program of programs) {
      expect(checkProgram(program)).toEqual([]);
      expect(isBroken(program)).toBe(false);
    }
  });

  it("finds at least 95 % of those that change a dependency or an address", () => {
    const kinds = Object.keys(mutations).filter((name): name is Mutation => name in mutations);
    const tallies = kinds.map((kind) => ({ kind, ...tally(programs, kind) }));
    const broken = tallies.reduce((sum, each) => sum + each.broken, 0);
    const caught = tallies.reduce((sum, each) => sum + each.caught, 0);
    for (const each of tallies) expect(each.broken, each.kind).toBeGreaterThan(0);
    expect(caught / broken, JSON.stringify(tallies)).toBeGreaterThanOrEqual(0.95);
  });
});
