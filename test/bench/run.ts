/** `npm run bench -- [NAME...] [--json FILE]`: all benchmarks, or those named. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { benchmarks } from "./benchmarks.js";
import type { Row } from "./rows.js";

function print({ work, threads, unit, ours, peers, limit }: Row): void {
  const figure = (value: number) => (value < 0.001 ? value.toExponential(1) : value < 10 ? value.toFixed(3) : value.toFixed(1));
  const others = Object.entries(peers).map(([name, value]) => `${name} ${figure(value)} (ours: ${(ours / value).toFixed(2)} x)`);
  const asked = limit === undefined ? [] : [`at most ${figure(limit)}: ${ours <= limit ? "met" : "MISSED"}`];
  process.stdout.write(`${[`${work}, ${threads} thread(s): ${figure(ours)} ${unit}`, ...others, ...asked].join("; ")}\n`);
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({ options: { json: { type: "string" } }, allowPositionals: true });
  const names = positionals.length > 0 ? positionals : Object.keys(benchmarks);
  const unknown = names.find((name) => !Object.hasOwn(benchmarks, name));
  if (unknown !== undefined) throw new Error(`no benchmark ${unknown}; there are ${Object.keys(benchmarks).join(", ")}`);
  const rows: Row[] = [];
  for (const name of names) {
    const measured = await benchmarks[name]();
    measured.forEach(print);
    rows.push(...measured);
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ rows }, null, 2)}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
