/**
 * `npm run bench -- [NAME...] [--json FILE] [--page FILE]`: all benchmarks, or those named; NAME stands for every NAME:PART too. With `--page` what a
 * benchmark has for a page is written into that file's section `bench NAME`. Exit 1 if a limit is missed.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { writeSection } from "../pages.js";
import { benchmarks } from "./benchmarks.js";
import { isMissed, type Row } from "./rows.js";

/** Four digits, or fewer where they are zeros. */
function figure(value: number): string {
  return value !== 0 && value < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

function print({ work, threads, unit, ours, peers, limit }: Row): void {
  const others = Object.entries(peers).map(([name, value]) => `${name} ${figure(value)} (ours: ${(ours / value).toFixed(2)} x)`);
  const asked = limit === undefined ? [] : [`at most ${figure(limit)}: ${isMissed({ ours, limit }) ? "MISSED" : "met"}`];
  process.stdout.write(`${[`${work}, ${threads} thread(s): ${figure(ours)} ${unit}`, ...others, ...asked].join("; ")}\n`);
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({ options: { json: { type: "string" }, page: { type: "string" } }, allowPositionals: true });
  const all = Object.keys(benchmarks);
  const isPart = (name: string, wanted: string) => name === wanted || name.startsWith(`${wanted}:`);
  const unknown = positionals.find((wanted) => !all.some((name) => isPart(name, wanted)));
  if (unknown !== undefined) throw new Error(`no benchmark ${unknown}; there are ${all.join(", ")}`);
  const names = positionals.length === 0 ? all : all.filter((name) => positionals.some((wanted) => isPart(name, wanted)));
  const rows: Row[] = [];
  for (const name of names) {
    const measured = await benchmarks[name]();
    measured.rows.forEach(print);
    rows.push(...measured.rows);
    if (values.page !== undefined && measured.page) writeSection(values.page, `bench ${name}`, measured.page);
  }
  if (rows.some(isMissed)) process.exitCode = 1;
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ rows }, null, 2)}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
