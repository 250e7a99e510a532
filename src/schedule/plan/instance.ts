/** Memory-plan instances from outside: CSV with one buffer a line, as the MiniMalloc benchmarks have it. */
import { userError } from "../../diagnostics/diagnostic.js";
import type { AllocationItem } from "./items.js";

const columns = ["id", "lower", "upper", "size"] as const;
/** Overwritten where it is there: a plan can be planned again. */
const result = "offset";

/**
 * Columns in any order, named by the first line. Throws NCC0603 where the text is not such an instance, also for columns that are not
 * known: they may be constraints.
 */
export function parseMemoryInstance(file: string, text: string): AllocationItem[] {
  const fail = (detail: string) => userError("NCC0603", { file, detail });
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  const header = fieldsOf(lines[0]).map((name) => name.toLowerCase());
  if (text.trim() === "") throw fail(`it is empty; its first line is to be ${columns.join(",")}`);
  for (const [index, name] of header.entries()) {
    if (!columns.some((each) => each === name) && name !== result) throw fail(`column ${name} is not known; they are ${columns.join(",")}`);
    if (header.indexOf(name) < index) throw fail(`column ${name} is there twice`);
  }
  const missing = columns.filter((name) => !header.includes(name));
  if (missing.length > 0) throw fail(`column ${missing.join(", ")} is missing in its first line`);
  const lineOfId = new Map<string, number>();
  const items: AllocationItem[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === "") continue;
    const where = `line ${index + 1}`;
    const fields = fieldsOf(line);
    if (fields.length !== header.length) throw fail(`${where} has ${fields.length} fields, not ${header.length}`);
    const field = (name: (typeof columns)[number]) => fields[header.indexOf(name)];
    const whole = (name: (typeof columns)[number]): number => {
      const number = /^[+-]?\d+$/.test(field(name)) ? Number(field(name)) : Number.NaN;
      if (!Number.isSafeInteger(number)) throw fail(`${where}: ${name} is ${JSON.stringify(field(name))}, not a whole number within 2^53`);
      return number;
    };
    const item = { id: field("id"), lower: whole("lower"), upper: whole("upper"), size: whole("size") };
    if (item.id === "") throw fail(`${where}: id is empty`);
    const before = lineOfId.get(item.id);
    if (before !== undefined) throw fail(`${where}: id ${item.id} is that of line ${before} too`);
    if (item.size < 0) throw fail(`${where}: size is ${item.size}, less than 0`);
    if (item.lower >= item.upper) throw fail(`${where}: lower ${item.lower} is not less than upper ${item.upper}`);
    lineOfId.set(item.id, index + 1);
    items.push(item);
  }
  return items;
}

/** The instance with an offset in each line. */
export function printMemoryPlan(items: readonly AllocationItem[], offsets: ArrayLike<number>): string {
  const rows = items.map((item, index) => [quoted(item.id), item.lower, item.upper, item.size, offsets[index]]);
  return [[...columns, result], ...rows].map((row) => `${row.join(",")}\n`).join("");
}

/** The fields of a line, each trimmed, or in quotes with `""` for a quote. */
function fieldsOf(line: string): string[] {
  return [...`,${line}`.matchAll(/,\s*(?:"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*))/g)].map(([, text, plain]) =>
    text === undefined ? plain.trim() : text.replaceAll('""', '"'),
  );
}

function quoted(id: string): string {
  return /[",]/.test(id) ? `"${id.replaceAll('"', '""')}"` : id;
}
