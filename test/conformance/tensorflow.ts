/**
 * Folders with a SavedModel or a frozen graph (`graph.pb`, `graph.pbtxt`) and cases: `expected.json` and any `expected_CASE.json`, which
 * name a signature, inputs by file or formula, and outputs with their tolerance, or why the model has to be refused.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { allocateData, type DType, dtypes, fromNumbers, isFloat } from "../../src/graph/tensor.js";
import { elementCount, readNpy, type Tensor } from "../../src/index.js";
import { foldersWith } from "./folders.js";
import type { Case, DataSet, Suite, WantedOutput } from "./suite.js";

const firstCase = "expected.json";
const frozenFiles = ["graph.pb", "graph.pbtxt"] as const;

export const tensorFlowSuite: Suite = {
  find: (folder) =>
    foldersWith(folder, firstCase).flatMap((path) =>
      readdirSync(path)
        .filter((file) => /^expected(_.+)?\.json$/.test(file))
        .sort()
        .map((file) => ({ suite: "TENSORFLOW", name: nameOf(path, file), path: join(path, file) })),
    ),
  holds: `an ${firstCase}`,
  read: readCase,
  // What TensorFlow 2's integration of the vendor's compiler asks for.
  fastMath: { forced: ["fp32-cast-matmult-fp16"], placed: ["fp32-cast-matmult-fp16"] },
};

/** The folder's name; of a further case with its own name after a slash. */
function nameOf(folder: string, file: string): string {
  return file === firstCase ? basename(folder) : `${basename(folder)}/${file.slice("expected_".length, -".json".length)}`;
}

interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

/** The keys that are read of a case's JSON. */
interface Expected {
  readonly signature: string | null;
  readonly tags?: readonly string[];
  readonly refused?: string;
  readonly tolerance?: Tolerance;
  readonly inputs: readonly {
    readonly key: string;
    readonly tensor: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly file?: string;
  }[];
  readonly outputs: readonly {
    readonly tensor: string;
    readonly dtype?: string;
    readonly shape: readonly number[];
    readonly values?: readonly (number | boolean | string)[];
    readonly file?: string;
    /** The value of every element. */
    readonly constant?: number;
    readonly tolerance?: Tolerance;
  }[];
}

function readCase(path: string): Case {
  const expected: Expected = JSON.parse(readFileSync(path, "utf8"));
  const folder = dirname(path);
  const { signature, tags, refused } = expected;
  const frozen = frozenFiles.map((file) => join(folder, file)).find((file) => existsSync(file));
  const inputs = new Map(refused === undefined ? expected.inputs.map((input) => [input.tensor, inputTensor(folder, input)] as const) : []);
  const outputs = expected.outputs.map((output) => wantedOutput(folder, output, expected.tolerance));
  const set: DataSet = { inputs, outputs };
  return {
    model: frozen ?? folder,
    options:
      signature === null ? { ioConfig: ioConfig(expected) } : { signature, ...(tags === undefined ? {} : { tagSet: tags.join(",") }) },
    sets: () => [set],
    ...(refused === undefined ? {} : { refused }),
  };
}

function ioConfig({ inputs, outputs }: Expected): object {
  return {
    inputs: Object.fromEntries(inputs.map(({ tensor, shape, dtype }) => [tensor, [shape, dtype]])),
    outputs: outputs.map(({ tensor }) => tensor),
  };
}

function dtypeOf(name: string): DType {
  const found = dtypes.find((dtype) => dtype === name);
  if (found === undefined) throw new Error(`${name} is no element type`);
  return found;
}

function inputTensor(folder: string, { key, dtype: name, shape, file }: Expected["inputs"][number]): Tensor {
  const dtype = dtypeOf(name);
  if (file !== undefined) return fileTensor(folder, file, shape);
  const count = elementCount(shape);
  if (/keep_prob/.test(key)) return fromNumbers(dtype, shape, new Array<number>(count).fill(1));
  const element = isFloat(dtype)
    ? (k: number) => Math.fround(((k * 7919 + 13) % 1009) / 1009)
    : (k: number) => (dtype === "bool" ? Number((k * 7 + 3) % 11 !== 0) : (k * 7 + 3) % 11);
  return fromNumbers(
    dtype,
    shape,
    Array.from({ length: count }, (_, k) => element(k)),
  );
}

/** The value of a file: `.npy`, or plain FP32. What follows the name after a blank is a remark. */
function fileTensor(folder: string, file: string, shape: readonly number[]): Tensor {
  const path = join(folder, file.split(" ")[0]);
  const bytes = readFileSync(path);
  if (!path.endsWith(".f32")) return readNpy(bytes, path);
  const data = allocateData("float32", bytes.length / 4);
  for (let index = 0; index < data.length; index++) data[index] = bytes.readFloatLE(4 * index);
  return { dtype: "float32", shape, data };
}

function wantedOutput(folder: string, output: Expected["outputs"][number], common: Tolerance | undefined): WantedOutput {
  const { tensor: name, dtype, shape, values, file, constant } = output;
  const tolerance = output.tolerance ?? common;
  return {
    name,
    tensor: (given) => {
      if (file !== undefined) return fileTensor(folder, file, shape);
      const elements = values ?? new Array<number>(elementCount(shape)).fill(constant ?? 0);
      return fromNumbers(dtype === undefined ? given : dtypeOf(dtype), shape, elements.map(Number));
    },
    ...(tolerance === undefined ? {} : { tolerance: { relative: tolerance.rtol, absolute: tolerance.atol } }),
  };
}
