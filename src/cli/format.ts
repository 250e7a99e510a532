/** Text for people: tables and quantities. */

/** Left-justified columns as wide as their contents, two spaces between; the head underlined. */
export function table(headers: readonly string[], rows: readonly (readonly string[])[], indent = ""): string {
  const widths = headers.map((header, column) => Math.max(header.length, ...rows.map((row) => row[column].length)));
  return columns(headers, widths, rows, indent).replace(/ +$/gm, "");
}

/** The same with given widths: longer cells are not cut, and the last one is padded too. */
export function columns(headers: readonly string[], widths: readonly number[], rows: readonly (readonly string[])[], indent = ""): string {
  const line = (cells: readonly string[]) => indent + cells.map((cell, column) => cell.padEnd(widths[column])).join("  ");
  return [line(headers), line(headers.map((header) => "-".repeat(header.length))), ...rows.map(line)].join("\n");
}

/** Bytes in the unit that keeps them below a thousand, powers of 1000. */
export function bytes(count: number): string {
  return scaled(count, ["B", "kB", "MB", "GB", "TB"]);
}

export function flops(count: number): string {
  return scaled(count, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"]);
}

function scaled(count: number, units: readonly string[]): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : significant(value)} ${units[unit]}`;
}

/** Three significant digits, without an exponent. */
export function significant(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 9));
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Groups in order of first appearance. */
export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
