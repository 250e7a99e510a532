/** What the passes take from outside: the user's wishes, and functions of later phases, handed in by the driver. */
import type { Graph, Node, TensorType } from "../graph/graph.js";
import type { DType, Tensor } from "../graph/tensor.js";
import type { OperatorRecord } from "../operators/record.js";

/** The vendor's io-config, as an object: shape and element type of inputs by name, and the outputs' names. */
export interface IoConfig {
  readonly inputs: ReadonlyMap<string, { readonly shape: readonly number[]; readonly dtype: DType }>;
  readonly outputs: readonly string[];
}

/** Extents for the inputs' open dimensions. Explicit shapes come before the io-config's, and those before the batch size. */
export interface BindOptions {
  readonly batchSize?: number;
  readonly inputShapes?: ReadonlyMap<string, readonly number[]>;
  /** Inputs that become constants. */
  readonly inputValues?: ReadonlyMap<string, Tensor>;
  readonly ioConfig?: IoConfig;
  /** Other names of inputs and outputs. */
  readonly aliases?: ReadonlyMap<string, string>;
}

/** Runs a graph of ordinary ONNX operators; used for constants. */
export type Evaluate = (graph: Graph, inputs: Map<string, Tensor>) => Promise<Map<string, Tensor>>;

/** What the passes need to know of operators (`src/operators`). */
export interface OperatorRules {
  recordOf(op: string, domain: string): OperatorRecord | undefined;
  inferTypes(graph: Graph): Graph;
  /** The nodes that stand for `node` and the constants that they need, or undefined where it stays as it is. */
  decompose(graph: Graph, node: Node): Decomposition | undefined;
  /** Whether a node can run on a NeuronCore as it stands. Fusion keeps what can apart from what cannot. */
  runsOnNeuron(graph: Graph, node: Node): boolean;
}

/** The nodes in a topological order; the last ones write the decomposed node's outputs. */
export interface Decomposition {
  readonly nodes: readonly Node[];
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Of every new value. */
  readonly types: ReadonlyMap<string, TensorType>;
}

export interface NormaliseOptions {
  readonly bind: BindOptions;
  readonly evaluate: Evaluate;
  readonly operators: OperatorRules;
  /** Source operators (by name) that are to stay apart: never fused, folded, merged or decomposed. */
  readonly keep?: ReadonlySet<string>;
  /** Sees the graph after each pass. */
  observe?(pass: string, graph: Graph): void;
}

export type Pass = (graph: Graph, options: NormaliseOptions) => Graph | Promise<Graph>;

/** Whether the user wants this node left as it is. */
export function isKept(node: Node, options: Pick<NormaliseOptions, "keep">): boolean {
  const { keep } = options;
  if (keep === undefined || keep.size === 0) return false;
  return keep.has(node.name) || node.origins.some((origin) => keep.has(origin));
}
