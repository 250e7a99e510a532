/** Options as an artifact keeps them, and options again made of that. Nothing of them is a path. */
import { mismatch, type Of } from "./schema.js";
import { type Given, type OptionName, type Options, optionNames, rows, type table } from "./table.js";

type Table = typeof table;
type KeptFields = { readonly [Name in OptionName as Table[Name] extends { readonly kept: unknown } ? Name : never]: SchemaOf<Table[Name]> };
type SchemaOf<Row> = Row extends { readonly kept: { readonly schema: infer S } } ? S : never;

function isWhole(fields: object): fields is KeptFields {
  return optionNames.every((name) => name in fields === (rows[name].kept !== undefined));
}

function keptFields(): KeptFields {
  const fields = Object.fromEntries(optionNames.flatMap((name) => (rows[name].kept ? [[name, rows[name].kept.schema]] : [])));
  if (!isWhole(fields)) throw new Error("the manifest's options are not those of the table");
  return fields;
}

/** The `options` of `manifest.json`. */
export const optionsSchema = { fields: keptFields() };
export type ManifestOptions = Of<typeof optionsSchema>;

function isManifestOptions(value: object): value is ManifestOptions {
  return mismatch(optionsSchema, value) === undefined;
}

function keep<Name extends OptionName>(name: Name, options: Partial<Options>): unknown {
  return rows[name].kept?.keep(options[name]);
}

/** With defaults filled in; what was not given and has no default is absent. */
export function manifestOptions(options: Partial<Options>): ManifestOptions {
  const kept = optionNames.map((name) => [name, keep(name, options)] as const).filter(([, value]) => value !== undefined);
  const result = Object.fromEntries(kept);
  if (!isManifestOptions(result)) throw new Error(`options: ${mismatch(optionsSchema, result)}`);
  return result;
}

function give<Name extends OptionName>(name: Name, stored: ReadonlyMap<string, unknown>, into: Given): void {
  const value = rows[name].kept?.give(stored.get(name));
  if (value !== undefined) into[name] = value;
}

/** The options that an artifact was compiled with, as far as its manifest holds them: `framework` and `inputValues` are elsewhere in it. */
export function givenOptions(kept: ManifestOptions): Partial<Options> {
  const stored = new Map<string, unknown>(Object.entries(kept));
  const options: Given = {};
  for (const name of optionNames) give(name, stored, options);
  return options;
}
