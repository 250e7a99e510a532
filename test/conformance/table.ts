/** The runner's results by operator. */
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

/** The table as text, and the totals below it. `exactnessOf` gives an operator's class. */
export function formatTable(rows: readonly TestRow[], exactnessOf: (type: string) => string): string {
  const lines = Object.entries(countOperators(rows)).map(([type, { neuron, cpu, failed, refused }]) => [
    type,
    exactnessOf(type),
    ...[neuron, cpu, failed, refused].map(String),
  ]);
  const head = ["operator", "class", "on Neuron", "on CPU", "failed", "refused"];
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
