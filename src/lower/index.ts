/** Lowering: a Neuron subgraph becomes a serial list of NeuronCore instructions on buffers without addresses. */
import type { Graph, Node } from "../graph/graph.js";
import { recordOf } from "../operators/index.js";
import { planChip } from "./batching.js";
import type { Context } from "./context.js";
import { lowerConvolution } from "./convolution.js";
import { Emitter, MAX_INSTRUCTIONS } from "./emitter.js";
import type { LoweredProgram } from "./lowered.js";
import { lowerMatmul } from "./matmul.js";
import { lowerMovement } from "./movement.js";
import { type Budget, defaultBudget } from "./plan.js";
import { lowerPointwise } from "./pointwise.js";
import { lowerPool } from "./pool.js";
import { lowerReduce } from "./reduce.js";
import type { Relayout } from "./relayout.js";
import { lowerSoftmax } from "./softmax.js";
import { Values } from "./values.js";
import { PackedConstants } from "./weights.js";

export { exactValues } from "./comparable.js";
export { type OperatorCost, operatorCosts } from "./cost.js";
export { MAX_INSTRUCTIONS } from "./emitter.js";
export type { LoweredProgram } from "./lowered.js";
export type { Budget } from "./plan.js";
export { defaultBudget, RESIDENT_ROOM, residentBudgets, STREAMING_ROOM, WEIGHT_CAPACITY } from "./plan.js";
export type { Relayout } from "./relayout.js";

/** FP32 values change their layout bit by bit. */
const exactRelayout: Relayout = { fast: false, type: "bfloat16" };

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
 * on chip: for when scheduling finds that the program does not fit. Errors: NCC0693 where there are more instructions than `limit`.
 */
export function lower(
  graph: Graph,
  budget: Budget = defaultBudget,
  relayout: Relayout = exactRelayout,
  limit = MAX_INSTRUCTIONS,
): LoweredProgram {
  const { windowed, layouts, copies, onChip, used, resident, held } = planChip(graph, budget);
  const emitter = new Emitter(graph.name, limit);
  const values = new Values(windowed, emitter, { layouts, copies, onChip, relayout });
  const context: Context = {
    graph: windowed.graph,
    emitter,
    values,
    pieceElements: budget.pieceElements,
    resident,
    held: new Map(),
    packed: new PackedConstants(),
    loaded: new PackedConstants(),
  };
  const segmentAt = new Map(windowed.segments.map((segment, index) => [segment.first, held[index]]));
  const ends = new Set(windowed.segments.map(({ end }) => end));
  for (const [position, node] of windowed.graph.nodes.entries()) {
    if (ends.has(position)) context.held.clear();
    for (const weights of segmentAt.get(position) ?? []) context.held.set(weights, new PackedConstants());
    values.forgetFetched();
    emitter.origin = node.name;
    lowerNode(context, node);
    for (const output of node.outputs) if (output !== "") values.finishOutput(values.value(output));
  }
  values.finishColumns();
  return emitter.finish(mostByName(windowed.graph, used), budget.keepsConstants);
}

/** A node's greatest number, over its windows. */
function mostByName(graph: Graph, numbers: Float64Array): Map<string, number> {
  const most = new Map<string, number>();
  for (const [index, { name }] of graph.nodes.entries()) most.set(name, Math.max(most.get(name) ?? 0, numbers[index]));
  return most;
}
