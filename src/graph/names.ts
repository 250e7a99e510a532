/** What users call values. */

/**
 * The value that a user means: of this name, or with TensorFlow's output index (`x:0`) given or left out, or with this alias (a key of a
 * signature). Undefined where none is.
 */
export function resolveName(name: string, names: readonly string[], aliases?: ReadonlyMap<string, string>): string | undefined {
  const meant = [name, name.replace(/:0$/, ""), `${name}:0`, aliases?.get(name)];
  return meant.find((candidate) => candidate !== undefined && names.includes(candidate));
}
