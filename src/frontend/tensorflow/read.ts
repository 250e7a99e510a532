/** TensorFlow model files as flat graphs. */
import type { FlatGraph } from "./flat.js";

export interface ReadOptions {
  /** The signature to read; `serving_default` unless given. A frozen graph has none. */
  readonly signature?: string;
  /** The meta graph to read, by its tags, comma-separated; `serve` unless given. */
  readonly tagSet?: string;
  /** Tensors to cut the graph at and to end it with, by name (`x:0`), in place of the signature's: a frozen graph names none itself. */
  readonly inputs?: readonly string[];
  readonly outputs?: readonly string[];
}

export interface TensorFlowModel {
  readonly graph: FlatGraph;
  /** Every file that was read, the model's own first. */
  readonly files: readonly string[];
  /** Keys of the signatures that the model has; none for a frozen graph. */
  readonly signatures: readonly string[];
}

/**
 * Reads a SavedModel (its folder, or its saved_model.pb or .pbtxt) or a frozen GraphDef (.pb or .pbtxt).
 * Throws a UserError on anything that is not a usable model.
 */
export async function readTensorFlow(path: string, _options: ReadOptions = {}): Promise<TensorFlowModel> {
  throw new Error(`${path}: reading TensorFlow models is being built`);
}
