/** How long the memory planner takes to place instances that leave hardly any room. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { allocate } from "../../src/schedule/allocate.js";
import { parseMemoryInstance } from "../../src/schedule/plan/instance.js";
import type { AllocationItem } from "../../src/schedule/plan/items.js";
import { cutSquare, overlaps } from "../schedule/placements.js";
import { type Measured, row } from "./rows.js";
import { shared } from "./shared.js";

const NODE_LIMIT = 5e6;

/** Seconds to place the items; infinite where they are not placed. */
function seconds(items: readonly AllocationItem[], capacity: number): number {
  const began = performance.now();
  const { fits, offsets } = allocate(items, { capacity, goal: capacity, nodeLimit: NODE_LIMIT });
  const taken = (performance.now() - began) / 1000;
  return fits && !overlaps(items, offsets) ? taken : Number.POSITIVE_INFINITY;
}

/** Squares cut into pieces, and MiniMalloc's instances (NAME.CAPACITY.csv) where they lie beside the checkout. */
export async function memoryPlan(): Promise<Measured> {
  const rows = [100, 300].map((count) =>
    row(`memory plan, a square of ${count} pieces`, "s", seconds(cutSquare(10_000, count, 1), 10_000)),
  );
  const folder = shared("minimalloc");
  if (folder === undefined) return { rows };
  const files = readdirSync(folder).filter((name) => name.endsWith(".csv"));
  const times = files.map((name) => {
    const items = parseMemoryInstance(name, readFileSync(join(folder, name), "utf8"));
    return seconds(items, Number(name.split(".").at(-2)));
  });
  const total = times.reduce((sum, time) => sum + time, 0);
  rows.push(...files.map((name, index) => row(`memory plan, ${name}`, "s", times[index])));
  return { rows: [...rows, row("memory plan, all of MiniMalloc's instances", "s", total, 30)] };
}
