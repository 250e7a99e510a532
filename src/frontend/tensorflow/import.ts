/** TensorFlow models as graphs. */
import type { ImportedModel } from "../model.js";
import { convertTensorFlow, sourceOperators } from "./convert/convert.js";
import { type ReadOptions, readTensorFlow } from "./read/read.js";

/** What TensorFlow calls the operators of a model, those of functions included, whether they can be converted or not. */
export async function listTensorFlow(path: string, options: ReadOptions = {}): Promise<Pick<ImportedModel, "framework" | "operators">> {
  const { graph } = await readTensorFlow(path, options);
  return { framework: "TENSORFLOW", operators: sourceOperators(graph) };
}

/** The graph of a SavedModel's signature or a frozen GraphDef, at the pinned opset. Errors: UserError. */
export async function importTensorFlow(path: string, options: ReadOptions = {}): Promise<ImportedModel> {
  const { graph: flat, files } = await readTensorFlow(path, options);
  const { graph, operators } = convertTensorFlow(flat);
  const aliases = new Map([...flat.outputs, ...flat.inputs].map(({ key, name }) => [key, name]));
  return { framework: "TENSORFLOW", graph, operators, aliases, files };
}
