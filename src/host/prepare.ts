/** The graph in the form that ONNX Runtime takes: what it refuses though the standard defines it is written in other operators. */

import { elementTypeCodes } from "../frontend/onnx/tensor.js";
import { writeOnnx } from "../frontend/onnx/write.js";
import { withoutEpilogues } from "../graph/epilogue.js";
import { type Attribute, type Attributes, type Graph, intAttribute, isStatic, type Node, type TensorType } from "../graph/graph.js";
import { type DType, elementCount, floatTensor, fromNumbers, int64Tensor, type Tensor } from "../graph/tensor.js";
import { inferTypes } from "../operators/infer.js";
import { kernelType, lacksKernel } from "./kernels.js";
import { standardForms } from "./standard.js";

/** The ONNX model of a CPU subgraph. Its bfloat16 inputs and outputs are float32: the binding carries no bfloat16. */
export function hostModel(graph: Graph): Uint8Array {
  const plain = withoutEpilogues(graph);
  return writeOnnx(withOpenInputs(new Preparation(plain === graph ? graph : inferTypes(plain)).run()));
}

/**
 * Where there are branches, inputs of open extents: one that is never taken with the extents in question may not fit them, and ONNX Runtime,
 * which infers all branches, would refuse the model.
 */
function withOpenInputs(graph: Graph): Graph {
  if (!graph.nodes.some((node) => node.op === "If")) return graph;
  const types = new Map(graph.types);
  for (const name of graph.inputs) {
    const type = types.get(name);
    if (type?.shape) types.set(name, { ...type, shape: type.shape.map((_, axis) => `${name}_${axis}`) });
  }
  return { ...graph, types };
}

export const intValue = (value: number): Attribute => ({ type: "int", value });
export const intsValue = (value: readonly number[]): Attribute => ({ type: "ints", value });

/** Writes one node as others; undefined where ONNX Runtime takes it as it is. */
export type Rewrite = (node: Node, preparation: Preparation) => readonly Node[] | undefined;

export class Preparation {
  private readonly types: Map<string, TensorType>;
  private readonly constants: Map<string, Tensor>;
  private readonly used: Set<string>;

  constructor(private readonly graph: Graph) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.used = new Set([...graph.types.keys(), ...graph.nodes.flatMap((node) => [node.name, ...node.inputs, ...node.outputs])]);
  }

  fresh(base: string): string {
    let name = base;
    for (let count = 1; this.used.has(name); count++) name = `${base}_${count}`;
    this.used.add(name);
    return name;
  }

  type(value: string | undefined): TensorType | undefined {
    return value === undefined || value === "" ? undefined : this.types.get(value);
  }

  shape(value: string | undefined): readonly number[] | undefined {
    const type = this.type(value);
    return isStatic(type) ? type.shape : undefined;
  }

  constant(base: string, tensor: Tensor): string {
    const name = this.fresh(base);
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  node(op: string, inputs: readonly string[], output: string, attributes: Attributes = {}): Node {
    return { name: this.fresh(`${output}_${op.toLowerCase()}`), op, domain: "", inputs, outputs: [output], attributes, origins: [] };
  }

  cast(from: string, to: string, dtype: DType): Node {
    return this.node("Cast", [from], to, { to: intValue(elementTypeCodes[dtype]) });
  }

  private rewrite(node: Node): readonly Node[] {
    if (node.domain !== "") return [node];
    for (const rewrite of rewrites) {
      const nodes = rewrite(node, this);
      if (nodes) return nodes;
    }
    return [node];
  }

  run(): Graph {
    const isBfloat16 = (value: string): boolean => this.type(value)?.dtype === "bfloat16";
    const inner = new Map<string, string>();
    const [before, after]: Node[][] = [[], []];
    for (const value of new Set([...this.graph.inputs, ...this.graph.outputs].filter(isBfloat16))) {
      const name = this.fresh(`${value}_bfloat16`);
      inner.set(value, name);
      this.types.set(name, { ...this.type(value), dtype: "bfloat16" });
      this.types.set(value, { ...this.type(value), dtype: "float32" });
      if (this.graph.inputs.includes(value)) before.push(this.cast(value, name, "bfloat16"));
      else after.push(this.cast(name, value, "float32"));
      const constant = this.constants.get(value);
      if (constant) {
        this.constants.delete(value);
        this.constants.set(name, constant);
      }
    }
    const renamed = (value: string): string => inner.get(value) ?? value;
    const nodes = this.graph.nodes
      .map((node) => (inner.size === 0 ? node : { ...node, inputs: node.inputs.map(renamed), outputs: node.outputs.map(renamed) }))
      .flatMap((node) => this.rewrite(node));
    return { ...this.graph, nodes: [...before, ...nodes, ...after], types: this.types, constants: this.constants };
  }
}

/** Inputs of the operator that hold its data, where these are not all those of the first one's type. */
const dataInputs: Readonly<Record<string, readonly number[]>> = { Where: [1, 2] };

