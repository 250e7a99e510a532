/** What a user may ask of a compile. */

import type { Tensor } from "../graph/tensor.js";
import type { Artifact } from "../neff/artifact.js";
import { parseArguments } from "../options/arguments.js";
import { givenOptions } from "../options/manifest.js";
import type { FlagValues, Options } from "../options/table.js";
import type { Observe } from "./phases.js";

export interface CompileOptions extends Partial<Options> {
  /** Every value that a program makes is an output too: for looking inside. The programs are then others, their values the same. */
  readonly everyValue?: boolean;
  progress?(phase: string): void;
  log?(level: "DEBUG" | "INFO" | "WARN", message: string): void;
  /** Sees what each phase made. */
  readonly observe?: Observe;
}

/** The tensors of `--input-value` flags, by input. Errors: those of `readTensorFile`. */
async function readValues(files: FlagValues["inputValues"]): Promise<Map<string, Tensor>> {
  const { readTensorFile } = await import("../runtime/files/files.js");
  return new Map([...files].map(([name, path]) => [name, readTensorFile(path, name)]));
}

/** What flags say, with the files that they name read. Errors: those of `readTensorFile`. */
export async function flaggedOptions({ inputValues, ...values }: Partial<FlagValues>): Promise<Partial<Options>> {
  return inputValues === undefined ? values : { ...values, inputValues: await readValues(inputValues) };
}

/** What the words of a command line say, as the vendor's integrations list them. Errors: those of the command line. */
export function argumentOptions(words: readonly string[]): Promise<Partial<Options>> {
  return flaggedOptions(parseArguments(words));
}

/** The options that an artifact was compiled with. */
export function artifactOptions({ manifest, inputValues }: Pick<Artifact, "manifest" | "inputValues">): Partial<Options> {
  return { ...givenOptions(manifest.options), framework: manifest.source.framework, inputValues };
}
