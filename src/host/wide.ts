/**
 * Least and greatest of 64-bit integers. ONNX Runtime 1.30 compares the lower words of two that have the same upper word as if they had signs
 * (in Min, Max, Clip, ReduceMin and ReduceMax, where it takes several elements at once), so that 5 is more than 2^31 there.
 */
import type { Attributes } from "../graph/graph.js";
import { int64Tensor } from "../graph/tensor.js";
import { maker } from "./maker.js";
import { intValue, type Preparation, type Rewrite } from "./prepare.js";

const isWideInteger = (preparation: Preparation, value: string): boolean => preparation.type(value)?.dtype === "int64";

/** A comparison and a choice for each operand after the first. */
export const wideExtreme: Rewrite = (node, preparation) => {
  const compare = { Min: "Less", Max: "Greater" }[node.op];
  if (compare === undefined || node.inputs.length < 2 || !isWideInteger(preparation, node.inputs[0])) return undefined;
  const { nodes, add } = maker(preparation, node);
  node.inputs.reduce((best, other, index) => {
    const output = index === node.inputs.length - 1 ? node.outputs[0] : undefined;
    return add("Where", [add(compare, [other, best]), other, best], {}, output);
  });
  return nodes;
};

export const wideClip: Rewrite = (node, preparation) => {
  const [x, low = "", high = ""] = node.inputs;
  if (node.op !== "Clip" || !isWideInteger(preparation, x)) return undefined;
  const { nodes, add } = maker(preparation, node);
  const floor = low === "" ? x : add("Where", [add("Less", [x, low]), low, x]);
  const ceiling = high === "" ? floor : add("Where", [add("Greater", [floor, high]), high, floor]);
  add("Identity", [ceiling], {}, node.outputs[0]);
  return nodes;
};

const WORD = 2 ** 32;

/** The extreme upper word, and of what has it the extreme lower word; either, less 2^31, is a number that is compared rightly. */
export const wideReduction: Rewrite = (node, preparation) => {
  const dtype = preparation.type(node.inputs[0])?.dtype;
  if (!["ReduceMax", "ReduceMin"].includes(node.op) || dtype === undefined || !["int64", "uint32", "uint64"].includes(dtype))
    return undefined;
  const { nodes, add, to } = maker(preparation, node);
  const number = (value: number): string => preparation.constant(`${node.outputs[0]}_value`, int64Tensor([], [value]));
  const [data, ...axes] = node.inputs;
  const reduce = (value: string, attributes: Attributes = node.attributes): string => add(node.op, [value, ...axes], attributes);
  // The order of uint64 is that of int64 with the first bit turned.
  const turned = (value: string): string => add("BitwiseXor", [value, number(-(2 ** 63))]);
  const x = dtype === "uint64" ? turned(add("BitCast", [data], to("int64"))) : add("Cast", [data], to("int64"));
  const rest = add("Mod", [x, number(WORD)]);
  const upper = add("Div", [add("Sub", [x, rest]), number(WORD)]);
  const lower = add("Sub", [rest, number(WORD / 2)]);
  const hasUpper = add("Equal", [upper, reduce(upper, { ...node.attributes, keepdims: intValue(1) })]);
  const none = number(node.op === "ReduceMin" ? WORD / 2 - 1 : -WORD / 2);
  const extreme = add("Add", [
    add("Mul", [reduce(upper), number(WORD)]),
    add("Add", [reduce(add("Where", [hasUpper, lower, none])), number(WORD / 2)]),
  ]);
  if (dtype === "uint64") add("BitCast", [turned(extreme)], to("uint64"), node.outputs[0]);
  else add("Cast", [extreme], to(dtype), node.outputs[0]);
  return nodes;
};
