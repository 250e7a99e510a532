/** TensorFlow models as graphs. */
import type { ImportedModel } from "../model.js";
import { convertTensorFlow } from "./convert.js";
import { type ReadOptions, readTensorFlow } from "./read.js";

/** The graph of a SavedModel's signature or a frozen GraphDef, at the pinned opset. Errors: UserError. */
export async function importTensorFlow(path: string, options: ReadOptions = {}): Promise<ImportedModel> {
  const { graph: flat, files } = await readTensorFlow(path, options);
  const { graph, operators } = convertTensorFlow(flat);
  return { framework: "TENSORFLOW", graph, operators, files };
}
