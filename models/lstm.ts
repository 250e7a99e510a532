/** A tagger of words: two LSTMs in both directions (Huang et al. 2015) and the log-probabilities of the 17 universal parts of speech. */
import type { Graph } from "../src/graph/graph.js";
import type { NetworkOptions } from "./networks.js";
import { SequenceBuilder } from "./sequence.js";

const VOCABULARY = 10000;
const TAGS = 17;

/** Input: word numbers below 10000, [batch, sequence]. Output: [batch, sequence, 17]. */
export function lstmTagger({ seed = 1, batch = "batch", sequence = 32 }: NetworkOptions = {}): Graph {
  const builder = new SequenceBuilder("lstm_tagger", seed, batch);
  const words = builder.input("words", "int64", [sequence]);
  let x = builder.embedding("embedding", words, VOCABULARY, 128);
  x = builder.bidirectionalLstm("lstm.0", x, 128);
  x = builder.bidirectionalLstm("lstm.1", x, 128, 2 * SequenceBuilder.LSTM_GAIN);
  const scores = builder.linear("tags", x, TAGS, 2 * SequenceBuilder.LSTM_GAIN);
  return builder.graph([words], [builder.logSoftmax("log_probabilities", scores)]);
}
