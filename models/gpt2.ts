/** A stack of the blocks of GPT-2's smallest size (Radford et al. 2019), from one hidden state of each token to another. */
import type { Graph } from "../src/graph/graph.js";
import type { NetworkOptions } from "./networks.js";
import { SequenceBuilder } from "./sequence.js";

const WIDTH = 768;
const EPSILON = 1e-5;

/** Input and output: [batch, sequence, 768]. */
export function gpt2Blocks({ seed = 1, batch = "batch", sequence = 128, layers = 4 }: NetworkOptions = {}): Graph {
  const builder = new SequenceBuilder("gpt2_blocks", seed, batch);
  const input = builder.input("inputs_embeds", "float32", [sequence, WIDTH]);
  let x = input;
  for (let index = 0; index < layers; index++) {
    const block = `h.${index}`;
    x = builder.add(
      `${block}.attn.add`,
      x,
      builder.attention(`${block}.attn`, builder.layerNormalization(`${block}.ln_1`, x, EPSILON), {
        heads: 12,
        projections: ["c_attn"],
        output: "c_proj",
        causal: true,
      }),
    );
    const normal = builder.layerNormalization(`${block}.ln_2`, x, EPSILON);
    x = builder.add(`${block}.mlp.add`, x, builder.feedForward([`${block}.mlp.c_fc`, `${block}.mlp.c_proj`], normal, "tanh"));
  }
  return builder.graph([input], [builder.layerNormalization("ln_f", x, EPSILON)]);
}
