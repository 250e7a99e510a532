/** Import: model files as graphs. */
import { userError } from "../diagnostics/diagnostic.js";
import type { ImportedModel } from "./model.js";
import { importOnnx } from "./onnx/import.js";

export { type Framework, frameworks, type ImportedModel, type SourceOperator } from "./model.js";
export { importOnnx } from "./onnx/import.js";
export { readTensorProto, writeTensorProto } from "./onnx/tensor.js";
export { type WriteOptions, writeOnnx } from "./onnx/write.js";

export interface ImportOptions {
  /** Which kind of file it is; ONNX unless given. */
  readonly framework?: string;
}

/** A model file as a graph, with what tells of its source. Throws a UserError where the file is not a model of the framework. */
export async function importModel(path: string, options: ImportOptions = {}): Promise<ImportedModel> {
  const framework = options.framework ?? "ONNX";
  if (framework !== "ONNX") throw userError("NCC0114", { framework });
  return importOnnx(path);
}
