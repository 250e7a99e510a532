/** Which operators of ONNX the conversions of some TensorFlow operators can't do without, where it is not a matter of course that a NeuronCore has them. */

const users: Readonly<Record<string, string>> = {
  ArgMax: "ArgMax",
  ArgMin: "ArgMin",
  Compress: "DynamicPartition",
  CumSum: "Cumsum",
  Det: "MatrixDeterminant",
  Einsum: "Einsum",
  GatherElements: "SparseSoftmaxCrossEntropyWithLogits",
  GatherND: "GatherNd",
  GridSample: "CropAndResize",
  If: "If StatelessIf",
  Loop: "While StatelessWhile",
  NonMaxSuppression:
    "CombinedNonMaxSuppression NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5",
  NonZero: "Where",
  RandomNormalLike: "RandomStandardNormal",
  RandomUniformLike: "RandomUniform",
  ReverseSequence: "ReverseSequence",
  ScatterND: `ScatterNd TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum`,
  TopK: "InTopK InTopKV2 NthElement TopK TopKV2",
  Unique: "Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2",
};

const needs = new Map(Object.entries(users).flatMap(([needed, names]) => names.split(/\s+/).map((name) => [name, needed] as const)));

/** The ONNX operator without which a NeuronCore can't run this one, where that is in question. */
export function neededOperator(op: string): string | undefined {
  return needs.get(op);
}
