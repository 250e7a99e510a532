/** The vendor's io-config (`--io-config`): {"inputs": {NAME: [shape, dtype]}, "outputs": [NAME]}. */
import { userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { type DType, dtypes } from "../graph/tensor.js";
import type { IoConfig } from "./options.js";

function malformed(problem: string): Error {
  return userError("NCC0363", { problem });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseType(name: string, value: unknown): DType {
  if (typeof value !== "string") throw malformed(`the element type of input ${name} is no string`);
  const dtype = dtypes.find((known) => known === value);
  if (dtype === undefined) throw userError("NCC0360", { name, dtype: value, hint: didYouMean(value, dtypes) });
  return dtype;
}

function parseShape(name: string, value: unknown): number[] {
  if (!Array.isArray(value)) throw malformed(`the shape of input ${name} is no list`);
  return value.map((extent: unknown) => {
    if (typeof extent !== "number") throw malformed(`the shape of input ${name} holds ${JSON.stringify(extent)}, not a whole number`);
    return extent;
  });
}

/** Checks the form of a parsed JSON value. Throws UserError: NCC0360 (element type), NCC0363 (form). */
export function parseIoConfig(value: unknown): IoConfig {
  if (!isRecord(value)) throw malformed("it is no object");
  const { inputs: rawInputs = {}, outputs: rawOutputs = [] } = value;
  if (!isRecord(rawInputs)) throw malformed("`inputs` is no object");
  if (!Array.isArray(rawOutputs)) throw malformed("`outputs` is no list");
  const inputs = new Map<string, { shape: readonly number[]; dtype: DType }>();
  for (const [name, entry] of Object.entries(rawInputs)) {
    if (!Array.isArray(entry) || entry.length !== 2) throw malformed(`input ${name} is no [shape, type] pair`);
    inputs.set(name, { shape: parseShape(name, entry[0]), dtype: parseType(name, entry[1]) });
  }
  const outputs = rawOutputs.map((output: unknown) => {
    if (typeof output !== "string") throw malformed(`\`outputs\` holds ${JSON.stringify(output)}, not a name`);
    return output;
  });
  return { inputs, outputs };
}
