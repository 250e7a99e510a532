/** What a user may ask of a compile. */

import type { Framework } from "../frontend/model.js";
import type { Tensor } from "../graph/tensor.js";

export interface CompileOptions {
  /** The model's framework; found from the file if absent. */
  readonly framework?: Framework;
  /** Of a SavedModel: the signature to compile (`serving_default`, else the first), and the tags of its meta graph, comma-separated. */
  readonly signature?: string;
  readonly tagSet?: string;
  /** Shapes and dtypes of inputs, and outputs, in the vendor's form; parsed JSON. */
  readonly ioConfig?: unknown;
  /** Extent of every input's open first dimension. */
  readonly batchSize?: number;
  readonly inputShapes?: ReadonlyMap<string, readonly number[]>;
  /** Inputs whose value is fixed: they become constants, and requests don't give them. */
  readonly inputValues?: ReadonlyMap<string, Tensor>;
  readonly dynamicBatchSize?: boolean;
  /** Cores of a pipeline at most; `auto`: the fewest with which every weight stays on chip. */
  readonly neuroncorePipelineCores?: number | "auto";
  /** The vendor's words; `["all"]` if absent. */
  readonly fastMath?: readonly string[];
  readonly fp32Cast?: string;
  readonly minimumSegmentSize?: number;
  readonly noFuseOps?: readonly string[];
  readonly forceFuseOps?: readonly string[];
  /** Types of the model's operators, as its framework calls them, that may be on NeuronCores; all that can if absent. */
  readonly supportedOpTypes?: readonly string[];
  readonly enableSaturateInfinity?: boolean;
  readonly enableFastLoadingNeuronBinaries?: boolean;
  readonly enableFastContextSwitch?: boolean;
  /** Check the graph after every pass, and every program after scheduling. */
  readonly verifyEach?: boolean;
  /** Every value that a program makes is an output too: for looking inside. The programs are then others, their values the same. */
  readonly everyValue?: boolean;
  progress?(phase: string): void;
  log?(level: "DEBUG" | "INFO" | "WARN", message: string): void;
  /** Sees what each phase made: `phase` is its name, for a pass or a subgraph followed by that one's. */
  observe?(phase: string, text: () => string): void;
}
