import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "pipeline-plan-"));

function instance(maxSizePerFPGA: number): string {
  const file = join(folder, `${maxSizePerFPGA}.json`);
  const nodes = [1, 2, 3].map((id) => ({ id, supportedOnFpga: 1, fpgaLatency: 2, size: 4 }));
  writeFileSync(file, JSON.stringify({ maxFPGAs: 2, maxSizePerFPGA, nodes, edges: [{ sourceId: 1, destId: 2, cost: 1 }] }));
  return file;
}

describe("neuronc pipeline-plan", () => {
  it("prints value, bound and stages", async () => {
    const { code, out } = await command(neuronc, "pipeline-plan", instance(8), "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ value: 4, bound: 4, stages: [{ device: 0 }, { device: 1 }] });
    expect((await command(neuronc, "pipeline-plan", instance(8), "--devices", "3")).out).toContain("slowest stage 3");
  });

  it.each([
    ["NCC0602", [instance(4)]],
    ["NCC0802", [folder]],
    ["NCC0802", [join(folder, "none.json")]],
    ["NCC0402", [instance(8), "--devices", "0"]],
  ])("%s for %j, exit 1", async (id, words) => {
    const { code, err } = await command(neuronc, "pipeline-plan", ...words);
    expect([code, err]).toEqual([1, expect.stringContaining(id)]);
  });
});
