/** What import makes of a model in any framework's format. */
import type { Graph } from "../graph/graph.js";
import type { Framework } from "../options/framework.js";

/** Name and type of an operator as the source model has it. `origins` of graph nodes hold these names. */
export interface SourceOperator {
  readonly name: string;
  readonly type: string;
}

export interface ImportedModel {
  readonly framework: Framework;
  readonly graph: Graph;
  /** In the source model's order. */
  readonly operators: readonly SourceOperator[];
  /** Other names of inputs and outputs: the keys of the signature, with the values' names. */
  readonly aliases?: ReadonlyMap<string, string>;
  /** Every file that was read, the model's own first. */
  readonly files: readonly string[];
}
