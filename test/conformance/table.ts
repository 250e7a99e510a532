/** The runner's results by operator. */
import { boundsInWords, type Exactness } from "../../src/operators/exactness.js";
import { recordOf } from "../../src/operators/index.js";
import { markdown } from "../pages.js";
import type { TestRow } from "./check.js";

/** Numbers of tests that hold an operator: passed with it on the NeuronCore, passed with it on the CPU, failed, refused. */
export interface OperatorCounts {
  neuron: number;
  cpu: number;
  failed: number;
  refused: number;
}

/** By operator type, in order of their names. A test counts once for each type in it. */
export function countOperators(rows: readonly TestRow[]): Record<string, OperatorCounts> {
  const counts = new Map<string, OperatorCounts>();
  for (const { status, operators } of rows) {
    for (const { type, device } of operators) {
      const count = counts.get(type) ?? { neuron: 0, cpu: 0, failed: 0, refused: 0 };
      counts.set(type, count);
      count[status === "passed" ? device : status]++;
    }
  }
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const head = ["operator", "class", "on Neuron", "on CPU", "failed", "refused"];

function operatorLines(rows: readonly TestRow[], exactnessOf: (type: string) => HeldTo): string[][] {
  return Object.entries(countOperators(rows)).map(([type, { neuron, cpu, failed, refused }]) => [
    type,
    exactnessOf(type),
    ...[neuron, cpu, failed, refused].map(String),
  ]);
}

/** Of an operator that has no record, so that only the host computes it. */
const HOST = "host";
/** What an operator's outputs are held to. */
export type HeldTo = Exactness | typeof HOST;

/** By an operator's type. */
export function heldTo(type: string): HeldTo {
  return recordOf(type, "")?.exactness ?? HOST;
}

const tolerances: Readonly<Record<HeldTo, string>> = {
  ...boundsInWords,
  [HOST]: "no NeuronCore form is known, ONNX Runtime computes it: as fp32",
};

/** Fewer tests than this with one reason on the CPU are not listed apart. */
const FEWEST_OF_A_REASON = 5;

/** The operator page, in Markdown: results by operator, tolerances by class, why tests are on the CPU, and what did not pass. */
export function formatPage(
  rows: readonly TestRow[],
  exactnessOf: (type: string) => HeldTo,
  isListed: (type: string) => boolean = () => true,
): string {
  const faults = rows.filter(({ status }) => status !== "passed");
  return [
    "# Operators, as measured",
    "",
    "Made by `npm run conformance -- DIR --page OPERATORS.md`: each test model is compiled and run twice, with every operator that the support table",
    "takes forced onto the NeuronCore and as the compiler places it. A test counts once for each operator in it, where the forced run had it. In that",
    "run, inputs that only say what to do (axes, shapes) are fixed, as `--input-value` does; what then is constant needs no device and counts to the",
    "NeuronCore.",
    "",
    `${formatTotals(rows)}.`,
    "",
    listedTotals(rows, isListed),
    "",
    ...markdown(["class", "an output keeps to"], Object.entries(tolerances)),
    "",
    "The run as placed stores every tensor in BF16, so outputs that come off the NeuronCore keep to the bound of networks there.",
    "",
    ...markdown(head, operatorLines(rows, exactnessOf)),
    "",
    "## Why tests are not wholly on the NeuronCore",
    "",
    `Reasons of at least ${FEWEST_OF_A_REASON} passed tests; a test counts once for each of its reasons. The JSON has every test's own.`,
    "",
    ...markdown(["tests", "reason"], hostReasons(rows)),
    "",
    "## Not passed",
    "",
    ...markdown(
      ["test", "status", "reason"],
      faults.map(({ name, status, reason }) => [name, status, (reason ?? "").slice(0, 200)]),
    ),
    "",
  ].join("\n");
}

/** How the support table and the measured result agree. */
function listedTotals(rows: readonly TestRow[], isListed: (type: string) => boolean): string {
  const listed = rows.filter(({ operators }) => operators.every(({ type }) => isListed(type)));
  const whole = listed.filter(({ status, device }) => status === "passed" && device === "neuron");
  const rest = listed.length - whole.length;
  const outside = "whose element types, extents or attributes are outside the table's conditions, is below";
  return `${listed.length} tests have no operator that the table does not list: ${whole.length} of them ran wholly on the NeuronCore. Why ${rest} did not, ${outside}.`;
}

/** Numbers of tests and the reasons of operators on the CPU, the most frequent first; numbers inside a reason don't tell two apart. */
function hostReasons(rows: readonly TestRow[]): string[][] {
  const counts = new Map<string, number>();
  for (const { status, device, reason } of rows) {
    if (status !== "passed" || device === "neuron" || reason === undefined) continue;
    for (const one of new Set(reason.split(/; (?=[A-Z]\w*: )/).map((text) => text.replace(/\d+\.\d+/g, "N"))))
      counts.set(one, (counts.get(one) ?? 0) + 1);
  }
  const frequent = [...counts].filter(([, count]) => count >= FEWEST_OF_A_REASON);
  return frequent.sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([text, count]) => [String(count), text]);
}

/** The table as text, and the totals below it. `exactnessOf` gives an operator's class. */
export function formatTable(rows: readonly TestRow[], exactnessOf: (type: string) => HeldTo): string {
  const lines = operatorLines(rows, exactnessOf);
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column].length)));
  const format = (line: readonly string[]): string =>
    line.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join("  ");
  const faults = rows.filter(({ status }) => status !== "passed").map(({ name, status, reason }) => `${status}: ${name}: ${reason ?? ""}`);
  return [...[head, ...lines].map(format), "", ...faults, "", formatTotals(rows)].join("\n");
}

function formatTotals(rows: readonly TestRow[]): string {
  const count = (status: TestRow["status"], device?: TestRow["device"]): number =>
    rows.filter((row) => row.status === status && (device === undefined || row.device === device)).length;
  const passed = `${count("passed")} of ${rows.length} tests passed`;
  const places = `${count("passed", "neuron")} on the NeuronCore, ${count("passed", "cpu")} on the CPU, ${count("passed", "mixed")} on both`;
  return `${passed} (${places}); ${count("failed")} failed, ${count("refused")} refused`;
}
