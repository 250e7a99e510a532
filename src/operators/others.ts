/** Operators that only the CPU runs so far: their forms, and shape inference where it is cheap. Those without `infer` have unknown types. */
import { type Dim, intAttribute, intsAttribute, type TensorType } from "../graph/graph.js";
import type { DType } from "../graph/tensor.js";
import type { AttributeSpec, Exactness, OperatorRecord, OperatorUse } from "./record.js";
import {
  attributeFault,
  axisAttribute,
  constantInts,
  constantScalar,
  dtypeFromCode,
  dtypeOf,
  float,
  inputFault,
  int,
  ints,
  intsOf,
  OPEN,
  required,
  requireRank,
  type Shape,
  shapeOf,
  text,
} from "./shapes.js";

interface Form {
  /** ONNX's default domain if absent. */
  readonly domain?: string;
  readonly since: number;
  readonly inputs: readonly [number, number];
  readonly attributes?: Readonly<Record<string, AttributeSpec>>;
  /** As in the operator's record. */
  readonly parameters?: readonly number[];
  infer?(use: OperatorUse): TensorType[];
  /** `fp32` if absent. */
  readonly exactness?: Exactness;
  /** As in the operator's record: for those that are decomposed. */
  readonly types?: readonly DType[];
  readonly summary?: string;
}

const ANY = Number.POSITIVE_INFINITY;
const textsSpec: AttributeSpec = { type: "strings" };
const floatsSpec: AttributeSpec = { type: "floats" };
const graph = required({ type: "graph" });

const one = (dtype: DType, shape?: Shape): TensorType[] => [{ dtype, shape }];
/** The type of input `index`. */
const as = (index: number) => (use: OperatorUse) => one(dtypeOf(use, index), shapeOf(use, index));
const openOf = (rank: number): Dim[] => new Array<Dim>(rank).fill(OPEN);
const codeOf = (use: OperatorUse, name: string, fallback: number): DType =>
  dtypeFromCode(use, name, intAttribute(use.attributes, name, fallback));
/** `dtype` attribute, or by default input 0's type. */
const ownOr = (use: OperatorUse): TensorType[] => one(use.attributes.dtype ? codeOf(use, "dtype", 1) : dtypeOf(use, 0), shapeOf(use, 0));

function window(use: OperatorUse): TensorType[] {
  const size = constantScalar(use, 0);
  return one(codeOf(use, "output_datatype", 1), [size ?? OPEN]);
}

function random(use: OperatorUse): TensorType[] {
  return one(codeOf(use, "dtype", 1), intsAttribute(use.attributes, "shape"));
}

function gatherElements(use: OperatorUse): TensorType[] {
  const rank = shapeOf(use, 0)?.length;
  if (rank !== undefined) requireRank(use, 1, rank, rank);
  return one(dtypeOf(use, 0), shapeOf(use, 1));
}

function gatherND(use: OperatorUse): TensorType[] {
  const [data, indices] = [shapeOf(use, 0), shapeOf(use, 1)];
  const depth = indices?.[indices.length - 1];
  if (data === undefined || indices === undefined || typeof depth !== "number") return one(dtypeOf(use, 0));
  const batch = intAttribute(use.attributes, "batch_dims", 0);
  if (batch < 0 || batch + depth > data.length) throw inputFault(use, 1, `of a last extent of at most ${data.length - batch}`);
  return one(dtypeOf(use, 0), [...indices.slice(0, -1), ...data.slice(batch + depth)]);
}

function topK(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  if (input === undefined) return [{ dtype: dtypeOf(use, 0) }, { dtype: "int64" }];
  const axis = axisAttribute(use, -1, input.length);
  const count = constantInts(use, 1)?.[0] ?? OPEN;
  const shape = input.map((dim, index) => (index === axis ? count : dim));
  return [
    { dtype: dtypeOf(use, 0), shape },
    { dtype: "int64", shape },
  ];
}

function oneHot(use: OperatorUse): TensorType[] {
  const indices = shapeOf(use, 0);
  const depth = constantScalar(use, 1) ?? OPEN;
  if (indices === undefined) return one(dtypeOf(use, 2));
  const axis = axisAttribute(use, -1, indices.length + 1);
  return one(dtypeOf(use, 2), [...indices.slice(0, axis), depth, ...indices.slice(axis)]);
}

