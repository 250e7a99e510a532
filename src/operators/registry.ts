/** All operator records by name, and their uses in a graph. */
import type { Attributes, EpilogueStep, Graph, Node } from "../graph/graph.js";
import { type DType, isFloat } from "../graph/tensor.js";
import { blockRecords } from "./blocks.js";
import { convolutionRecords } from "./convolution.js";
import { indexRecords } from "./index_records.js";
import { movementRecords } from "./movement.js";
import { networkRecords } from "./network_records.js";
import { otherRecords } from "./others.js";
import { pointwiseRecords } from "./pointwise.js";
import { poolRecords } from "./pool.js";
import type { OperatorRecord, OperatorUse } from "./record.js";
import { reduceRecords } from "./reduce.js";
import { reshapeRecords } from "./reshape.js";
import { resizeRecords } from "./resize.js";

const records: readonly OperatorRecord[] = [
  ...pointwiseRecords,
  ...convolutionRecords,
  ...poolRecords,
  ...reduceRecords,
  ...blockRecords,
  ...movementRecords,
  ...reshapeRecords,
  ...resizeRecords,
  ...indexRecords,
  ...networkRecords,
  ...otherRecords,
].sort((a, b) => (a.name < b.name ? -1 : 1));

const byName = new Map(records.map((record) => [record.name, record]));

/** In order of their names. */
export function allRecords(): readonly OperatorRecord[] {
  return records;
}

export function recordOf(op: string, domain: string): OperatorRecord | undefined {
  const record = byName.get(op);
  return record !== undefined && record.domain === (domain === "ai.onnx" ? "" : domain) ? record : undefined;
}

/** What is known of values: a graph, or one that is being made. */
interface Values {
  readonly types: Pick<Graph["types"], "get">;
  readonly constants: Pick<Graph["constants"], "get">;
}

function makeUse(
  values: Values,
  op: string,
  attributes: Attributes,
  names: readonly string[],
  outputCount: number,
  node: Node,
): OperatorUse {
  return {
    op,
    attributes,
    inputs: names.map((name) => values.types.get(name)),
    constants: names.map((name) => values.constants.get(name)),
    outputCount,
    node,
  };
}

/** The inputs of a node's operator, without absent ones at the end. An epilogue's own come after the most that the operator takes. */
export function ownInputs(node: Node): readonly string[] {
  const most = node.epilogue?.length ? recordOf(node.op, node.domain)?.maxInputs : undefined;
  const own = most === undefined ? node.inputs : node.inputs.slice(0, most);
  return own.slice(0, own.findLastIndex((name) => name !== "") + 1);
}

/** A node without its epilogue. Trailing absent outputs don't count. */
export function useOf(values: Values, node: Node): OperatorUse {
  const outputCount = node.outputs.findLastIndex((output) => output !== "") + 1;
  return makeUse(values, node.op, node.attributes, ownInputs(node), outputCount, node);
}

/** The element type of a use's result. Float types count as the first of them: precision may mix them in one node. */
function resultDtype(use: OperatorUse): DType | undefined {
  const float = use.inputs.find((type) => type && isFloat(type.dtype))?.dtype;
  const inputs = use.inputs.map((type) => (type && float && isFloat(type.dtype) ? { ...type, dtype: float } : type));
  return recordOf(use.op, "")?.infer({ ...use, inputs })[0]?.dtype;
}

/** A step of a node's epilogue. The running value has the shape of the node's first output, and the element type of the step before. */
export function epilogueUse(values: Values, node: Node, step: EpilogueStep): OperatorUse {
  let running = resultDtype(useOf(values, node));
  for (const current of node.epilogue ?? []) {
    const names = current.operands.map((operand) => (operand === null ? node.outputs[0] : node.inputs[operand]));
    const use = makeUse(values, current.op, current.attributes, names, 1, node);
    const inputs = use.inputs.map((type, index) =>
      type && running && current.operands[index] === null ? { ...type, dtype: running } : type,
    );
    if (current === step) return { ...use, inputs };
    running = resultDtype({ ...use, inputs });
  }
  throw new Error(`${node.name}: ${step.op} is no step of its epilogue`);
}
