/**
 * `npm run conformance -- DIR [--json FILE] [--page FILE] [--processes N] [--limit SECONDS]`: every ONNX backend-style test folder below DIR, compiled and
 * run as the compiler places it and with every supported operator on the NeuronCore. Exit 1 if a test failed or was refused.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { recordOf } from "../../src/operators/index.js";
import type { Exactness } from "../../src/operators/record.js";
import { findCases } from "./cases.js";
import { runPool } from "./pool.js";
import { countOperators, formatPage, formatTable } from "./table.js";

function exactnessOf(type: string): Exactness {
  return recordOf(type, "")?.exactness ?? "fp32";
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    options: {
      json: { type: "string" },
      page: { type: "string" },
      processes: { type: "string" },
      limit: { type: "string", default: "600" },
    },
    allowPositionals: true,
  });
  if (positionals.length === 0) throw new Error("usage: npm run conformance -- DIR... [--json FILE] [--page FILE] [--processes N]");
  const folders = positionals.flatMap(findCases);
  if (folders.length === 0) throw new Error(`${positionals.join(", ")}: holds no folder with a model.onnx`);
  const processes = values.processes === undefined ? availableParallelism() : Number(values.processes);
  let done = 0;
  const rows = await runPool(folders, {
    processes,
    limitSeconds: Number(values.limit),
    worker: new URL("./worker.js", import.meta.url),
    done: () => {
      done++;
      if (process.stderr.isTTY) process.stderr.write(`\r${done}/${folders.length}`);
    },
  });
  if (process.stderr.isTTY) process.stderr.write("\r");
  process.stdout.write(`${formatTable(rows, exactnessOf)}\n`);
  if (values.page !== undefined) writeFileSync(values.page, formatPage(rows, exactnessOf));
  if (values.json !== undefined) {
    const tests = rows.map(({ operators: _, ...row }) => row);
    writeFileSync(values.json, `${JSON.stringify({ tests, operators: countOperators(rows) }, null, 1)}\n`);
  }
  process.exitCode = rows.every(({ status }) => status === "passed") ? 0 : 1;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