function region(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 4, 4);
  const [input, boxes] = [shapeOf(use, 0), shapeOf(use, 1)];
  const pooled =
    use.op === "RoiAlign"
      ? [intAttribute(use.attributes, "output_height", 1), intAttribute(use.attributes, "output_width", 1)]
      : intsOf(use, "pooled_shape", 2, 1, 1);
  return one(dtypeOf(use, 0), [boxes?.[0] ?? OPEN, input?.[1] ?? OPEN, ...pooled]);
}

function gridSample(use: OperatorUse): TensorType[] {
  const [input, grid] = [shapeOf(use, 0), shapeOf(use, 1)];
  if (input === undefined || grid === undefined) return one(dtypeOf(use, 0));
  requireRank(use, 1, input.length, input.length);
  return one(dtypeOf(use, 0), [...input.slice(0, 2), ...grid.slice(1, -1)]);
}

/** RNN, GRU, LSTM: outputs Y, Y_h and Y_c. */
function recurrent(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 3, 3);
  requireRank(use, 1, 3, 3);
  requireRank(use, 2, 3, 3);
  const dtype = dtypeOf(use, 0);
  const [steps, batch] = shapeOf(use, 0) ?? [OPEN, OPEN];
  const hidden = intAttribute(use.attributes, "hidden_size", 0) || (shapeOf(use, 2)?.[2] ?? OPEN);
  const direction = use.attributes.direction?.value ?? "forward";
  const count = direction === "bidirectional" ? 2 : 1;
  if (direction !== "forward" && direction !== "reverse" && count === 1) {
    throw attributeFault(use, "direction", direction, "use forward, reverse or bidirectional");
  }
  // With layout 1 the first input is [batch, steps, features].
  const batchFirst = intAttribute(use.attributes, "layout", 0) === 1;
  const last = { dtype, shape: batchFirst ? [steps, count, hidden] : [count, batch, hidden] };
  const all = { dtype, shape: batchFirst ? [steps, batch, count, hidden] : [steps, count, batch, hidden] };
  return [all, last, last].slice(0, Math.max(1, use.outputCount));
}

function quantize(use: OperatorUse): TensorType[] {
  const code = intAttribute(use.attributes, "output_dtype", 0);
  return one(use.inputs[2]?.dtype ?? (code ? dtypeFromCode(use, "output_dtype", code) : "uint8"), shapeOf(use, 0));
}

function affineGrid(use: OperatorUse): TensorType[] {
  const size = constantInts(use, 1);
  return one(dtypeOf(use, 0), size ? [size[0], ...size.slice(2), size.length - 2] : undefined);
}

function det(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 2);
  return one(dtypeOf(use, 0), shapeOf(use, 0)?.slice(0, -2));
}

function nonZero(use: OperatorUse): TensorType[] {
  const rank = shapeOf(use, 0)?.length;
  return one("int64", [rank === undefined ? OPEN : Math.max(rank, 1), OPEN]);
}

function loss(use: OperatorUse): TensorType[] {
  const full = use.attributes.reduction?.value === "none";
  const result = { dtype: dtypeOf(use, 0), shape: full ? shapeOf(use, 1) : [] };
  return use.outputCount > 1 ? [result, { dtype: dtypeOf(use, 0), shape: shapeOf(use, 0) }] : [result];
}

function compressShape(use: OperatorUse): TensorType[] {
  const input = shapeOf(use, 0);
  if (use.attributes.axis === undefined) return one(dtypeOf(use, 0), [OPEN]);
  const axis = input && axisAttribute(use, 0, input.length);
  return one(
    dtypeOf(use, 0),
    input?.map((dim, index) => (index === axis ? OPEN : dim)),
  );
}

function dynamicQuantize(use: OperatorUse): TensorType[] {
  return [
    { dtype: "uint8", shape: shapeOf(use, 0) },
    { dtype: "float32", shape: [] },
    { dtype: "uint8", shape: [] },
  ];
}

