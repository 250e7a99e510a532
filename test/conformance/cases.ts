/** Test folders in the form of the ONNX project's backend tests: `model.onnx`, `test_data_set_N/input_I.pb`, `output_I.pb`. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { readTensorFile, type Tensor } from "../../src/index.js";

/** One request and what it has to give, in the order of the model's inputs and outputs. */
export interface DataSet {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

export interface Case {
  readonly name: string;
  readonly model: string;
  readonly sets: readonly DataSet[];
  /** From `info.json`: the cosine that the reference framework itself keeps in bfloat16. */
  readonly bfloat16Cosine?: number;
}

/** Test folders below `folder`, itself included, in order of their paths; links are followed. */
export function findCases(folder: string): string[] {
  if (existsSync(join(folder, "model.onnx"))) return [folder];
  const names = readdirSync(folder).filter((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.isDirectory());
  return names.sort().flatMap((name) => findCases(join(folder, name)));
}

/** Reads a test folder. Throws UserError where a file holds no tensor. */
export function readCase(folder: string): Case {
  const sets = readdirSync(folder)
    .filter((name) => name.startsWith("test_data_set_"))
    .sort()
    .map((name) => ({ inputs: tensors(join(folder, name), "input"), outputs: tensors(join(folder, name), "output") }));
  return { name: basename(folder), model: join(folder, "model.onnx"), sets, ...info(join(folder, "info.json")) };
}

function tensors(folder: string, kind: string): Tensor[] {
  const files = new Set(readdirSync(folder));
  const found: Tensor[] = [];
  for (let index = 0; files.has(`${kind}_${index}.pb`); index++) found.push(readTensorFile(join(folder, `${kind}_${index}.pb`), kind));
  return found;
}

function info(path: string): Pick<Case, "bfloat16Cosine"> {
  if (!existsSync(path)) return {};
  const content: unknown = JSON.parse(readFileSync(path, "utf8"));
  const hasCosine = typeof content === "object" && content !== null && "bfloat16Cosine" in content;
  return hasCosine && typeof content.bfloat16Cosine === "number" ? { bfloat16Cosine: content.bfloat16Cosine } : {};
}
