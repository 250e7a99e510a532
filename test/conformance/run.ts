/**
 * `npm run conformance -- DIR [--json FILE] [--page FILE] [--processes N] [--limit SECONDS] [--fast-math WORDS]`: every ONNX backend-style test folder below
 * DIR, compiled and run as the compiler places it, with `--fast-math all`, and with every supported operator on the NeuronCore and `none`. `--fast-math`
 * gives other words to both runs. `npm run conformance:tensorflow` does the same with
 * folders of SavedModels and frozen graphs. Exit 1 if a test failed, or was refused without having to be.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { allRecords, isSupported } from "../../src/operators/index.js";
import { parsePrecision } from "../../src/passes/index.js";
import { runPool } from "./pool.js";
import { suites } from "./suites.js";
import { countOperators, formatPage, formatTable, heldTo } from "./table.js";

const listed = new Set(allRecords().flatMap((record) => (isSupported(record) ? [record.name] : [])));

function isListed(type: string): boolean {
  return listed.has(type);
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    options: {
      suite: { type: "string", default: "ONNX" },
      json: { type: "string" },
      page: { type: "string" },
      processes: { type: "string" },
      limit: { type: "string", default: "600" },
      "fast-math": { type: "string", multiple: true },
    },
    allowPositionals: true,
  });
  if (positionals.length === 0)
    throw new Error("usage: npm run conformance -- DIR... [--json FILE] [--page FILE] [--processes N] [--fast-math WORDS]");
  const fastMath = values["fast-math"]?.flatMap((words) => words.split(/\s+/));
  parsePrecision(fastMath, undefined);
  const suite = values.suite === "TENSORFLOW" ? suites.TENSORFLOW : suites.ONNX;
  const tests = positionals.flatMap(suite.find).map((test) => ({ ...test, fastMath }));
  if (tests.length === 0) throw new Error(`${positionals.join(", ")}: holds no folder with ${suite.holds}`);
  const processes = values.processes === undefined ? availableParallelism() : Number(values.processes);
  let done = 0;
  const rows = await runPool(tests, {
    processes,
    limitSeconds: Number(values.limit),
    worker: new URL("./worker.js", import.meta.url),
    done: () => {
      done++;
      if (process.stderr.isTTY) process.stderr.write(`\r${done}/${tests.length}`);
    },
  });
  if (process.stderr.isTTY) process.stderr.write("\r");
  process.stdout.write(`${formatTable(rows, heldTo)}\n`);
  if (values.page !== undefined) writeFileSync(values.page, formatPage(rows, heldTo, isListed));
  if (values.json !== undefined) {
    const plain = rows.map(({ operators: _, ...row }) => row);
    writeFileSync(values.json, `${JSON.stringify({ tests: plain, operators: countOperators(rows) }, null, 1)}\n`);
  }
  process.exitCode = rows.every(({ isFine }) => isFine) ? 0 : 1;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