function attention(use: OperatorUse): TensorType[] {
  const [query, , value] = [0, 1, 2].map((index) => shapeOf(use, index));
  if (use.outputCount > 1 || query === undefined || value === undefined || query.length !== 4) return one(dtypeOf(use, 0));
  return one(dtypeOf(use, 0), [...query.slice(0, 3), value[value.length - 1]]);
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
  const axes =
    intsAttribute(use.attributes, "axes")?.map((axis) => (axis < 0 ? axis + input.length : axis)) ?? input.map((_, axis) => axis);
  return one(
    dtypeOf(use, 0),
    input.map((dim, axis) => (axes.includes(axis) ? (target?.[axes.indexOf(axis)] ?? OPEN) : dim)),
  );
}

const convolution = { auto_pad: text("NOTSET"), dilations: ints, group: int(1), kernel_shape: ints, pads: ints, strides: ints };
const recurrentAttributes = {
  activation_alpha: floatsSpec,
  activation_beta: floatsSpec,
  activations: textsSpec,
  clip: float(),
  direction: text("forward"),
  hidden_size: int(),
  layout: int(0),
};
const windowForm: Form = { since: 17, inputs: [1, 1], attributes: { output_datatype: int(1), periodic: int(1) }, infer: window };
const randomAttributes = { dtype: int(1), seed: float(), shape: required(ints) };
const likeAttributes = { dtype: int(), seed: float() };
const lossAttributes = { ignore_index: int(), reduction: text("mean") };

