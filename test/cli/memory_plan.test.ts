import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { cutSquare } from "../schedule/placements.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "memory-plan-"));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const header = "id,lower,upper,size";
const three = file("three.csv", `${header}\na,0,4,2\nb,1,3,3\nc,3,6,3\n`);
/** At most 5 bytes live at once, but every arrangement takes 6. */
const chain = Array.from({ length: 10 }, (_, index) => [index, index, index + 3, 1 + (index % 2)].join());
const impossible = file("impossible.csv", [header, ...chain].join("\n"));
const empty = file("empty.csv", "");
const hard = file("hard.csv", [header, ...cutSquare(10_000, 300, 1).map(Object.values)].join("\n"));

describe("neuronc memory-plan", () => {
  it("prints the plan, or writes it", async () => {
    const plan = "id,lower,upper,size,offset\na,0,4,2,0\nb,1,3,3,2\nc,3,6,3,2\n";
    expect(await command(neuronc, "memory-plan", three, "--capacity", "5")).toEqual({ code: 0, out: plan, err: "" });
    const output = join(folder, "plan.csv");
    const { code, out } = await command(neuronc, "memory-plan", three, "--capacity", "5", "--output", output, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ output, peak: 5, bound: 5, gap: 0, nodes: 0 });
    expect(readFileSync(output, "utf8")).toBe(plan);
  });

  it.each([
    ["NCC0604", [three, "--capacity", "4"]],
    ["NCC0604", [three, "--capacity", "2"]],
    ["NCC0604", [impossible, "--capacity", "5"]],
    ["NCC0605", [hard, "--capacity", "10000", "--node-limit", "5"]],
    ["NCC0603", [empty, "--capacity", "4"]],
    ["NCC0802", [folder, "--capacity", "4"]],
    ["NCC0802", [join(folder, "none.csv"), "--capacity", "4"]],
    ["NCC0402", [three, "--capacity", "-4"]],
    ["NCC0401", [three]],
    ["NCC0706", [three, "--capacity", "5", "--output", join(folder, "none", "plan.csv")]],
    ["NCC0706", [three, "--capacity", "5", "--output", folder]],
  ])("%s for %j, exit 1", async (id, words) => {
    const { code, err } = await command(neuronc, "memory-plan", ...words);
    expect([code, err]).toEqual([1, expect.stringContaining(id)]);
  });
});
