/** Encoders of text: BERT (Devlin et al. 2018), MiniLM (Wang et al. 2020) and DistilBERT (Sanh et al. 2019), named as their checkpoints' parts are. */
import type { Graph } from "../src/graph/graph.js";
import type { NetworkOptions } from "./networks.js";
import { SequenceBuilder, type Value } from "./sequence.js";

const VOCABULARY = 30522;
/** Positions that checkpoints have values for. */
const POSITIONS = 512;
const EPSILON = 1e-12;

/** Parts of one layer, below its own name. */
interface LayerNames {
  readonly projections: readonly [string, string, string];
  readonly attentionOutput: string;
  readonly attentionNorm: string;
  readonly feedForward: readonly [string, string];
  readonly outputNorm: string;
}

const bertNames: LayerNames = {
  projections: ["self.query", "self.key", "self.value"],
  attentionOutput: "output.dense",
  attentionNorm: "attention.output.LayerNorm",
  feedForward: ["intermediate.dense", "output.dense"],
  outputNorm: "output.LayerNorm",
};

const distilbertNames: LayerNames = {
  projections: ["q_lin", "k_lin", "v_lin"],
  attentionOutput: "out_lin",
  attentionNorm: "sa_layer_norm",
  feedForward: ["ffn.lin1", "ffn.lin2"],
  outputNorm: "output_layer_norm",
};

const sizes = {
  bert_base: { layers: 12, width: 768, heads: 12 },
  bert_large: { layers: 24, width: 1024, heads: 16 },
  /** all-MiniLM-L6. */
  minilm: { layers: 6, width: 384, heads: 12 },
} as const;

/** Inputs: token numbers below 30522, attention mask and segment numbers (0 or 1), [batch, sequence] each. Outputs: last layer, pooled first position. */
export function bert(name: keyof typeof sizes, options: NetworkOptions = {}): Graph {
  const { seed = 1, batch = "batch", sequence = 128, layers = sizes[name].layers } = options;
  const { width, heads } = sizes[name];
  const builder = new SequenceBuilder(name, seed, batch);
  const [tokens, attended, segments] = ["input_ids", "attention_mask", "token_type_ids"].map((input) =>
    builder.input(input, "int64", [sequence]),
  );
  const segment = builder.embedding("embeddings.token_type_embeddings", segments, 2, width, 0.5);
  let x = builder.embedding("embeddings.word_embeddings", tokens, VOCABULARY, width);
  x = withPositions(builder, builder.add("embeddings.add", x, segment));
  const mask = builder.paddingMask("mask", attended);
  for (let layer = 0; layer < layers; layer++) x = encoderLayer(builder, `encoder.layer.${layer}`, x, heads, mask, bertNames);
  const pooled = builder.linear("pooler.dense", builder.position("pooler.first", x, 0), width);
  return builder.graph([tokens, attended, segments], [x, builder.tanh("pooler.activation", pooled)]);
}

/** Inputs: token numbers below 30522 and attention mask, [batch, sequence] each. Output: last layer. */
export function distilbert({ seed = 1, batch = "batch", sequence = 128, layers = 6 }: NetworkOptions = {}): Graph {
  const builder = new SequenceBuilder("distilbert", seed, batch);
  const [tokens, attended] = ["input_ids", "attention_mask"].map((input) => builder.input(input, "int64", [sequence]));
  let x = withPositions(builder, builder.embedding("embeddings.word_embeddings", tokens, VOCABULARY, 768));
  const mask = builder.paddingMask("mask", attended);
  for (let layer = 0; layer < layers; layer++) x = encoderLayer(builder, `transformer.layer.${layer}`, x, 12, mask, distilbertNames);
  return builder.graph([tokens, attended], [x]);
}

function withPositions(builder: SequenceBuilder, x: Value): Value {
  const placed = builder.addPositions("embeddings.position_embeddings", x, POSITIONS, 0.5);
  return builder.layerNormalization("embeddings.LayerNorm", placed, EPSILON);
}

function encoderLayer(builder: SequenceBuilder, name: string, x: Value, heads: number, mask: Value, names: LayerNames): Value {
  const { projections, attentionOutput, attentionNorm, feedForward, outputNorm } = names;
  const attention = builder.attention(`${name}.attention`, x, { heads, projections, output: attentionOutput, mask });
  const attended = builder.add(`${name}.attention.add`, attention, x);
  const middle = builder.layerNormalization(`${name}.${attentionNorm}`, attended, EPSILON);
  const [up, down] = feedForward;
  const forward = builder.feedForward([`${name}.${up}`, `${name}.${down}`], middle);
  return builder.layerNormalization(`${name}.${outputNorm}`, builder.add(`${name}.add`, forward, middle), EPSILON);
}
