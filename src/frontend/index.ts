/** Import: model files as graphs. */
import { userError } from "../diagnostics/diagnostic.js";
import { detectFramework } from "./detect.js";
import { frameworks, type ImportedModel } from "./model.js";
import { importOnnx } from "./onnx/import.js";
import type { ReadOptions } from "./tensorflow/read.js";

export { type Framework, frameworks, type ImportedModel, type SourceOperator } from "./model.js";
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
  switch (options.framework ?? detectFramework(path)) {
    case "ONNX":
      return importOnnx(path);
    case "TENSORFLOW":
      return (await import("./tensorflow/import.js")).importTensorFlow(path, options);
    default:
      throw userError("NCC0114", { framework: options.framework ?? "", frameworks: frameworks.join(" and ") });
  }
}
