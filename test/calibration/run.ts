/**
 * `npm run calibrate -- [--fit]`: the vendor's published measurements beside our predictions, and the error of each row. With `--fit` the
 * fitted figures of `inf1.json` are searched for, from where they stand, and printed; nothing is written.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { networks } from "../../models/networks.js";
import { compileModel } from "../../src/driver/compile.js";
import { predictService, type Service } from "../../src/driver/predict.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { fittedFigures, type Hardware, hardware } from "../../src/hardware/hardware.js";
import type { Artifact } from "../../src/neff/artifact.js";
import { type CalibrationRow, calibrationFile, calibrationRows } from "./rows.js";

/** A row with our program for it. */
interface Case {
  readonly row: CalibrationRow;
  readonly artifact: Artifact;
}

function predictRow({ row, artifact }: Case, figures: Hardware): Service {
  const { instance, replicas, inFlight, userBatch } = row;
  return predictService(artifact, { instance, replicas, inFlight, userBatch, hardware: figures });
}

function errorOf({ row, artifact }: Case, figures: Hardware): number {
  return predictRow({ row, artifact }, figures).throughputPerSecond / row.throughput - 1;
}

async function compileCases(rows: readonly CalibrationRow[]): Promise<Case[]> {
  const folder = mkdtempSync(join(tmpdir(), "calibrate-"));
  const cases: Case[] = [];
  try {
    const written = new Map<string, string>();
    for (const row of rows) {
      const network = networks[row.network];
      if (!network) {
        process.stdout.write(`skipped, there is no generated ${row.network}: ${row.label}\n`);
        continue;
      }
      const path = written.get(row.network) ?? join(folder, `${row.network}.onnx`);
      if (!written.has(row.network)) writeFileSync(path, writeOnnx(network({})));
      written.set(row.network, path);
      const options = { batchSize: row.batch, fastMath: [row.fastMath], neuroncorePipelineCores: row.pipelineCores };
      cases.push({ row, artifact: (await compileModel(path, options)).artifact });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return cases;
}

/** Sum of the squared logarithms of predicted / published. */
function loss(cases: readonly Case[], figures: Hardware): number {
  return cases.reduce((sum, each) => sum + Math.log1p(errorOf(each, figures)) ** 2, 0);
}

/** Coordinate descent: one figure up or down at a time while that helps, then with half the step. */
function fit(cases: readonly Case[], start: Hardware): Hardware {
  let best = start;
  let least = loss(cases, start);
  for (let step = 0.2; step > 0.02; step /= 2) {
    for (let improved = true; improved; ) {
      improved = false;
      for (const name of fittedFigures) {
        for (const factor of [1 + step, 1 / (1 + step)]) {
          const value = name === "requestGapSeconds" ? best[name] * factor : Math.min(1, best[name] * factor);
          const tried = { ...best, [name]: value };
          const found = loss(cases, tried);
          if (found >= least - 1e-9) continue;
          [best, least, improved] = [tried, found, true];
        }
      }
    }
  }
  return best;
}

function print(cases: readonly Case[], figures: Hardware): void {
  const out = (text: string) => process.stdout.write(`${text}\n`);
  out("| row | published /s | predicted /s | error | latency ms | predicted | bound | share of tensor peak published | predicted |");
  out("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  const errors = cases.map((each) => {
    const service = predictRow(each, figures);
    const { row } = each;
    const error = service.throughputPerSecond / row.throughput - 1;
    const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
    const implied = (service.tensorPeakShare * row.throughput) / service.throughputPerSecond;
    const cells = [
      row.label,
      row.throughput,
      service.throughputPerSecond.toFixed(0),
      `${error > 0 ? "+" : ""}${percent(error)}`,
      row.latencyMs ?? "",
      service.latencyMs.toFixed(1),
      service.bound,
      percent(implied),
      percent(service.tensorPeakShare),
    ];
    out(`| ${cells.join(" | ")} |`);
    return Math.abs(error);
  });
  const mean = errors.reduce((sum, error) => sum + error, 0) / Math.max(1, errors.length);
  out(`mean absolute error ${(100 * mean).toFixed(1)} %, largest ${(100 * Math.max(0, ...errors)).toFixed(1)} %, ${errors.length} rows`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { fit: { type: "boolean" } } });
  const rows = calibrationRows();
  if (rows.length === 0) {
    process.stdout.write(`skipped: there is no ${calibrationFile}\n`);
    return;
  }
  const cases = await compileCases(rows);
  print(cases, hardware);
  if (!values.fit) return;
  const fitted = fit(cases, hardware);
  for (const name of fittedFigures) process.stdout.write(`${name}: ${hardware[name]} -> ${fitted[name].toPrecision(3)}\n`);
  print(cases, fitted);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
});
