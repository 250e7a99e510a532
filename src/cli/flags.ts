/** Values of the commands' own flags, checked. Each parser throws a UserError that names the flag, the value and what it takes. */
import { userError } from "../diagnostics/diagnostic.js";
import { oneOf } from "../options/values.js";
import { type LogLevel, logLevels } from "./terminal.js";

/** A number from 0 to 1. */
export function fraction(flag: string): (value: string) => number {
  return (value) => {
    const number = /^\d*\.?\d+(e-\d+)?$/i.test(value) ? Number(value) : Number.NaN;
    if (!(number >= 0 && number <= 1)) throw userError("NCC0402", { flag, value, expected: "not a number from 0 to 1" });
    return number;
  };
}

/** `--verbose`: a word, or a number as the vendor's integrations pass it: 0, 1, 2 = more and more, 35 = progress only. */
export function logLevel(value: string): LogLevel {
  if (!/^\d+$/.test(value)) return oneOf("--verbose", logLevels)(value);
  const number = Number(value);
  return number >= 3 || number === 0 ? "WARN" : number === 1 ? "INFO" : "DEBUG";
}

/** What an `--input NAME=...` flag asks for. */
export type InputSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "random"; readonly seed: number }
  | { readonly kind: "zeros" };

export function inputSource(value: string, before: ReadonlyMap<string, InputSource> = new Map()): Map<string, InputSource> {
  const at = value.indexOf("=");
  if (at < 1 || at === value.length - 1) throw userError("NCC0408", { value });
  return new Map([...before, [value.slice(0, at), sourceOf(value, value.slice(at + 1))]]);
}

function sourceOf(flag: string, source: string): InputSource {
  if (source === "zeros") return { kind: "zeros" };
  const random = /^random(?::(.*))?$/.exec(source);
  if (!random) return { kind: "file", path: source };
  if (!/^\d{1,9}$/.test(random[1] ?? "0")) throw userError("NCC0408", { value: flag });
  return { kind: "random", seed: Number(random[1] ?? "0") };
}