const table: Readonly<Record<string, Form>> = {
  AffineGrid: { since: 20, inputs: [2, 2], attributes: { align_corners: int(0) }, infer: affineGrid },
  Attention: {
    since: 23,
    inputs: [3, 7],
    attributes: {
      is_causal: int(0),
      kv_num_heads: int(),
      q_num_heads: int(),
      qk_matmul_output_mode: int(0),
      scale: float(),
      softcap: float(0),
      softmax_precision: int(),
    },
    infer: attention,
  },
  Bernoulli: { since: 22, inputs: [1, 1], attributes: likeAttributes, infer: ownOr },
  BlackmanWindow: windowForm,
  CausalConvWithState: {
    since: 27,
    inputs: [2, 4],
    attributes: { activation: text("none") },
    infer: causalConvolution,
    exactness: "rounded",
  },
  CenterCropPad: { since: 18, inputs: [2, 2], attributes: { axes: ints }, infer: centerCropPad },
  Col2Im: { since: 18, inputs: [3, 3], attributes: { dilations: ints, pads: ints, strides: ints } },
  Compress: { since: 11, inputs: [2, 2], attributes: { axis: int() }, infer: compressShape },
  ConcatFromSequence: { since: 11, inputs: [1, 1], attributes: { axis: required(int()), new_axis: int(0) } },
  CumSum: { since: 14, inputs: [2, 2], attributes: { exclusive: int(0), reverse: int(0) }, infer: as(0) },
  DFT: { since: 20, inputs: [1, 3], attributes: { inverse: int(0), onesided: int(0) } },
  DeformConv: { since: 22, inputs: [3, 5], attributes: { ...convolution, offset_group: int(1) } },
  DequantizeLinear: {
    since: 21,
    inputs: [2, 3],
    attributes: { axis: int(1), block_size: int(0) },
    infer: (use) => one(dtypeOf(use, 1), shapeOf(use, 0)),
  },
  Det: { since: 22, inputs: [1, 1], infer: det },
  DynamicQuantizeLinear: { since: 11, inputs: [1, 1], infer: dynamicQuantize },
  Einsum: { since: 12, inputs: [1, ANY], attributes: { equation: required(text()) }, infer: (use) => one(dtypeOf(use, 0)) },
  EyeLike: { since: 22, inputs: [1, 1], attributes: { dtype: int(), k: int(0) }, infer: ownOr },
  FlexAttention: {
    domain: "ai.onnx.preview",
    since: 1,
    inputs: [3, 3],
    attributes: { prob_mod: { type: "graph" }, scale: float(), score_mod: { type: "graph" }, softmax_precision: int() },
    infer: attention,
    exactness: "rounded",
  },
  GRU: { since: 22, inputs: [3, 6], attributes: { ...recurrentAttributes, linear_before_reset: int(0) }, infer: recurrent },
  GatherElements: { since: 13, inputs: [2, 2], attributes: { axis: int(0) }, infer: gatherElements },
  GatherND: { since: 13, inputs: [2, 2], attributes: { batch_dims: int(0) }, infer: gatherND },
  GridSample: {
    since: 22,
    inputs: [2, 2],
    attributes: { align_corners: int(0), mode: text("linear"), padding_mode: text("zeros") },
    infer: gridSample,
  },
  HammingWindow: windowForm,
  HannWindow: windowForm,
  If: { since: 21, inputs: [1, 1], attributes: { else_branch: graph, then_branch: graph } },
  ImageDecoder: { since: 20, inputs: [1, 1], attributes: { pixel_format: text("RGB") }, infer: () => one("uint8", openOf(3)) },
  LSTM: { since: 22, inputs: [3, 8], attributes: { ...recurrentAttributes, input_forget: int(0) }, infer: recurrent },
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
  Loop: { since: 21, inputs: [2, ANY], attributes: { body: graph } },
  MaxRoiPool: { since: 22, inputs: [2, 2], attributes: { pooled_shape: required(ints), spatial_scale: float(1) }, infer: region },
  MaxUnpool: { since: 22, inputs: [2, 3], attributes: { kernel_shape: required(ints), pads: ints, strides: ints } },
  MelWeightMatrix: { since: 17, inputs: [5, 5], attributes: { output_datatype: int(1) } },
  Multinomial: {
    since: 22,
    inputs: [1, 1],
    attributes: { dtype: int(6), sample_size: int(1), seed: float() },
    infer: (use) => one(codeOf(use, "dtype", 6), [shapeOf(use, 0)?.[0] ?? OPEN, intAttribute(use.attributes, "sample_size", 1)]),
  },
  NegativeLogLikelihoodLoss: { since: 22, inputs: [2, 3], attributes: lossAttributes, infer: loss },
  NonMaxSuppression: { since: 11, inputs: [2, 5], attributes: { center_point_box: int(0) }, infer: () => one("int64", [OPEN, 3]) },
  NonZero: { since: 13, inputs: [1, 1], infer: nonZero },
  OneHot: { since: 11, inputs: [3, 3], attributes: { axis: int(-1) }, infer: oneHot },
  Optional: { since: 15, inputs: [0, 1] },
  OptionalGetElement: { since: 18, inputs: [1, 1] },
  OptionalHasElement: { since: 18, inputs: [0, 1], infer: () => one("bool", []) },
  QuantizeLinear: {
    since: 21,
    inputs: [2, 3],
    attributes: { axis: int(1), block_size: int(0), output_dtype: int(0), saturate: int(1) },
    infer: quantize,
  },
  RNN: { since: 22, inputs: [3, 6], attributes: recurrentAttributes, infer: recurrent },
  RandomNormal: { since: 22, inputs: [0, 0], attributes: { ...randomAttributes, mean: float(0), scale: float(1) }, infer: random },
  RandomNormalLike: { since: 22, inputs: [1, 1], attributes: { ...likeAttributes, mean: float(0), scale: float(1) }, infer: ownOr },
  RandomUniform: { since: 22, inputs: [0, 0], attributes: { ...randomAttributes, high: float(1), low: float(0) }, infer: random },
  RandomUniformLike: { since: 22, inputs: [1, 1], attributes: { ...likeAttributes, high: float(1), low: float(0) }, infer: ownOr },
  RegexFullMatch: { since: 20, inputs: [1, 1], attributes: { pattern: text() }, infer: (use) => one("bool", shapeOf(use, 0)) },
  ReverseSequence: { since: 10, inputs: [2, 2], attributes: { batch_axis: int(1), time_axis: int(0) }, infer: as(0) },
  RoiAlign: {
    since: 22,
    inputs: [3, 3],
    attributes: {
      coordinate_transformation_mode: text("half_pixel"),
      mode: text("avg"),
      output_height: int(1),
      output_width: int(1),
      sampling_ratio: int(0),
      spatial_scale: float(1),
    },
    infer: region,
  },
  RotaryEmbedding: {
    since: 23,
    inputs: [3, 4],
    attributes: { interleaved: int(0), num_heads: int(), rotary_embedding_dim: int(0) },
    infer: as(0),
  },
  STFT: { since: 17, inputs: [2, 4], attributes: { onesided: int(1) } },
  Scan: {
    since: 21,
    inputs: [1, ANY],
    attributes: {
      body: graph,
      num_scan_inputs: required(int()),
      scan_input_axes: ints,
      scan_input_directions: ints,
      scan_output_axes: ints,
      scan_output_directions: ints,
    },
  },
  ScatterElements: { since: 18, inputs: [3, 3], attributes: { axis: int(0), reduction: text("none") }, infer: as(0) },
  ScatterND: { since: 18, inputs: [3, 3], attributes: { reduction: text("none") }, infer: as(0) },
  SequenceAt: { since: 11, inputs: [2, 2] },
  SequenceConstruct: { since: 11, inputs: [1, ANY] },
  SequenceEmpty: { since: 11, inputs: [0, 0], attributes: { dtype: int() } },
  SequenceErase: { since: 11, inputs: [1, 2] },
  SequenceInsert: { since: 11, inputs: [2, 3] },
  SequenceLength: { since: 11, inputs: [1, 1], infer: () => one("int64", []) },
  SequenceMap: { since: 17, inputs: [1, ANY], attributes: { body: graph } },
  SoftmaxCrossEntropyLoss: { since: 13, inputs: [2, 3], attributes: lossAttributes, infer: loss },
  SplitToSequence: { since: 11, inputs: [1, 2], attributes: { axis: int(0), keepdims: int(1) } },
  StringConcat: { since: 20, inputs: [2, 2] },
  StringNormalizer: {
    since: 10,
    inputs: [1, 1],
    attributes: { case_change_action: text("NONE"), is_case_sensitive: int(0), locale: text(), stopwords: textsSpec },
  },
  StringSplit: { since: 20, inputs: [1, 1], attributes: { delimiter: text(), maxsplit: int() } },
  SwiGLU: { since: 28, inputs: [2, 2], attributes: { alpha: float(1) }, infer: as(0) },
  TensorScatter: { since: 24, inputs: [2, 3], attributes: { axis: int(-2), mode: text("linear") }, infer: as(0) },
  TfIdfVectorizer: {
    since: 9,
    inputs: [1, 1],
    attributes: {
      max_gram_length: required(int()),
      max_skip_count: required(int()),
      min_gram_length: required(int()),
      mode: required(text()),
      ngram_counts: required(ints),
      ngram_indexes: required(ints),
      pool_int64s: ints,
      pool_strings: textsSpec,
      weights: floatsSpec,
    },
  },
  TopK: { since: 11, inputs: [2, 2], attributes: { axis: int(-1), largest: int(1), sorted: int(1) }, infer: topK },
  Trilu: {
    since: 14,
    inputs: [1, 2],
    parameters: [1],
    attributes: { upper: int(1) },
    infer: as(0),
    exactness: "exact",
    // Those of Where, which it is decomposed into.
    types: ["float32", "float16", "bfloat16", "int32", "int16", "uint16", "int8", "uint8", "bool"],
    summary: "the upper or lower triangle of the matrices, 0 beside it",
  },
  Unique: { since: 11, inputs: [1, 1], attributes: { axis: int(), sorted: int(1) } },
};

export const otherRecords: readonly OperatorRecord[] = Object.entries(table).map(([name, form]) => ({
  name,
  domain: form.domain ?? "",
  since: form.since,
  minInputs: form.inputs[0],
  maxInputs: form.inputs[1],
  attributes: form.attributes ?? {},
  ...(form.parameters ? { parameters: form.parameters } : {}),
  ...(form.types ? { types: form.types } : {}),
  summary: form.summary ?? "",
  infer: form.infer ?? (() => []),
  // Not counted: the share of work on NeuronCores is measured against what the engines could run.
  flops: () => 0,
  exactness: form.exactness ?? "fp32",
}));
