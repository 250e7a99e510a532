/** Attention and what belongs to it, in small operators. */
import { floatAttribute, intAttribute } from "../graph/graph.js";
import { isFloat } from "../graph/tensor.js";
import { type Builder, intsValue, intValue, type Rule, range } from "./builder.js";
import { selectRows } from "./indices.js";
import type { OperatorUse } from "./record.js";
import { dtypeFromCode, reason, staticShape } from "./shapes.js";

/** Each query head's own copy of the key and value heads' tensor [batch, heads, rows, columns]. */
export function repeatHeads(builder: Builder, value: string, times: number): string {
  if (times === 1) return value;
  const [batch, heads, rows, columns] = builder.shape(value);
  const copies = builder.expand(builder.unsqueeze(value, 2), [batch, heads, times, rows, columns]);
  return builder.reshape(copies, [batch, heads * times, rows, columns]);
}

/** [batch, steps, heads x extent] as [batch, heads, steps, extent]; of rank 4 as it is. */
function split(builder: Builder, value: string, heads: number): string {
  const [batch, steps, width] = builder.shape(value);
  if (builder.shape(value).length === 4) return value;
  return builder.transpose(builder.reshape(value, [batch, steps, heads, width / heads]), [0, 2, 1, 3]);
}

/** The softmax's additive term: 0 where a query may see a key, -Infinity where not; undefined if it sees all. */
interface Bias {
  readonly value?: string;
  /** A row may see nothing. */
  readonly maskedRows: boolean;
}

/** The mask of the inputs: additive, [..., queries, keys], what it lacks of keys hidden. */
function givenMask(builder: Builder, mask: string, keys: number): string {
  const shape = builder.shape(mask);
  const missing = keys - shape[shape.length - 1];
  const hidden = builder.scalar(Number.NEGATIVE_INFINITY);
  const additive =
    builder.dtypeOf(mask) === "bool" ? builder.op("Where", [mask, builder.scalar(0), hidden]) : builder.cast(mask, builder.dtype);
  if (missing <= 0) return additive;
  return builder.op("Pad", [additive, builder.integers([...shape.map(() => 0), ...shape.map(() => 0).with(-1, missing)]), hidden]);
}

/** Limits of key place - query place, from is_causal and the window attributes. */
function reach(use: OperatorUse): { before: number; after: number } {
  const [left, right] = ["left_window_size", "right_window_size"].map((name) => intAttribute(use.attributes, name, -1));
  const after = right < 0 ? Number.POSITIVE_INFINITY : right;
  return {
    before: left < 0 ? Number.POSITIVE_INFINITY : left,
    after: intAttribute(use.attributes, "is_causal", 0) !== 0 ? Math.min(0, after) : after,
  };
}

function biasOf(builder: Builder, use: OperatorUse, mask: string, lengths: string, past: number, queries: number, keys: number): Bias {
  const { before, after } = reach(use);
  const terms = mask ? [givenMask(builder, mask, keys)] : [];
  const visible = (condition: string): string =>
    builder.op("Where", [condition, builder.scalar(0), builder.scalar(Number.NEGATIVE_INFINITY)]);
  const far = before < Number.POSITIVE_INFINITY || after < Number.POSITIVE_INFINITY;
  if (far && !lengths) {
    const distance = range(0, queries * keys).map((place) => (place % keys) - Math.floor(place / keys) - past);
    const values = distance.map((from) => (from <= after && -from <= before ? 0 : Number.NEGATIVE_INFINITY));
    terms.push(builder.values([queries, keys], values));
  }
  if (lengths) {
    const count = builder.shape(lengths)[0];
    const filled = builder.reshape(builder.cast(lengths, "int32"), [count, 1, 1, 1]);
    const key = builder.iota(keys, 3, 4);
    terms.push(visible(builder.op("Less", [key, filled])));
    const first = builder.op("Sub", [filled, builder.typed("int32", queries)]);
    const distance = builder.op("Sub", [builder.op("Sub", [key, builder.iota(queries, 2, 4)]), first]);
    if (after < Number.POSITIVE_INFINITY) terms.push(visible(builder.op("LessOrEqual", [distance, builder.typed("int32", after)])));
    if (before < Number.POSITIVE_INFINITY) terms.push(visible(builder.op("GreaterOrEqual", [distance, builder.typed("int32", -before)])));
  }
  const maskedRows = mask !== "" || lengths !== "" || past < 0 || before < Number.POSITIVE_INFINITY;
  return terms.length === 0 ? { maskedRows: false } : { value: terms.reduce((sum, term) => builder.op("Add", [sum, term])), maskedRows };
}

