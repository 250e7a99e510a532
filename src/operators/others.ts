/** Operators that only the CPU runs, or that are constant: their forms, and shape inference where it is cheap. */
import { intAttribute, intsAttribute, type TensorType } from "../graph/graph.js";
import { codeOf, type Form, formRecords, one, openOf, ownOr } from "./form.js";
import type { AttributeSpec, OperatorUse } from "./record.js";
import { axisAttribute, constantScalar, dtypeOf, float, int, ints, intsOf, OPEN, required, requireRank, shapeOf, text } from "./shapes.js";
import { deformedFlops, determinantFlops, dftFlops, gridSampleFlops, roiAlignFlops, stftFlops } from "./work.js";

const ANY = Number.POSITIVE_INFINITY;
const textsSpec: AttributeSpec = { type: "strings" };
const floatsSpec: AttributeSpec = { type: "floats" };
const graph = required({ type: "graph" });

function window(use: OperatorUse): TensorType[] {
  const size = constantScalar(use, 0);
  return one(codeOf(use, "output_datatype", 1), [size ?? OPEN]);
}

function random(use: OperatorUse): TensorType[] {
  return one(codeOf(use, "dtype", 1), intsAttribute(use.attributes, "shape"));
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

function det(use: OperatorUse): TensorType[] {
  requireRank(use, 0, 2);
  return one(dtypeOf(use, 0), shapeOf(use, 0)?.slice(0, -2));
}

function nonZero(use: OperatorUse): TensorType[] {
  const rank = shapeOf(use, 0)?.length;
  return one("int64", [rank === undefined ? OPEN : Math.max(rank, 1), OPEN]);
}

/** Outputs: the distinct elements (or slices along an axis), and three lists of places or counts. */
function unique(use: OperatorUse): TensorType[] {
  const shape = shapeOf(use, 0);
  const axis = use.attributes.axis === undefined || shape === undefined ? undefined : axisAttribute(use, 0, shape.length);
  const values = axis === undefined ? [OPEN] : shape?.map((extent, index) => (index === axis ? OPEN : extent));
  const list = { dtype: "int64" as const, shape: [OPEN] };
  return [{ dtype: dtypeOf(use, 0), shape: values }, list, list, list].slice(0, Math.max(1, use.outputCount));
}

const convolution = { auto_pad: text("NOTSET"), dilations: ints, group: int(1), kernel_shape: ints, pads: ints, strides: ints };
const windowForm: Form = {
  since: 17,
  inputs: [1, 1],
  parameters: [0],
  isConstant: true,
  attributes: { output_datatype: int(1), periodic: int(1) },
  infer: window,
  summary: "a window of a constant length",
};
const randomAttributes = { dtype: int(1), seed: float(), shape: required(ints) };
const likeAttributes = { dtype: int(), seed: float() };

export const otherRecords = formRecords({
  Bernoulli: { since: 22, inputs: [1, 1], attributes: likeAttributes, infer: ownOr },
  BlackmanWindow: windowForm,
  ConcatFromSequence: { since: 11, inputs: [1, 1], attributes: { axis: required(int()), new_axis: int(0) } },
  DFT: { since: 20, inputs: [1, 3], attributes: { inverse: int(0), onesided: int(0) }, flops: dftFlops },
  DeformConv: { since: 22, inputs: [3, 5], attributes: { ...convolution, offset_group: int(1) }, flops: deformedFlops },
  Det: { since: 22, inputs: [1, 1], infer: det, flops: determinantFlops },
  GridSample: {
    since: 22,
    inputs: [2, 2],
    attributes: { align_corners: int(0), mode: text("linear"), padding_mode: text("zeros") },
    infer: gridSample,
    flops: gridSampleFlops,
  },
  HammingWindow: windowForm,
  HannWindow: windowForm,
  If: { since: 21, inputs: [1, 1], attributes: { else_branch: graph, then_branch: graph } },
  ImageDecoder: { since: 20, inputs: [1, 1], attributes: { pixel_format: text("RGB") }, infer: () => one("uint8", openOf(3)) },
  Loop: { since: 21, inputs: [2, ANY], attributes: { body: graph } },
  MaxRoiPool: { since: 22, inputs: [2, 2], attributes: { pooled_shape: required(ints), spatial_scale: float(1) }, infer: region },
  MaxUnpool: { since: 22, inputs: [2, 3], attributes: { kernel_shape: required(ints), pads: ints, strides: ints } },
  MelWeightMatrix: { since: 17, inputs: [5, 5], attributes: { output_datatype: int(1) }, parameters: [0, 1, 2, 3, 4], isConstant: true },
  Multinomial: {
    since: 22,
    inputs: [1, 1],
    attributes: { dtype: int(6), sample_size: int(1), seed: float() },
    infer: (use) => one(codeOf(use, "dtype", 6), [shapeOf(use, 0)?.[0] ?? OPEN, intAttribute(use.attributes, "sample_size", 1)]),
  },
  NonMaxSuppression: { since: 11, inputs: [2, 5], attributes: { center_point_box: int(0) }, infer: () => one("int64", [OPEN, 3]) },
  NonZero: { since: 13, inputs: [1, 1], infer: nonZero },
  Optional: { since: 15, inputs: [0, 1] },
  OptionalGetElement: { since: 18, inputs: [1, 1] },
  OptionalHasElement: { since: 18, inputs: [0, 1], infer: () => one("bool", []) },
  RandomNormal: { since: 22, inputs: [0, 0], attributes: { ...randomAttributes, mean: float(0), scale: float(1) }, infer: random },
  RandomNormalLike: { since: 22, inputs: [1, 1], attributes: { ...likeAttributes, mean: float(0), scale: float(1) }, infer: ownOr },
  RandomUniform: { since: 22, inputs: [0, 0], attributes: { ...randomAttributes, high: float(1), low: float(0) }, infer: random },
  RandomUniformLike: { since: 22, inputs: [1, 1], attributes: { ...likeAttributes, high: float(1), low: float(0) }, infer: ownOr },
  RegexFullMatch: { since: 20, inputs: [1, 1], attributes: { pattern: text() }, infer: (use) => one("bool", shapeOf(use, 0)) },
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
    flops: roiAlignFlops,
  },
  STFT: { since: 17, inputs: [2, 4], attributes: { onesided: int(1) }, flops: stftFlops },
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
  SequenceAt: { since: 11, inputs: [2, 2] },
  SequenceConstruct: { since: 11, inputs: [1, ANY] },
  SequenceEmpty: { since: 11, inputs: [0, 0], attributes: { dtype: int() } },
  SequenceErase: { since: 11, inputs: [1, 2] },
  SequenceInsert: { since: 11, inputs: [2, 3] },
  SequenceLength: { since: 11, inputs: [1, 1], infer: () => one("int64", []) },
  SequenceMap: { since: 17, inputs: [1, ANY], attributes: { body: graph } },
  SplitToSequence: { since: 11, inputs: [1, 2], attributes: { axis: int(0), keepdims: int(1) } },
  StringConcat: { since: 20, inputs: [2, 2] },
  StringNormalizer: {
    since: 10,
    inputs: [1, 1],
    attributes: { case_change_action: text("NONE"), is_case_sensitive: int(0), locale: text(), stopwords: textsSpec },
  },
  StringSplit: { since: 20, inputs: [1, 1], attributes: { delimiter: text(), maxsplit: int() } },
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
  Unique: { since: 11, inputs: [1, 1], attributes: { axis: int(), sorted: int(1) }, infer: unique },
});
