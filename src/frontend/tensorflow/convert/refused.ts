/** Why some of TensorFlow's operators can have no conversion, where more can be said than that. */

const reasons: readonly (readonly [RegExp, string])[] = [
  [/^(Py|EagerPy)/, "it runs Python code"],
  [
    /^(String|AsString|Regex|StaticRegex|Substr|Unicode|Decode|Encode|Parse|Example|Base64|ReduceJoin|Sdca|Image|ReadFile|WriteFile|Tokeniz|Sentencepiece|WordPiece)|String|Regex|Hash(Table|Fast|Strong)|NGrams/,
    "it works on strings or files, which have no place on a NeuronCore",
  ],
  [/^(LookupTable|MutableHash|InitializeTable|AnonymousHash)/, "it looks up a table, which a compiled model can't hold"],
  [
    /^(Assign|Variable|VarHandle|Resource|Scatter(Add|Sub|Update|Nd(Add|Sub|Update))$|CountUpTo|Queue|FIFO|RandomShuffleQueue|PaddingFIFO|Stack|Barrier|Iterator|Anonymous|Tensor(Array|List)|Apply)/,
    "it keeps state between requests or steps, which a compiled model has not",
  ],
  [/Dataset|Generator/, "it reads a data set"],
  [/^(Stateless|Random|Multinomial|TruncatedNormal|ParameterizedTruncated)/, "its numbers are those of TensorFlow's own generator"],
  [/^(Sparse|Ragged|DeserializeSparse|SerializeSparse)/, "it works on sparse or ragged tensors"],
  [/FFT/, "it works on complex numbers"],
  [/^Quant|^Dequant|Requant/, "it works on TensorFlow's quantised types"],
];

/** The reason for an operator by its name; undefined for one that just has no conversion. */
export function refusedBecause(op: string): string | undefined {
  return reasons.find(([pattern]) => pattern.test(op))?.[1];
}
