/** Small flat graphs for tests. */
import type { FlatAttribute, FlatGraph, FlatNode } from "../../../src/frontend/tensorflow/flat.js";
import { type DType, fromNumbers, type Tensor } from "../../../src/graph/tensor.js";

export function flatNode(name: string, op: string, inputs: readonly string[], attributes: Record<string, FlatAttribute> = {}): FlatNode {
  const references = inputs.map((input) => {
    const [node, output = "0"] = input.split(":");
    return { node, output: Number(output) };
  });
  return { name, op, inputs: references, attributes: new Map(Object.entries(attributes)) };
}

export function constant(name: string, shape: readonly number[], values: readonly number[], dtype: DType = "float32"): FlatNode {
  return flatNode(name, "Const", [], { value: { type: "tensor", value: fromNumbers(dtype, shape, values) } });
}

/** Of one float32 input `x`. */
export function flatGraph(shape: readonly number[], nodes: readonly FlatNode[], output: string): FlatGraph {
  const [node, index = "0"] = output.split(":");
  return {
    name: "g",
    inputs: [{ key: "x", name: "x:0", value: { node: "x", output: 0 }, dtype: "float32", shape }],
    outputs: [{ key: "y", name: `${node}:${index}`, value: { node, output: Number(index) }, dtype: "float32", shape: undefined }],
    nodes: [flatNode("x", "Placeholder", []), ...nodes],
  };
}

export function ramp(shape: readonly number[]): Tensor {
  const count = shape.reduce((product, extent) => product * extent, 1);
  return fromNumbers(
    "float32",
    shape,
    Array.from({ length: count }, (_, index) => index),
  );
}

export const integers = (value: readonly number[]): FlatAttribute => ({ type: "list", value });
export const string = (value: string): FlatAttribute => ({ type: "string", value });
export const bool = (value: boolean): FlatAttribute => ({ type: "bool", value });