/** softmax(cap(q k' scale) + bias) v. Outputs: that, the keys and values with the past ones, and a stage of the scores. */
const attention: Rule = (builder, inputs, use) => {
  const [query, key, value, mask = "", pastKey = "", pastValue = "", lengths = ""] = inputs;
  const packed = staticShape(use, 0).length === 3;
  const heads = intAttribute(use.attributes, "q_num_heads", staticShape(use, 0)[1]);
  const keyHeads = intAttribute(use.attributes, "kv_num_heads", staticShape(use, 1)[1]);
  if (heads % keyHeads !== 0) return reason("attribute", "q_num_heads", heads, `a multiple of kv_num_heads ${keyHeads}`);
  const q = split(builder, query, heads);
  const [own, ownValue] = [split(builder, key, keyHeads), split(builder, value, keyHeads)];
  const keys = pastKey ? builder.concat([pastKey, own], 2) : own;
  const values = pastValue ? builder.concat([pastValue, ownValue], 2) : ownValue;
  const past = pastKey ? builder.shape(pastKey)[2] : 0;
  const [, , queries, extent] = builder.shape(q);
  const times = heads / keyHeads;
  const turned = builder.transpose(repeatHeads(builder, keys, times), [0, 1, 3, 2]);
  const scale = builder.scalar(floatAttribute(use.attributes, "scale", 1 / Math.sqrt(extent)));
  const raw = builder.op("Mul", [builder.op("MatMul", [q, turned]), scale]);
  const cap = floatAttribute(use.attributes, "softcap", 0);
  const capped =
    cap > 0 ? builder.op("Mul", [builder.op("Tanh", [builder.op("Mul", [raw, builder.scalar(1 / cap)])]), builder.scalar(cap)]) : raw;
  const bias = biasOf(builder, use, mask, lengths, past, queries, builder.shape(keys)[2]);
  const scores = bias.value === undefined ? capped : builder.op("Add", [capped, bias.value]);
  const precision = dtypeFromCode(use, "softmax_precision", intAttribute(use.attributes, "softmax_precision", 1));
  // The engines have no wider type than FP32.
  const type = use.attributes.softmax_precision && isFloat(precision) ? (precision === "float64" ? "float32" : precision) : builder.dtype;
  const softmax = builder.op("Softmax", [builder.cast(scores, type)], { axis: intValue(-1) });
  const probabilities = builder.cast(withoutMaskedRows(builder, softmax, bias), builder.dtype);
  const product = builder.op("MatMul", [probabilities, repeatHeads(builder, values, times)]);
  const [batch, , , width] = builder.shape(product);
  const output = packed ? builder.reshape(builder.transpose(product, [0, 2, 1, 3]), [batch, queries, heads * width]) : product;
  const stages = [raw, capped, scores, probabilities];
  return [output, keys, values, stages[intAttribute(use.attributes, "qk_matmul_output_mode", 0)] ?? raw];
};

/** A query that may see no key has probability 0 of all of them. */
function withoutMaskedRows(builder: Builder, probabilities: string, { value, maskedRows }: Bias): string {
  if (value === undefined || !maskedRows) return probabilities;
  const most = builder.reduce("ReduceMax", value, [builder.shape(value).length - 1]);
  const masked = builder.op("Equal", [most, builder.scalar(Number.NEGATIVE_INFINITY)]);
  return builder.op("Where", [masked, builder.typed(builder.dtypeOf(probabilities), 0), probabilities]);
}

/** Pairs of elements turned by the angles of their place: (a, b) to (a cos - b sin, a sin + b cos). */
const rotaryEmbedding: Rule = (builder, [input, cosines, sines, positions], use) => {
  const shape = staticShape(use, 0);
  const heads = shape.length === 4 ? shape[1] : intAttribute(use.attributes, "num_heads", 0);
  if (heads < 1) return reason("attribute", "num_heads", heads, "1 or more for an input of rank 3");
  const x = split(builder, input, heads);
  const extent = builder.shape(x)[3];
  const turned = intAttribute(use.attributes, "rotary_embedding_dim", 0) || extent;
  const half = turned / 2;
  const angles: string[] = [];
  for (const cache of [cosines, sines]) {
    const rows = positions ? selectRows(builder, cache, positions) : cache;
    if (typeof rows !== "string") return rows;
    angles.push(builder.unsqueeze(rows, 1));
  }
  const [cosine, sine] = angles;
  const interleaved = intAttribute(use.attributes, "interleaved", 0) !== 0;
  const part = builder.slice(x, 3, 0, turned);
  const pick = (from: number): string => {
    if (!interleaved) return builder.slice(part, 3, from * half, (from + 1) * half);
    const [starts, ends, axes, steps] = [from, turned, 3, 2].map((value) => builder.integers([value]));
    return builder.op("Slice", [part, starts, ends, axes, steps]);
  };
  const [a, b] = [pick(0), pick(1)];
  const times = (left: string, right: string): string => builder.op("Mul", [left, right]);
  const pair = [builder.op("Sub", [times(a, cosine), times(b, sine)]), builder.op("Add", [times(a, sine), times(b, cosine)])];
  const rotated = interleaved
    ? builder.reshape(
        builder.concat(
          pair.map((value) => builder.unsqueeze(value, 4)),
          4,
        ),
        builder.shape(part),
      )
    : builder.concat(pair, 3);
  const whole = turned === extent ? rotated : builder.concat([rotated, builder.slice(x, 3, turned, extent)], 3);
  return shape.length === 4 ? whole : builder.reshape(builder.op("Transpose", [whole], { perm: intsValue([0, 2, 1, 3]) }), shape);
};

export const attentionRules: Readonly<Record<string, Rule>> = { Attention: attention, RotaryEmbedding: rotaryEmbedding };
