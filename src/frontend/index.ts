/** Import: model files as graphs. */
import { userError } from "../diagnostics/diagnostic.js";
import { type Framework, frameworks } from "../options/framework.js";
import { detectFramework } from "./detect.js";
import type { ImportedModel } from "./model.js";
import { importOnnx } from "./onnx/import.js";
import type { ReadOptions } from "./tensorflow/read/read.js";

export { detectFramework } from "./detect.js";
export type { ImportedModel, SourceOperator } from "./model.js";
export { importOnnx } from "./onnx/import.js";
export { readTensorProto, writeTensorProto } from "./onnx/tensor.js";
export { type WriteOptions, writeOnnx } from "./onnx/write.js";

/** Beside the framework: which part of a TensorFlow model is wanted. */
export interface ImportOptions extends ReadOptions {
  /** Which kind of file it is; found from the file unless given. */
  readonly framework?: string;
}

/** A model file as a graph, with what tells of its source. Throws a UserError where the file is not a model of the framework. */
export async function importModel(path: string, options: ImportOptions = {}): Promise<ImportedModel> {
  switch (frameworkOf(path, options)) {
    case "ONNX":
      return importOnnx(path);
    case "TENSORFLOW":
      return (await import("./tensorflow/import.js")).importTensorFlow(path, options);
  }
}

/** A model's operators, whether they can be imported or not. Errors: those of reading the model. */
export async function listOperators(path: string, options: ImportOptions = {}): Promise<Pick<ImportedModel, "framework" | "operators">> {
  switch (frameworkOf(path, options)) {
    case "ONNX":
      return importOnnx(path);
    case "TENSORFLOW":
      return (await import("./tensorflow/import.js")).listTensorFlow(path, options);
  }
}

function frameworkOf(path: string, { framework: wanted }: ImportOptions): Framework {
  if (wanted === undefined) return detectFramework(path);
  const framework = frameworks.find((name) => name === wanted);
  if (framework === undefined) throw userError("NCC0114", { framework: wanted, frameworks: frameworks.join(" and ") });
  return framework;
}
