/** What the test files of random graphs share: each takes some seeds, so that they run beside each other. */
import { describe, expect, it } from "vitest";
import { randomCase } from "./case.js";
import { checkCase } from "./check.js";

/** Graphs a test. */
const BLOCK = 100;

/** Graphs of the seeds from `from` on. One that fails is made smaller by `node dist/test/random/run.js --from SEED --count 1 --reduce`. */
export function randomGraphs(from: number, count: number): void {
  describe("random graphs against ONNX Runtime", () => {
    const blocks = Array.from({ length: count / BLOCK }, (_, index) => from + index * BLOCK);
    it.each(blocks)("100 seeds from %i on", { timeout: 300_000 }, async (first) => {
      const failures: string[] = [];
      for (let seed = first; seed < first + BLOCK; seed++) {
        const failure = await checkCase(randomCase(seed));
        if (failure) failures.push(`seed ${seed}: ${failure.kind}: ${failure.detail}`);
      }
      expect(failures).toEqual([]);
    });
  });
}
