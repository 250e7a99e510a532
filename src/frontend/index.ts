/** Import: model files as graphs. */
import { userError } from "../diagnostics/diagnostic.js";
import type { Graph } from "../graph/graph.js";
import { importOnnx } from "./onnx/import.js";

export { importOnnx } from "./onnx/import.js";
export { readTensorProto, writeTensorProto } from "./onnx/tensor.js";
export { type WriteOptions, writeOnnx } from "./onnx/write.js";

export const frameworks = ["ONNX"] as const;
export type Framework = (typeof frameworks)[number];

export interface ImportOptions {
  /** Which kind of file it is; ONNX unless given. */
  readonly framework?: string;
}

/** The graph of a model file. Throws a UserError where the file is not a model of the framework. */
export async function importModel(path: string, options: ImportOptions = {}): Promise<Graph> {
  const framework = options.framework ?? "ONNX";
  if (framework !== "ONNX") throw userError("NCC0114", { framework });
  return importOnnx(path);
}
