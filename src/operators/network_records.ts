/** Layers of networks that are decomposed: attention, recurrence, quantization, rearrangements of space; their forms and types. */
import { type Dim, intAttribute, intsAttribute, type TensorType } from "../graph/graph.js";
import { type DType, elementCount } from "../graph/tensor.js";
import { einsumFlops, einsumShape } from "./einsum.js";
import { as, codeOf, formRecords, indexTypes, one } from "./form.js";
import { floatTypes } from "./pointwise.js";
import type { AttributeSpec, OperatorUse } from "./record.js";
import {
  attributeFault,
  axisAttribute,
  broadcast,
  constantInts,
  dtypeFromCode,
  dtypeOf,
  extent,
  float,
  inputFault,
  int,
  ints,
  intsOf,
  normalAxes,
  OPEN,
  productOf,
  required,
  requireRank,
  requireShape,
  requireWord,
  type Shape,
  shapeOf,
  text,
} from "./shapes.js";
import { attentionFlops, recurrentFlops } from "./work.js";

const gateCounts: Readonly<Record<string, number>> = { RNN: 1, GRU: 3, LSTM: 4 };

/** RNN, GRU, LSTM: outputs Y, Y_h and Y_c. Inputs: X, W, R, B, lengths, initial states, peepholes. */
function recurrent(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 3, 3);
  requireWord(use, "direction", ["forward", "reverse", "bidirectional"]);
  const dtype = dtypeOf(use, 0);
  const [input, weights, recurrence] = [0, 1, 2].map((index) => shapeOf(use, index) ?? [OPEN, OPEN, OPEN]);
  requireRank(use, 2, 3, 3);
  const hidden = intAttribute(use.attributes, "hidden_size", 0) || recurrence[2];
  const count = use.attributes.direction?.value === "bidirectional" ? 2 : 1;
  // With layout 1 the batch comes first.
  const batchFirst = intAttribute(use.attributes, "layout", 0) === 1;
  const [steps, batch] = batchFirst ? [input[1], input[0]] : input;
  const gates = (factor: number): Dim => extent([hidden], ([size]) => factor * size);
  const own = gateCounts[use.op] ?? 1;
  const state = batchFirst ? [batch, count, hidden] : [count, batch, hidden];
  const shapes: Shape[] = [
    input,
    [count, gates(own), input[2]],
    [count, gates(own), hidden],
    [count, gates(2 * own)],
    [batch],
    state,
    state,
  ];
  for (const [index, shape] of [...shapes, [count, gates(3)]].entries()) requireShape(use, index, shape);
  if (weights.some((dim) => dim === 0)) throw inputFault(use, 1, "without empty extents");
  const all = batchFirst ? [batch, steps, count, hidden] : [steps, count, batch, hidden];
  return [all, state, state].slice(0, Math.max(1, use.outputCount)).map((shape) => ({ dtype, shape }));
}

/** A scale (zero point) for all of the tensor, for each place on an axis, or for each block of places. */
function checkSpread(use: OperatorUse, index: number): void {
  const [input, own] = [shapeOf(use, 0), shapeOf(use, index)];
  const block = intAttribute(use.attributes, "block_size", 0);
  if (input === undefined || own === undefined || productOf(own) === 1) return;
  const axis = axisAttribute(use, 1, input.length);
  if (block < 0) throw attributeFault(use, "block_size", block, "use 0 or more");
  const blocks = extent([input[axis]], ([size]) => Math.ceil(size / block));
  requireShape(use, index, block > 0 ? input.with(axis, blocks) : [input[axis]]);
}

function quantize(use: OperatorUse): TensorType[] {
  for (const index of [1, 2]) checkSpread(use, index);
  const code = intAttribute(use.attributes, "output_dtype", 0);
  return one(use.inputs[2]?.dtype ?? (code ? dtypeFromCode(use, "output_dtype", code) : "uint8"), shapeOf(use, 0));
}

function affineGrid(use: OperatorUse): TensorType[] {
  const size = constantInts(use, 1);
  if (size === undefined) return one(dtypeOf(use, 0));
  const axes = size.length - 2;
  if (axes < 2 || axes > 3 || size.some((dim) => dim < 0)) throw inputFault(use, 1, "4 or 5 extents of 0 or more");
  requireShape(use, 0, [size[0], axes, axes + 1]);
  return one(dtypeOf(use, 0), [size[0], ...size.slice(2), axes]);
}

