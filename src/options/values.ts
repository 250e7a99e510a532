/** Values of options as words of a command line, checked. Each parser throws a UserError that names the flag, the value and what it takes. */
import { existsSync, readFileSync } from "node:fs";
import { userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { MOST_CORES } from "../hardware/hardware.js";

/** A whole number in `[least, most]`, written in plain digits. */
export function wholeNumber(flag: string, least: number, most: number): (value: string) => number {
  return (value) => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= least && number <= most))
      throw userError("NCC0402", { flag, value, expected: `not a whole number from ${least} to ${most}` });
    return number;
  };
}

/** Whole numbers in `[least, most]`, separated by commas. */
export function wholeNumbers(flag: string, least: number, most: number): (value: string) => number[] {
  return (value) => value.split(",").map(wholeNumber(flag, least, most));
}

/** Cores of a pipeline: up to those of the largest instance, or `auto`. */
export function pipelineCores(flag: string): (value: string) => number | "auto" {
  const number = wholeNumber(flag, 1, MOST_CORES);
  return (value) => (value.toLowerCase() === "auto" ? "auto" : number(value));
}

/** A word of a flag that can't be given twice. */
export function once(flag: string): (value: string, before?: string) => string {
  return (value, before) => {
    if (before !== undefined) throw userError("NCC0402", { flag, value, expected: `given twice, ${before} before; keep one` });
    return value;
  };
}

/** One of some words, in any case. */
export function oneOf<const W extends string>(flag: string, words: readonly W[]): (value: string) => W {
  return (value) => {
    const found = words.find((word) => word.toLowerCase() === value.toLowerCase());
    if (!found) throw userError("NCC0403", { flag, value, suggestion: didYouMean(value, words), words: words.join(", ") });
    return found;
  };
}

/** Collects `NAME=1,3,224,224` of repeated `--input-shape` flags. `NAME=` is a scalar. */
export function inputShape(value: string, before: ReadonlyMap<string, readonly number[]> = new Map()): Map<string, readonly number[]> {
  const match = /^(.+)=((?:\d{1,15}(?:,\d{1,15})*)?)$/.exec(value);
  if (!match) throw userError("NCC0405", { value });
  const shape = match[2] === "" ? [] : match[2].split(",").map(Number);
  return new Map([...before, [match[1], shape]]);
}

/** Collects `NAME=FILE` of repeated `--input-value` flags: the file of each input's value. */
export function inputFile(value: string, before: ReadonlyMap<string, string> = new Map()): Map<string, string> {
  const at = value.indexOf("=");
  if (at < 1 || at === value.length - 1) throw userError("NCC0409", { value });
  return new Map([...before, [value.slice(0, at), value.slice(at + 1)]]);
}

/** `--io-config`: JSON itself, or the name of a file that holds it. The value is checked by `parseIoConfig`. */
export function ioConfig(value: string): unknown {
  const inline = value.trimStart().startsWith("{");
  if (!inline && !existsSync(value)) throw userError("NCC0406", { detail: `${value} is neither JSON nor a file` });
  try {
    return JSON.parse(inline ? value : readFileSync(value, "utf8"));
  } catch (error) {
    throw userError("NCC0406", { detail: `${inline ? "it" : value} is not JSON: ${error instanceof Error ? error.message : error}` });
  }
}

/** Collects the values of a repeated flag. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
