/** Vision transformer, ViT-B/16 (Dosovitskiy et al. 2020). 224 x 224, 1000 classes. */
import type { Graph } from "../src/graph/graph.js";
import type { NetworkOptions } from "./networks.js";
import { SequenceBuilder } from "./sequence.js";

const WIDTH = 768;
const EPSILON = 1e-6;

export function vitB16({ seed = 1, batch = "batch", layers = 12 }: NetworkOptions = {}): Graph {
  const builder = new SequenceBuilder("vit_b_16", seed, batch);
  const image = builder.input("input", "float32", [3, 224, 224]);
  const tokens = builder.prependToken("class_token", builder.patches("conv_proj", image, 16, WIDTH));
  let x = builder.addPositions("encoder.pos_embedding", tokens, 14 * 14 + 1, 0.5);
  for (let index = 0; index < layers; index++) {
    const layer = `encoder.layers.${index}`;
    x = builder.add(
      `${layer}.attention.add`,
      x,
      builder.attention(`${layer}.self_attention`, builder.layerNormalization(`${layer}.ln_1`, x, EPSILON), {
        heads: 12,
        projections: ["query", "key", "value"],
        output: "out_proj",
      }),
    );
    const normal = builder.layerNormalization(`${layer}.ln_2`, x, EPSILON);
    x = builder.add(`${layer}.mlp.add`, x, builder.feedForward([`${layer}.mlp.0`, `${layer}.mlp.3`], normal));
  }
  const first = builder.position("encoder.first", builder.layerNormalization("encoder.ln", x, EPSILON), 0);
  return builder.graph([image], [builder.classifier("heads.head", first, 1000)]);
}