/** Input and caches [places, half], or [batch, steps, half] without positions. */
function rotaryEmbedding(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 3, 4);
  const input = shapeOf(use, 0);
  if (input === undefined) return one(dtypeOf(use, 0));
  const heads = input.length === 4 ? input[1] : intAttribute(use.attributes, "num_heads", 0);
  if (input.length === 3 && Number(heads) < 1) throw attributeFault(use, "num_heads", heads, "use 1 or more for an input of rank 3");
  const width = input.length === 4 ? input[3] : extent([input[2], heads], ([size, count]) => size / count);
  const turned = intAttribute(use.attributes, "rotary_embedding_dim", 0) || width;
  const half = extent([turned], ([size]) => size / 2);
  const tooWide = typeof turned === "number" && typeof width === "number" && (turned < 0 || turned > width);
  if (tooWide || (typeof half === "number" && !Number.isInteger(half))) {
    throw attributeFault(use, "rotary_embedding_dim", turned, `use an even number up to ${width}`);
  }
  const steps = input[input.length - 2];
  const cache = use.inputs[3] ? [shapeOf(use, 1)?.[0] ?? OPEN, half] : [input[0], steps, half];
  for (const index of [1, 2]) requireShape(use, index, cache);
  requireShape(use, 3, [input[0], steps]);
  return one(dtypeOf(use, 0), input);
}

function dynamicQuantize(use: OperatorUse): TensorType[] {
  return [
    { dtype: "uint8", shape: shapeOf(use, 0) },
    { dtype: "float32", shape: [] },
    { dtype: "uint8", shape: [] },
  ];
}

/** Outputs: the result, the keys and the values with the past ones, the scores. Of rank 3 the heads lie in the last axis. */
function attention(use: OperatorUse): TensorType[] {
  const dtype = dtypeOf(use, 0);
  const [query, key, value, mask, pastKey] = [0, 1, 2, 3, 4].map((index) => shapeOf(use, index));
  requireRank(use, 0, 3, 4);
  const unknown = query === undefined || key === undefined || value === undefined || (use.inputs[4] && pastKey === undefined);
  if (unknown) return Array.from({ length: Math.max(1, use.outputCount) }, () => ({ dtype }));
  const packed = query.length === 3;
  const heads = (name: string, shape: Shape): Dim => {
    const count = intAttribute(use.attributes, name, packed ? 0 : 1);
    if (packed && count < 1) throw attributeFault(use, name, count, "use 1 or more for inputs of rank 3");
    return packed ? count : shape[1];
  };
  for (const index of [1, 2]) requireRank(use, index, query.length, query.length);
  const [queryHeads, keyHeads] = [heads("q_num_heads", query), heads("kv_num_heads", key)];
  if (typeof queryHeads === "number" && typeof keyHeads === "number" && queryHeads % Math.max(1, keyHeads) !== 0) {
    throw attributeFault(use, "q_num_heads", queryHeads, `use a multiple of the ${keyHeads} heads of the keys`);
  }
  const width = (shape: Shape, count: Dim): Dim => {
    const last = shape[shape.length - 1];
    const size = packed ? extent([last, count], ([whole, parts]) => whole / parts) : last;
    if (typeof size === "number" && !Number.isInteger(size)) throw inputFault(use, 0, `of a last extent that ${count} heads divide`);
    return size;
  };
  const [steps, own] = [query[query.length - 2], key[key.length - 2]];
  const [extents, valueWidth] = [width(query, queryHeads), width(value, keyHeads)];
  const shaped = (count: Dim, places: Dim, size: Dim): Shape =>
    packed ? [query[0], places, extent([count, size], ([times, each]) => times * each)] : [query[0], count, places, size];
  requireShape(use, 1, shaped(keyHeads, own, extents));
  requireShape(use, 2, shaped(keyHeads, own, valueWidth));
  const past = pastKey?.[2] ?? 0;
  if (use.inputs[4]) requireShape(use, 4, [query[0], keyHeads, past, extents]);
  if (use.inputs[5]) requireShape(use, 5, [query[0], keyHeads, past, valueWidth]);
  const keys = extent([past, own], ([before, news]) => before + news);
  if (mask) {
    requireRank(use, 3, 1, 4);
    const last = mask[mask.length - 1];
    if (typeof last === "number" && typeof keys === "number" && last > keys) throw inputFault(use, 3, `of at most ${keys} keys`);
    broadcast(use, [mask.slice(0, -1), [query[0], queryHeads, steps]]);
  }
  requireShape(use, 6, [query[0]]);
  const stage = intAttribute(use.attributes, "qk_matmul_output_mode", 0);
  if (![0, 1, 2, 3].includes(stage)) throw attributeFault(use, "qk_matmul_output_mode", stage, "use 0 to 3");
  const shapes = [
    shaped(queryHeads, steps, valueWidth),
    [query[0], keyHeads, keys, extents],
    [query[0], keyHeads, keys, valueWidth],
    [query[0], queryHeads, steps, keys],
  ];
  return shapes.slice(0, Math.max(1, use.outputCount)).map((shape) => ({ dtype, shape }));
}

