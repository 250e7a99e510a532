/** Which operators treat the items of a batch each by itself, so that they can run for some of them at a time. */
import { type Graph, type Node, staticType } from "../graph/graph.js";
import { recordOf, useOf } from "../operators/index.js";
import type { Lowering, OperatorRecord } from "../operators/record.js";

type MovementLowering = Extract<Lowering, { kind: "movement" }>;

/** The batch that a node works on: the first extent of its output. 1 where there is none. */
export function batchOf(graph: Graph, node: Node): number {
  const { shape } = staticType(graph, node.outputs[0]);
  return shape.length < 2 ? 1 : shape[0];
}

/** The inputs that an item of the node's outputs sees only its own item of; undefined where items can't be told apart. */
export function batchedInputs(graph: Graph, node: Node): ReadonlySet<number> | undefined {
  const batch = batchOf(graph, node);
  const record = recordOf(node.op, node.domain);
  const outputs = node.outputs.filter((name) => name !== "").map((name) => staticType(graph, name).shape);
  if (batch < 2 || !record?.lowering || outputs.some((shape) => shape.length < 2 || shape[0] !== batch)) return undefined;
  const rank = outputs[0].length;
  const batched = new Set<number>();
  for (const [index, name] of node.inputs.entries()) {
    if (name === "") continue;
    const sees = seesItems(graph, node, record, index, batch, rank);
    if (sees === undefined) return undefined;
    if (!sees) continue;
    if (graph.constants.has(name)) return undefined;
    batched.add(index);
  }
  return batched.size > 0 ? batched : undefined;
}

/** Whether an input has the batch in front (true), is the same for all items (false), or neither (undefined). */
function seesItems(graph: Graph, node: Node, record: OperatorRecord, index: number, batch: number, rank: number): boolean | undefined {
  const { shape } = staticType(graph, node.inputs[index]);
  const first = shape[0] === batch;
  const broadcast = () => (shape.length === rank && shape[0] !== 1 ? first || undefined : shape.length <= rank ? false : undefined);
  const { lowering } = record;
  if (index >= record.maxInputs) return broadcast();
  switch (lowering?.kind) {
    case "convolution":
    case "pool":
      return index === 0 ? first || undefined : graph.constants.has(node.inputs[index]) ? false : undefined;
    case "pointwise":
      return broadcast();
    case "matmul":
      if (graph.constants.has(node.inputs[index])) return index === 1 && shape.length === 2 ? false : undefined;
      return shape.length === rank && (index === 0 || rank > 2) ? first || undefined : undefined;
    case "reduce": {
      const axes = lowering.axes(useOf(graph, node));
      return index > 0 ? false : first && !axes.some((axis) => axis === 0 || axis === -shape.length) ? true : undefined;
    }
    case "softmax": {
      const axis = lowering.axis(useOf(graph, node));
      return axis === 0 || axis === -shape.length ? undefined : first || undefined;
    }
    case "movement":
      if (record.parameters?.includes(index)) return false;
      return first && movesWithinItems(graph, node, lowering, record.parameters ?? [], batch) ? true : undefined;
    case undefined:
      return undefined;
  }
}

/** Whether a movement takes each item of its input to the item at the same place, and a part of the batch as it does the whole. */
function movesWithinItems(graph: Graph, node: Node, lowering: MovementLowering, parameters: readonly number[], batch: number): boolean {
  switch (lowering.items) {
    case "in order":
      return true;
    case "by axis":
      return [1, 2].every((items) => {
        const use = useOf(graph, node);
        const inputs = use.inputs.map((type, index) =>
          type?.shape?.[0] === batch && !parameters.includes(index) ? { ...type, shape: [items, ...type.shape.slice(1)] } : type,
        );
        return recordOf(node.op, node.domain)?.infer({ ...use, inputs })[0]?.shape?.[0] === items;
      });
    case undefined:
      return false;
  }
}
