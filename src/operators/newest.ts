/** Operators newer than the pinned opset, which no runtime has yet, as their definitions' small operators. Shapes are static. */
import { floatAttribute, type Graph, intAttribute, stringAttribute } from "../graph/graph.js";
import { elementCount, isFloat } from "../graph/tensor.js";
import { repeatHeads } from "./attention.js";
import { type Builder, intsValue, intValue, MOST_STEPS, type Rule } from "./builder.js";
import { dtypeFromCode, reason, staticShape } from "./shapes.js";

/** a sigmoid(alpha a). */
function swish(builder: Builder, value: string, alpha: number): string {
  const scaled = alpha === 1 ? value : builder.op("Mul", [value, builder.scalar(alpha)]);
  return builder.op("Mul", [value, builder.op("Sigmoid", [scaled])]);
}

const swiglu: Rule = (builder, [gate, linear], use) =>
  builder.op("Mul", [swish(builder, gate, floatAttribute(use.attributes, "alpha", 1)), linear]);

/** A depthwise convolution over the state and the input, whose last columns are the next state. */
const causalConvolution: Rule = (builder, [input, weight, bias, past], use) => {
  const [batch, channels] = staticShape(use, 0);
  const kernel = staticShape(use, 1)[2];
  const state = past || builder.values([batch, channels, kernel - 1], new Array<number>(batch * channels * (kernel - 1)).fill(0));
  const whole = kernel > 1 ? builder.op("Concat", [state, input], { axis: intValue(2) }) : input;
  const length = builder.shape(whole)[2];
  const convolved = builder.op("Conv", bias ? [whole, weight, bias] : [whole, weight], { group: intValue(channels) });
  const output = stringAttribute(use.attributes, "activation", "none") === "none" ? convolved : swish(builder, convolved, 1);
  return use.outputCount > 1 ? [output, builder.slice(whole, 2, length - kernel + 1, length)] : output;
};

/** S = exp(g) S + b k (v - exp(g) S' k), step by step; the output is scale q' S. The rule leaves parts of it out. */
const linearAttention: Rule = (builder, [query, key, value, past, decay, beta], use) => {
  const [batch, steps, width] = staticShape(use, 0);
  const heads = intAttribute(use.attributes, "kv_num_heads", 1);
  const queryHeads = intAttribute(use.attributes, "q_num_heads", heads);
  const rule = stringAttribute(use.attributes, "update_rule", "gated_delta");
  if (steps > MOST_STEPS) return reason("size", "input 0", `${steps} steps`, `at most ${MOST_STEPS} steps`);
  if (queryHeads % heads !== 0) return reason("attribute", "q_num_heads", queryHeads, `a multiple of kv_num_heads ${heads}`);
  const keyExtent = staticShape(use, 1)[2] / heads;
  const valueExtent = staticShape(use, 2)[2] / heads;
  const scale = floatAttribute(use.attributes, "scale", 0) || 1 / Math.sqrt(width / queryHeads);
  /** One step of a packed tensor, as [batch, heads, ...rest]. */
  const at = (packed: string, step: number, shape: readonly number[]): string =>
    builder.reshape(steps === 1 ? packed : builder.slice(packed, 1, step, step + 1), [batch, ...shape]);
  const each = (packed: string): number => builder.shape(packed)[2];
  const gated = rule.startsWith("gated") && decay ? decay : undefined;
  const delta = rule.endsWith("delta") && beta ? beta : undefined;
  const states = batch * heads * keyExtent * valueExtent;
  let state = past || builder.values([batch, heads, keyExtent, valueExtent], new Array<number>(states).fill(0));
  const outputs = Array.from({ length: steps }, (_, step) => {
    if (gated) {
      const factor = builder.op("Exp", [at(gated, step, [heads, each(gated) / heads, 1])]);
      state = builder.op("Mul", [state, factor]);
    }
    const column = at(key, step, [heads, keyExtent, 1]);
    const row = at(value, step, [heads, 1, valueExtent]);
    const recalled = delta && builder.op("MatMul", [builder.reshape(column, [batch, heads, 1, keyExtent]), state]);
    const news = recalled ? builder.op("Sub", [row, recalled]) : row;
    const weighted = delta ? builder.op("Mul", [news, at(delta, step, [each(delta), 1, 1])]) : news;
    state = builder.op("Add", [state, builder.op("Mul", [column, weighted])]);
    const rows = at(query, step, [heads, queryHeads / heads, keyExtent]);
    return builder.reshape(builder.op("MatMul", [rows, state]), [batch, 1, queryHeads * valueExtent]);
  });
  const all = steps === 1 ? outputs[0] : builder.op("Concat", outputs, { axis: intValue(1) });
  const output = builder.op("Mul", [all, builder.scalar(scale)]);
  return [output, state];
};

/** softmax(q k' scale) v, with graphs that change the scores and the probabilities. */
const flexAttention: Rule = (builder, [query, key, value], use) => {
  const [, queryHeads, , extent] = staticShape(use, 0);
  const times = queryHeads / staticShape(use, 1)[1];
  if (!Number.isInteger(times)) return undefined;
  const scale = floatAttribute(use.attributes, "scale", 1 / Math.sqrt(extent));
  const [keys, values] = [key, value].map((item) => repeatHeads(builder, item, times));
  const turned = builder.op("Transpose", [keys], { perm: intsValue([0, 1, 3, 2]) });
  const product = builder.op("MatMul", [query, turned]);
  const scores = builder.op("Mul", [product, builder.scalar(scale)]);
  const own = builder.dtype;
  const code = intAttribute(use.attributes, "softmax_precision", own === "float64" ? 11 : 1);
  const precision = dtypeFromCode(use, "softmax_precision", code);
  if (!isFloat(precision)) return undefined;
  const modified = (item: string, name: string): string | undefined => {
    const body = use.attributes[name];
    return body?.type === "graph" ? inline(builder, body.value, item) : item;
  };
  const wide = own === precision ? scores : builder.op("Cast", [scores], { to: intValue(code) });
  const changed = modified(wide, "score_mod");
  if (changed === undefined) return undefined;
  const probabilities = modified(builder.op("Softmax", [changed], { axis: intValue(-1) }), "prob_mod");
  if (probabilities === undefined) return undefined;
  const narrow = own === precision ? probabilities : builder.op("CastLike", [probabilities, query]);
  return builder.op("MatMul", [narrow, values]);
};

/** A body of one input and one output in the builder's graph; undefined where a node of it has not exactly one output. */
function inline(builder: Builder, body: Graph, input: string): string | undefined {
  const names = new Map([[body.inputs[0], input]]);
  for (const [name, tensor] of body.constants) names.set(name, builder.constant(tensor));
  for (const node of body.nodes) {
    if (node.outputs.length !== 1 || node.domain !== "") return undefined;
    const inputs = node.inputs.map((name) => names.get(name) ?? name);
    const shape = node.op === "Shape" ? builder.shape(inputs[0]) : undefined;
    names.set(node.outputs[0], shape ? builder.integers(shape) : builder.op(node.op, inputs, node.attributes));
  }
  const result = names.get(body.outputs[0]);
  return result !== undefined && elementCount(builder.shape(result)) > 0 ? result : undefined;
}

export const newestRules: Readonly<Record<string, Rule>> = {
  CausalConvWithState: causalConvolution,
  FlexAttention: flexAttention,
  LinearAttention: linearAttention,
  SwiGLU: swiglu,
};