/** Computes in a wider type what has no kernel in its own. */
const widen: Rewrite = (node, preparation) => {
  const data = dataInputs[node.op];
  const dtype =
    preparation.type(node.inputs[data?.[0] ?? 0])?.dtype ??
    (node.inputs.length === 0 ? preparation.type(node.outputs[0])?.dtype : undefined);
  const target = node.op === "EyeLike" ? preparation.type(node.outputs[0])?.dtype : dtype;
  const type = target && lacksKernel(node.op, target) ? kernelType(node.op, target) : undefined;
  if (target === undefined || type === undefined) return undefined;
  const before: Node[] = [];
  const after: Node[] = [];
  const inputs = node.inputs.map((input, index) => {
    if (preparation.type(input)?.dtype !== target || (data && !data.includes(index))) return input;
    const wide = preparation.fresh(`${input}_${type}`);
    before.push(preparation.cast(input, wide, type));
    return wide;
  });
  const outputs = node.outputs.map((output) => {
    if (preparation.type(output)?.dtype !== target) return output;
    const wide = preparation.fresh(`${output}_${type}`);
    after.push(preparation.cast(wide, output, target));
    return wide;
  });
  const attributes = "dtype" in node.attributes ? { ...node.attributes, dtype: intValue(elementTypeCodes[type]) } : node.attributes;
  return [...before, { ...node, inputs, outputs, attributes }, ...after];
};

/** ONNX Runtime has OneHot for a few combinations of types; with 64-bit indices and depth, for these values. */
const oneHot: Rewrite = (node, preparation) => {
  if (node.op !== "OneHot") return undefined;
  const [indices, , values] = node.inputs.map((input) => preparation.type(input)?.dtype);
  if (indices === undefined || values === undefined || values === "string") return undefined;
  const type: DType = /float/.test(values) ? "float32" : "int64";
  const before: Node[] = [];
  const inputs = node.inputs.map((input, index) => {
    const wanted = index === 2 ? type : "int64";
    if (preparation.type(input)?.dtype === wanted) return input;
    const wide = preparation.fresh(`${input}_${wanted}`);
    before.push(preparation.cast(input, wide, wanted));
    return wide;
  });
  if (values === type) return before.length === 0 ? undefined : [...before, { ...node, inputs }];
  const wide = preparation.fresh(`${node.outputs[0]}_${type}`);
  return [...before, { ...node, inputs, outputs: [wide] }, preparation.cast(wide, node.outputs[0], values)];
};

/** Order among 64-bit unsigned integers is that of signed ones with the first bit turned. */
const orderUnsigned: Rewrite = (node, preparation) => {
  if (!["ArgMax", "ArgMin", "TopK"].includes(node.op)) return undefined;
  if (preparation.type(node.inputs[0])?.dtype !== "uint64") return undefined;
  const bit = preparation.constant(`${node.name}_bit`, { dtype: "uint64", shape: [], data: BigUint64Array.of(1n << 63n) });
  const to = (dtype: DType): Attributes => ({ to: intValue(elementTypeCodes[dtype]) });
  const [turned, signed] = ["turned", "signed"].map((word) => preparation.fresh(`${node.inputs[0]}_${word}`));
  const before = [
    preparation.node("BitwiseXor", [node.inputs[0], bit], turned),
    preparation.node("BitCast", [turned], signed, to("int64")),
  ];
  const inputs = [signed, ...node.inputs.slice(1)];
  if (node.op.startsWith("Arg")) return [...before, { ...node, inputs }];
  const [result, bits] = ["signed", "turned"].map((word) => preparation.fresh(`${node.outputs[0]}_${word}`));
  return [
    ...before,
    { ...node, inputs, outputs: [result, ...node.outputs.slice(1)] },
    preparation.node("BitCast", [result], bits, to("uint64")),
    preparation.node("BitwiseXor", [bits, bit], node.outputs[0]),
  ];
};

/** A bool is the byte 0 or 1. */
const bitCastBool: Rewrite = (node, preparation) => {
  const types = [node.inputs[0], node.outputs[0]].map((value) => preparation.type(value)?.dtype);
  return node.op === "BitCast" && types.includes("bool") ? [{ ...node, op: "Cast" }] : undefined;
};

/** ONNX Runtime expands CastLike itself, to a graph that its type checks may refuse. */
const castLike: Rewrite = (node, preparation) => {
  const dtype = preparation.type(node.inputs[1])?.dtype;
  if (node.op !== "CastLike" || dtype === undefined) return undefined;
  if (dtype === preparation.type(node.inputs[0])?.dtype) return [{ ...node, op: "Identity", inputs: [node.inputs[0]], attributes: {} }];
  return [{ ...node, op: "Cast", inputs: [node.inputs[0]], attributes: { ...node.attributes, to: intValue(elementTypeCodes[dtype]) } }];
};

/** ONNX Runtime's own casts of float16 around one from float16 to float16 don't fit each other. */
const idleCast: Rewrite = (node, preparation) => {
  const [from, to] = [node.inputs[0], node.outputs[0]].map((value) => preparation.type(value)?.dtype);
  return node.op === "Cast" && from !== undefined && from === to ? [{ ...node, op: "Identity", attributes: {} }] : undefined;
};

