/** What rewrites of one node to several share. */

import { elementTypeCodes } from "../frontend/onnx/tensor.js";
import type { Attributes, Node } from "../graph/graph.js";
import { type DType, fromNumbers, int64Tensor } from "../graph/tensor.js";
import type { Preparation } from "./prepare.js";

/** Makes the nodes of one rewrite: each call adds one and gives its output, which is `output` where that is named. */
export function maker(preparation: Preparation, node: Node) {
  const nodes: Node[] = [];
  const add = (op: string, inputs: readonly string[], attributes: Attributes = {}, output?: string): string => {
    const value = output ?? preparation.fresh(`${node.outputs[0]}_${op.toLowerCase()}`);
    nodes.push(preparation.node(op, inputs, value, attributes));
    return value;
  };
  const to = (dtype: DType): Attributes => ({ to: { type: "int", value: elementTypeCodes[dtype] } });
  const constant = (dtype: DType, shape: readonly number[], values: readonly number[]): string =>
    preparation.constant(`${node.outputs[0]}_value`, fromNumbers(dtype, shape, values));
  const integers = (values: readonly number[]): string =>
    preparation.constant(`${node.outputs[0]}_list`, int64Tensor([values.length], values));
  return { nodes, add, to, constant, integers };
}
