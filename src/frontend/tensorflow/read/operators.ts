/** What TensorFlow's operator registry knows and a model file leaves out: default attributes, and the names of several outputs. */

import registry from "./operators.json" with { type: "json" };
import type { AttrValue } from "./schema.js";
import { parseText } from "./text.js";

export interface OperatorDefinition {
  /** Of an operator with several outputs, in order; `name*attribute` for a list of as many as the attribute says. */
  readonly outputs: readonly string[];
  readonly defaults: ReadonlyMap<string, AttrValue>;
}

/** In the registry, a default is an AttrValue in text form. */
const entries: Readonly<
  Record<string, { readonly outputs?: readonly string[]; readonly defaults?: Readonly<Record<string, string | undefined>> }>
> = registry.operators;

const known = new Map<string, OperatorDefinition>();

/** The definition of a built-in operator; of one that has a single output and no defaults, an empty one. */
export function builtIn(op: string): OperatorDefinition {
  let definition = known.get(op);
  if (definition === undefined) {
    const { outputs = [], defaults = {} } = Object.hasOwn(entries, op) ? entries[op] : {};
    const parsed = Object.entries(defaults).map(([name, text]): [string, AttrValue] => [
      name,
      parseText("AttrValue", Buffer.from(text ?? "")),
    ]);
    definition = { outputs, defaults: new Map(parsed) };
    known.set(op, definition);
  }
  return definition;
}
