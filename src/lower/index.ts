/** Lowering: a Neuron subgraph becomes a serial list of NeuronCore instructions on buffers without addresses. */
import type { Graph, Node } from "../graph/graph.js";
import { hardware } from "../hardware/hardware.js";
import { recordOf } from "../operators/index.js";
import type { Context } from "./context.js";
import { lowerConvolution } from "./convolution.js";
import { Emitter } from "./emitter.js";
import type { LoweredProgram } from "./lowered.js";
import { lowerMatmul } from "./matmul.js";
import { lowerMovement } from "./movement.js";
import { type Budget, chooseAxes, chooseOnChip, chooseResident, defaultBudget, wantedInDram } from "./plan.js";
import { lowerPointwise } from "./pointwise.js";
import { lowerPool } from "./pool.js";
import { lowerReduce } from "./reduce.js";
import { lowerSoftmax } from "./softmax.js";
import { Values } from "./values.js";
import { PackedConstants } from "./weights.js";

export { type OperatorCost, operatorCosts } from "./cost.js";
export type { LoweredProgram } from "./lowered.js";
export type { Budget } from "./plan.js";
export { defaultBudget } from "./plan.js";

/** SBUF bytes a partition that scheduling needs beside what lowering places: tiles in flight. */
export const WORKING_BYTES = Math.floor(hardware.sbufBytesPerPartition * 0.3);

function lowerNode(context: Context, node: Node): void {
  const lowering = recordOf(node.op, node.domain)?.lowering;
  if (!lowering) throw new Error(`${node.name}: ${node.op} has no lowering`);
  switch (lowering.kind) {
    case "pointwise":
      return lowerPointwise(context, node, lowering);
    case "convolution":
      return lowerConvolution(context, node, lowering);
    case "matmul":
      return lowerMatmul(context, node);
    case "pool":
      return lowerPool(context, node, lowering);
    case "reduce":
      return lowerReduce(context, node, lowering);
    case "softmax":
      return lowerSoftmax(context, node, lowering);
    case "movement":
      return lowerMovement(context, node, lowering);
    default:
      throw lowering satisfies never;
  }
}

/**
 * Lowers a graph whose every node passed the check and has static types, after precision was applied. A smaller budget keeps less
 * on chip: for when scheduling finds that the program does not fit.
 */
export function lower(graph: Graph, budget: Budget = defaultBudget): LoweredProgram {
  const inDram = wantedInDram(graph);
  const axes = chooseAxes(graph, inDram);
  const onChip = chooseOnChip(graph, axes, inDram, budget.valueBytes);
  const room = hardware.sbufBytesPerPartition - WORKING_BYTES - onChip.peak;
  const resident = chooseResident(graph, Math.max(0, Math.min(budget.residentBytes, room)));
  const emitter = new Emitter();
  const values = new Values(graph, emitter, axes, onChip.names);
  const context: Context = { graph, emitter, values, resident, packed: new PackedConstants(), loaded: new PackedConstants() };
  for (const node of graph.nodes) {
    values.forgetFetched();
    emitter.origin = node.name;
    lowerNode(context, node);
    for (const output of node.outputs) if (output !== "") values.finishOutput(values.value(output));
  }
  values.finishColumns();
  return emitter.finish(graph.name);
}