function attentionWork(use: OperatorUse): number {
  const [, keys, values, scores] = attention({ ...use, outputCount: 4 }).map(({ shape = [] }) => shape.map(Number));
  return attentionFlops(scores, keys[3], values[3], use.inputs[3] !== undefined);
}

function dequantize(use: OperatorUse): TensorType[] {
  for (const index of [1, 2]) checkSpread(use, index);
  return one(intAttribute(use.attributes, "output_dtype", 0) ? codeOf(use, "output_dtype", 1) : dtypeOf(use, 1), shapeOf(use, 0));
}

function columnsToImage(use: OperatorUse): TensorType[] {
  const [input, image, block] = [shapeOf(use, 0), constantInts(use, 1), constantInts(use, 2)];
  requireRank(use, 0, 3, 3);
  if (image === undefined || block === undefined) return one(dtypeOf(use, 0));
  const axes = image.length;
  if (axes < 1 || block.length !== axes || [...image, ...block].some((size) => size < 1)) {
    throw inputFault(use, 2, `${axes} extents of 1 or more, as the image`);
  }
  const [strides, dilations] = ["strides", "dilations"].map((name) => intsOf(use, name, axes, 1, 1));
  const pads = intsOf(use, "pads", 2 * axes, 0, 0);
  const counts = image.map((size, axis) => {
    const room = size + pads[axis] + pads[axes + axis] - dilations[axis] * (block[axis] - 1) - 1;
    return room < 0 ? 0 : Math.floor(room / strides[axis]) + 1;
  });
  if (input === undefined) return one(dtypeOf(use, 0));
  requireShape(use, 0, [input[0], input[1], elementCount(counts)]);
  const channels = extent([input[1]], ([rows]) => rows / elementCount(block));
  if (typeof channels === "number" && !Number.isInteger(channels)) throw inputFault(use, 0, `of rows that ${elementCount(block)} divides`);
  return one(dtypeOf(use, 0), [input[0], channels, ...image]);
}

/** Outputs: the convolution, and the last (kernel - 1) columns of the state and the input. */
function causalConvolution(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 3, 3);
  requireRank(use, 1, 3, 3);
  const [input, weight] = [shapeOf(use, 0), shapeOf(use, 1)];
  const kernel = weight?.[2];
  const dtype = dtypeOf(use, 0);
  const state = input && [input[0], input[1], typeof kernel === "number" ? kernel - 1 : OPEN];
  return [
    { dtype, shape: input },
    { dtype, shape: state },
  ].slice(0, Math.max(1, use.outputCount));
}

/** Query, key and value are [batch, steps, heads x extent]; the state is [batch, heads, key extent, value extent]. */
function linearAttention(use: OperatorUse): TensorType[] {
  for (const index of [0, 1, 2]) requireRank(use, index, 3, 3);
  const dtype = dtypeOf(use, 0);
  const [query, key, value] = [0, 1, 2].map((index) => shapeOf(use, index));
  const [queryHeads, heads] = ["q_num_heads", "kv_num_heads"].map((name) => intAttribute(use.attributes, name, 1));
  const extent = (dim: Dim | undefined): Dim => (typeof dim === "number" ? dim / heads : OPEN);
  const [keyExtent, valueExtent] = [extent(key?.[2]), extent(value?.[2])];
  const output = query && [query[0], query[1], typeof valueExtent === "number" ? queryHeads * valueExtent : OPEN];
  return [
    { dtype, shape: output },
    { dtype, shape: query && [query[0], heads, keyExtent, valueExtent] },
  ].slice(0, Math.max(1, use.outputCount));
}

function centerCropPad(use: OperatorUse): TensorType[] {
  const [input, target] = [shapeOf(use, 0), constantInts(use, 1)];
  if (input === undefined) return one(dtypeOf(use, 0));
  const axes = normalAxes(use, "axes", intsAttribute(use.attributes, "axes") ?? input.map((_, axis) => axis), input.length);
  if (target && (target.length !== axes.length || target.some((size) => size < 0)))
    throw inputFault(use, 1, `${axes.length} extents of 0 or more`);
  return one(
    dtypeOf(use, 0),
    input.map((dim, axis) => (axes.includes(axis) ? (target?.[axes.indexOf(axis)] ?? OPEN) : dim)),
  );
}

const quantizedTypes: readonly DType[] = ["uint8", "int8", "uint16", "int16", "int32"];
const recurrentAttributes: Readonly<Record<string, AttributeSpec>> = {
  activation_alpha: { type: "floats" },
  activation_beta: { type: "floats" },
  activations: { type: "strings" },
  clip: float(),
  direction: text("forward"),
  hidden_size: int(),
  layout: int(0),
};

