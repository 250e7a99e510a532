/** Options as the vendor's integrations list them: the words of a command line (`compiler_args`). */
import { type UserError, userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { type FlagValues, type OptionName, optionNames, rows } from "./table.js";

type Arity = "switch" | "one" | "many";

/** `--batch-size <n>` as its name and how many words it takes. */
export function flagParts(flag: string): { readonly name: string; readonly arity: Arity } {
  const [name, words] = flag.split(" ");
  return { name, arity: words === undefined ? "switch" : words.endsWith("...>") ? "many" : "one" };
}

interface Flag {
  readonly arity: Arity;
  /** Absent for flags that say nothing of the compile. */
  readonly option?: OptionName;
}

/** What the vendor's integrations pass besides. */
const accepted = ["--verbose <level>", "--log-level <level>", "--pipeline <words...>"];

const flags: ReadonlyMap<string, Flag> = new Map([
  ...optionNames.flatMap((option) => {
    const { flag, older } = rows[option];
    return [flag, ...(older ? [older] : [])].map(flagParts).map(({ name, arity }): [string, Flag] => [name, { arity, option }]);
  }),
  ...accepted.map(flagParts).map(({ name, arity }): [string, Flag] => [name, { arity }]),
]);

function fault(message: string): UserError {
  return userError("NCC0401", { message: `compiler arguments: ${message}` });
}

type Values = { -readonly [Name in OptionName]?: FlagValues[Name] };

function take<Name extends OptionName>(name: Name, flag: string, word: string, values: Values): void {
  values[name] = rows[name].parse(flag)(word, values[name]);
}

/** Errors: NCC0401 for a word that is no flag, a flag without its word or with one too many; those of the values. */
export function parseArguments(words: readonly string[]): Partial<FlagValues> {
  const values: Values = {};
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const [name, inline] = /^(--[^=]+)=(.*)$/s.exec(word)?.slice(1) ?? [word];
    const flag = flags.get(name);
    if (flag === undefined) throw fault(`${name} is no flag of a compile${didYouMean(name, flags.keys())}`);
    const own = wordsOf(name, flag.arity, inline, rest);
    for (const value of flag.option ? own : []) take(flag.option!, name, value, values);
  }
  return values;
}

/** The words of a flag, taken from the front of those that follow it. A switch has an empty one. */
function wordsOf(name: string, arity: Arity, inline: string | undefined, rest: string[]): string[] {
  if (arity === "switch") {
    if (inline !== undefined) throw fault(`${name} takes no word, ${inline} is one`);
    return [""];
  }
  const first = inline ?? rest.shift();
  if (first === undefined) throw fault(`${name} lacks its word`);
  const own = [first];
  while (arity === "many" && inline === undefined && rest.length > 0 && !rest[0].startsWith("-")) own.push(rest.shift() ?? "");
  return own;
}
