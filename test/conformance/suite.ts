/** What the runner knows of a kind of test: where its folders are, what a case asks for, how exact the outputs have to be. */
import type { Graph } from "../../src/graph/graph.js";
import type { DType, Tensor } from "../../src/graph/tensor.js";
import type { CompileOptions } from "../../src/index.js";

/** `forced`: every operator that can be on a NeuronCore is there. `placed`: as the compiler decides. */
export type Place = "forced" | "placed";

/** One test, as it is handed to worker processes. */
export interface TestSource {
  readonly suite: SuiteName;
  readonly name: string;
  /** What the suite reads it from. */
  readonly path: string;
  /** Words of `--fast-math` for both runs, in place of the suite's. */
  readonly fastMath?: readonly string[];
}

export type SuiteName = "ONNX" | "TENSORFLOW";

export interface WantedOutput {
  /** The value's name in the imported graph. */
  readonly name: string;
  /** The tensor; of this element type where the test does not say which. */
  readonly tensor: (dtype: DType) => Tensor;
  /** The test's own tolerance in FP32, in place of the class's. */
  readonly tolerance?: { readonly relative: number; readonly absolute: number };
}

/** One request and what it has to give. */
export interface DataSet {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: readonly WantedOutput[];
}

export interface Case {
  readonly model: string;
  /** For the import and every compile. */
  readonly options: CompileOptions;
  /** Its requests, by the names of the imported graph. */
  readonly sets: (graph: Graph) => readonly DataSet[];
  /** The cosine that the reference framework itself keeps in bfloat16. */
  readonly bfloat16Cosine?: number;
  /** A word of the reason for which the model has to be refused. */
  readonly refused?: string;
}

export interface Suite {
  /** The tests below a folder, itself included, in order of their paths; links are followed. */
  readonly find: (folder: string) => readonly TestSource[];
  /** For messages: what a folder has to hold. */
  readonly holds: string;
  /** Reads a test. Throws UserError where a file holds no tensor. */
  readonly read: (path: string) => Case;
  /** The words of `--fast-math` in each run; the compiler's default where absent. */
  readonly fastMath: Readonly<Record<Place, readonly string[] | undefined>>;
}
