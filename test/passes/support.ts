/** What the pass tests share: the passes' dependencies as the driver wires them. */
import { runGraph } from "../../src/host/index.js";
import { checkNode, decompose, inferTypes, recordOf } from "../../src/operators/index.js";
import type { BindOptions, NormaliseOptions } from "../../src/passes/index.js";

export function options(bind: BindOptions = {}, keep: Iterable<string> = []): NormaliseOptions {
  return {
    bind,
    keep: new Set(keep),
    evaluate: (graph, inputs) => runGraph(graph, inputs),
    operators: { recordOf, inferTypes, decompose, runsOnNeuron: (graph, node) => checkNode(graph, node) === undefined },
  };
}