/** Recurrent operators with the batch in front. */
const batchFirst: Rewrite = (node, preparation) => {
  if (!["GRU", "LSTM", "RNN"].includes(node.op) || intAttribute(node.attributes, "layout", 0) !== 1) return undefined;
  const before: Node[] = [];
  const after: Node[] = [];
  const swap = { perm: intsValue([1, 0, 2]) };
  const inputs = node.inputs.map((input, index) => {
    if (input === "" || ![0, 5, 6].includes(index)) return input;
    const turned = preparation.fresh(`${input}_turned`);
    before.push(preparation.node("Transpose", [input], turned, swap));
    return turned;
  });
  const outputs = node.outputs.map((output, index) => {
    if (output === "") return output;
    const turned = preparation.fresh(`${output}_turned`);
    after.push(preparation.node("Transpose", [turned], output, index === 0 ? { perm: intsValue([2, 0, 1, 3]) } : swap));
    return turned;
  });
  const { layout: _, ...attributes } = node.attributes;
  return [...before, { ...node, inputs, outputs, attributes }, ...after];
};

/** conv(x, w - z) = conv(x, w) - z conv(x, 1), for a zero point z of each output channel. */
const channelZeroPoints: Rewrite = (node, preparation) => {
  const zeros = preparation.shape(node.inputs[3]);
  const weights = preparation.shape(node.inputs[1]);
  const dtype = preparation.type(node.inputs[1])?.dtype;
  if (node.op !== "ConvInteger" || zeros === undefined || elementCount(zeros) === 1 || weights === undefined || dtype === undefined) {
    return undefined;
  }
  const [x, w, zero, zeroPoints] = node.inputs;
  const [output] = node.outputs;
  const ones = preparation.constant(`${output}_ones`, fromNumbers(dtype, weights, new Array<number>(elementCount(weights)).fill(1)));
  const shape = preparation.constant(`${output}_shape`, int64Tensor([weights.length - 1], [weights[0], ...weights.slice(2).map(() => 1)]));
  const [plain, sums, points, column, excess] = ["plain", "sums", "points", "column", "excess"].map((word) =>
    preparation.fresh(`${output}_${word}`),
  );
  return [
    { ...node, inputs: [x, w, zero], outputs: [plain] },
    { ...node, name: preparation.fresh(`${node.name}_sums`), inputs: [x, ones, zero], outputs: [sums] },
    preparation.cast(zeroPoints, points, "int32"),
    preparation.node("Reshape", [points, shape], column),
    preparation.node("Mul", [sums, column], excess),
    preparation.node("Sub", [plain, excess], output),
  ];
};

/** A mask that ends before the keys do hides the rest of them. */
const attentionMask: Rewrite = (node, preparation) => {
  const mask = node.inputs[3];
  const [shape, keys, past] = [mask, node.inputs[1], node.inputs[4]].map((value) => preparation.shape(value));
  const dtype = preparation.type(mask)?.dtype;
  if (node.op !== "Attention" || !shape || !keys || !dtype || (node.inputs[4] && !past)) return undefined;
  const missing = keys[keys.length - 2] + (past?.[2] ?? 0) - shape[shape.length - 1];
  if (missing <= 0) return undefined;
  const pads = new Array<number>(2 * shape.length).fill(0);
  pads[pads.length - 1] = missing;
  const hidden = preparation.constant(`${mask}_hidden`, fromNumbers(dtype, [], [dtype === "bool" ? 0 : Number.NEGATIVE_INFINITY]));
  const padded = preparation.fresh(`${mask}_padded`);
  const inputs = node.inputs.with(3, padded);
  const amounts = preparation.constant(`${mask}_pads`, int64Tensor([pads.length], pads));
  return [preparation.node("Pad", [mask, amounts, hidden], padded), { ...node, inputs }];
};

/** (sum |x|^p)^(1/p) over the spatial axes: ONNX Runtime's own is of opset 2, which a graph with newer operators can't declare. */
const globalLpPool: Rewrite = (node, preparation) => {
  const rank = preparation.type(node.inputs[0])?.shape?.length;
  if (node.op !== "GlobalLpPool" || rank === undefined) return undefined;
  const [input] = node.inputs;
  const [output] = node.outputs;
  const axes = Array.from({ length: rank - 2 }, (_, axis) => axis + 2);
  const power = intAttribute(node.attributes, "p", 2);
  const constant = (value: number) => preparation.constant(`${output}_power`, floatTensor([], [value]));
  const [size, powers, sums] = ["size", "powers", "sums"].map((word) => preparation.fresh(`${output}_${word}`));
  return [
    preparation.node("Abs", [input], size),
    preparation.node("Pow", [size, constant(power)], powers),
    preparation.node("ReduceSum", [powers, preparation.constant(`${output}_axes`, int64Tensor([axes.length], axes))], sums),
    preparation.node("Pow", [sums, constant(1 / power)], output),
  ];
};

const rewrites: readonly Rewrite[] = [
  bitCastBool,
  castLike,
  idleCast,
  oneHot,
  orderUnsigned,
  batchFirst,
  channelZeroPoints,
  attentionMask,
  globalLpPool,
  ...standardForms,
  widen,
];