export const networkRecords = formRecords({
  AffineGrid: {
    since: 20,
    inputs: [2, 2],
    attributes: { align_corners: int(0) },
    infer: affineGrid,
    parameters: [1],
    types: floatTypes,
    summary: "places that a matrix maps, for sampling",
  },
  Attention: {
    since: 23,
    inputs: [3, 7],
    attributes: {
      is_causal: int(0),
      kv_num_heads: int(),
      left_window_size: int(-1),
      q_num_heads: int(),
      qk_matmul_output_mode: int(0),
      right_window_size: int(-1),
      scale: float(),
      softcap: float(0),
      softmax_precision: int(),
    },
    infer: attention,
    flops: attentionWork,
    types: floatTypes,
    inputTypes: { 3: [...floatTypes, "bool"], 6: indexTypes },
    exactness: "rounded",
    summary: "softmax(q k' scale + bias) v, with masks, caches and groups of heads",
  },
  CausalConvWithState: {
    since: 27,
    inputs: [2, 4],
    attributes: { activation: text("none") },
    infer: causalConvolution,
    exactness: "rounded",
  },
  CenterCropPad: {
    since: 18,
    inputs: [2, 2],
    attributes: { axes: ints },
    infer: centerCropPad,
    parameters: [1],
    exactness: "exact",
    summary: "each axis cut or padded around its middle",
  },
  Col2Im: {
    since: 18,
    inputs: [3, 3],
    attributes: { dilations: ints, pads: ints, strides: ints },
    parameters: [1, 2],
    types: floatTypes,
    infer: columnsToImage,
    summary: "blocks added up where their windows are",
  },
  DequantizeLinear: {
    since: 21,
    inputs: [2, 3],
    attributes: { axis: int(1), block_size: int(0), output_dtype: int(0) },
    infer: dequantize,
    types: quantizedTypes,
    inputTypes: { 1: floatTypes },
    summary: "(x - zero point) scale",
  },
  DynamicQuantizeLinear: {
    since: 11,
    inputs: [1, 1],
    infer: dynamicQuantize,
    types: ["float32"],
    summary: "8-bit integers, by the least and greatest value",
  },
  Einsum: {
    since: 12,
    inputs: [1, Number.POSITIVE_INFINITY],
    attributes: { equation: required(text()) },
    infer: (use) => one(dtypeOf(use, 0), einsumShape(use)),
    flops: einsumFlops,
    types: floatTypes,
    exactness: "rounded",
    summary: "sums of products, by an equation of axes",
  },
  FlexAttention: {
    domain: "ai.onnx.preview",
    since: 1,
    inputs: [3, 3],
    attributes: { prob_mod: { type: "graph" }, scale: float(), score_mod: { type: "graph" }, softmax_precision: int() },
    infer: attention,
    flops: attentionWork,
    exactness: "rounded",
  },
  GRU: {
    since: 22,
    inputs: [3, 6],
    attributes: { ...recurrentAttributes, linear_before_reset: int(0) },
    infer: recurrent,
    flops: recurrentFlops,
    types: floatTypes,
    inputTypes: { 4: ["int32"] },
    exactness: "rounded",
    summary: "gated recurrent unit, step by step",
  },
  LSTM: {
    since: 22,
    inputs: [3, 8],
    attributes: { ...recurrentAttributes, input_forget: int(0) },
    infer: recurrent,
    flops: recurrentFlops,
    types: floatTypes,
    inputTypes: { 4: ["int32"] },
    exactness: "rounded",
    summary: "long short-term memory, step by step",
  },
  LinearAttention: {
    since: 27,
    inputs: [3, 6],
    attributes: {
      chunk_size: int(64),
      kv_num_heads: required(int()),
      q_num_heads: required(int()),
      scale: float(0),
      update_rule: text("gated_delta"),
    },
    infer: linearAttention,
    exactness: "rounded",
  },
  QuantizeLinear: {
    since: 21,
    inputs: [2, 3],
    attributes: { axis: int(1), block_size: int(0), output_dtype: int(0), precision: int(0), saturate: int(1) },
    infer: quantize,
    types: floatTypes,
    inputTypes: { 2: quantizedTypes },
    summary: "x / scale + zero point, rounded to integers",
  },
  RNN: {
    since: 22,
    inputs: [3, 6],
    attributes: recurrentAttributes,
    infer: recurrent,
    flops: recurrentFlops,
    types: floatTypes,
    inputTypes: { 4: ["int32"] },
    exactness: "rounded",
    summary: "recurrent layer, step by step",
  },
  RotaryEmbedding: {
    since: 23,
    inputs: [3, 4],
    attributes: { interleaved: int(0), num_heads: int(), rotary_embedding_dim: int(0) },
    infer: rotaryEmbedding,
    types: floatTypes,
    inputTypes: { 3: indexTypes },
    summary: "pairs of elements turned by the angles of their place",
  },
  SwiGLU: { since: 28, inputs: [2, 2], attributes: { alpha: float(1) }, infer: as(0) },
});
