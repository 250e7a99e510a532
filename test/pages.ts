/** Tables in Markdown, and the sections of a page that are made from measurements. */
import { readFileSync, writeFileSync } from "node:fs";

/** A table with its columns aligned. */
export function markdown(titles: readonly string[], lines: readonly (readonly string[])[]): string[] {
  const cells = [titles, ...lines].map((line) => line.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = titles.map((_, column) => Math.max(3, ...cells.map((line) => line[column].length)));
  const row = (line: readonly string[]): string => `| ${line.map((cell, column) => cell.padEnd(widths[column])).join(" | ")} |`;
  const [head, ...body] = cells.map(row);
  return [head, row(widths.map((width) => "-".repeat(width))), ...body];
}

/** The page with other lines between `<!-- NAME -->` and `<!-- /NAME -->`. Throws where it has no such section. */
export function withSection(page: string, name: string, lines: readonly string[]): string {
  const [begin, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`];
  const from = page.indexOf(begin) + begin.length;
  const to = page.indexOf(end, from);
  if (from < begin.length || to < 0) throw new Error(`the page has no section ${begin.trim()} ... ${end}`);
  return `${page.slice(0, from)}\n${lines.join("\n")}\n\n${page.slice(to)}`;
}

/** Writes a section of the page in a file. */
export function writeSection(file: string, name: string, lines: readonly string[]): void {
  writeFileSync(file, withSection(readFileSync(file, "utf8"), name, lines));
}
