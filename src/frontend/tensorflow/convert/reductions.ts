/** Reductions, and what is made of them: losses, running sums, choices of the largest. */
import { type Conversion, int, type Rule, type Rules, range } from "./rule.js";

const reduction =
  (op: string): Rule =>
  (node) => [
    node.emit(op, [node.inputs[0], node.int64(1, true)], { keepdims: int(node.bool("keep_dims") ? 1 : 0), noop_with_empty_axes: int(1) }),
  ];

/** All and Any: the least and the greatest of 0 and 1. */
const logicalReduction =
  (op: string): Rule =>
  (node) => {
    const attributes = { keepdims: int(node.bool("keep_dims") ? 1 : 0), noop_with_empty_axes: int(1) };
    return [node.cast(node.emit(op, [node.cast(node.inputs[0], "int32"), node.int64(1, true)], attributes), "bool")];
  };

const argument =
  (op: string): Rule =>
  (node) => {
    const axis = node.inputs.length > 1 ? node.number(1) : 0;
    const found = node.emit(op, [node.inputs[0]], { axis: int(axis), keepdims: int(0) });
    return [node.cast(found, node.dtype("output_type", "int64"))];
  };

/** The k largest of the last axis, largest first; of equals the first. Since TopKV2, k is an input. */
const largest =
  (countOf: (node: Conversion) => string): Rule =>
  (node) => {
    const [values, indices] = node.emitAll("TopK", [node.inputs[0], countOf(node)], { axis: int(-1), largest: int(1), sorted: int(1) }, 2);
    return [values, node.cast(indices, node.dtype("index_type", "int32"))];
  };

/** Whether fewer than k classes are above the target. */
const isInTop =
  (countOf: (node: Conversion) => string): Rule =>
  (node) => {
    const [predictions, targets] = node.inputs;
    const wanted = node.emit("GatherElements", [predictions, node.unsqueeze(node.cast(targets, "int64"), [1])], { axis: int(1) });
    const above = node.cast(node.emit("Greater", [predictions, wanted]), "int32");
    return [node.emit("Less", [node.reduce("ReduceSum", above, [1], false), node.cast(countOf(node), "int32")])];
  };

/** The n-th smallest (largest with `reverse`) of the last axis. */
const nth: Rule = (node) => {
  const n = node.number(1);
  const attributes = { axis: int(-1), largest: int(node.bool("reverse") ? 1 : 0), sorted: int(1) };
  const [values] = node.emitAll("TopK", [node.inputs[0], node.integers([n + 1])], attributes, 2);
  return [node.squeeze(node.slice(values, -1, n, n + 1), [-1])];
};

/** Outputs: the loss of each row, and its gradient to the features. */
const crossEntropy: Rule = (node) => {
  const [features, labels] = node.inputs;
  const products = node.emit("Mul", [labels, node.emit("LogSoftmax", [features])]);
  const loss = node.emit("Neg", [node.reduce("ReduceSum", products, [1], false)]);
  return [loss, node.emit("Sub", [node.emit("Softmax", [features]), labels])];
};

const sparseCrossEntropy: Rule = (node) => {
  const [features, labels] = node.inputs;
  const column = node.unsqueeze(node.cast(labels, "int64"), [1]);
  const picked = node.emit("GatherElements", [node.emit("LogSoftmax", [features]), column], { axis: int(1) });
  const classes = node.asInt64(node.shapeOf([node.extent(features, -1)]));
  const steps = node.emit("Range", [node.scalar(0, "int64"), node.squeeze(classes, [0]), node.scalar(1, "int64")]);
  const hot = node.cast(node.emit("Equal", [column, steps]), node.dtypeOf(features));
  return [node.emit("Neg", [node.squeeze(picked, [1])]), node.emit("Sub", [node.emit("Softmax", [features]), hot])];
};

const halfSquares: Rule = (node) => {
  const [value] = node.inputs;
  const squares = node.emit("Mul", [value, value]);
  const sum = node.emit("ReduceSum", [squares], { keepdims: int(0) });
  return [node.emit("Mul", [sum, node.scalar(0.5)])];
};

const runningSum: Rule = (node) => {
  const attributes = { exclusive: int(node.bool("exclusive") ? 1 : 0), reverse: int(node.bool("reverse") ? 1 : 0) };
  return [node.emit("CumSum", [node.inputs[0], node.scalar(node.number(1), "int64")], attributes)];
};

/**
 * A running total by doubling: after the step of width w each element joins the 2w before it. `empty` is the neutral element.
 * Takes as many steps as the extent has binary digits.
 */
const running =
  (join: (node: Conversion, left: string, right: string) => string, empty: number): Rule =>
  (node) => {
    const [value] = node.inputs;
    const rank = node.rank(value);
    const axis = (node.number(1) + rank) % rank;
    const length = node.staticDims(value, [axis])[0];
    const isReverse = node.bool("reverse");
    const neutral = node.scalar(empty, node.dtypeOf(value));
    const moved = (from: string, by: number): string => {
      const [start, end] = isReverse ? [by, length] : [0, length - by];
      const pads = [...range(0, rank), ...range(0, rank)].map((at, index) => (at === axis && index >= rank === isReverse ? by : 0));
      return node.emit("Pad", [node.slice(from, axis, start, end), node.integers(pads), neutral]);
    };
    let total = node.bool("exclusive") ? moved(value, 1) : value;
    for (let width = 1; width < length; width *= 2) total = join(node, total, moved(total, width));
    return [total];
  };

/** log(exp(a) + exp(b)) without overflow. */
function logSum(node: Conversion, left: string, right: string): string {
  const [most, least] = [node.emit("Max", [left, right]), node.emit("Min", [left, right])];
  const rest = node.emit("Exp", [node.emit("Sub", [least, most])]);
  return node.emit("Add", [most, node.emit("Log", [node.emit("Add", [rest, node.scalar(1)])])]);
}

const countAttribute = (node: Conversion): string => node.integers([node.int("k", 1)]);
const countInput =
  (index: number) =>
  (node: Conversion): string =>
    node.int64(index, true);

export const reductionRules: Rules = {
  All: logicalReduction("ReduceMin"),
  Any: logicalReduction("ReduceMax"),
  ArgMax: argument("ArgMax"),
  ArgMin: argument("ArgMin"),
  Cumprod: running((node, left, right) => node.emit("Mul", [left, right]), 1),
  Cumsum: runningSum,
  // A finite start: the difference of two infinities is not a number.
  CumulativeLogsumexp: running(logSum, -3e38),
  EuclideanNorm: reduction("ReduceL2"),
  InTopK: isInTop(countAttribute),
  InTopKV2: isInTop(countInput(2)),
  L2Loss: halfSquares,
  Max: reduction("ReduceMax"),
  Mean: reduction("ReduceMean"),
  Min: reduction("ReduceMin"),
  NthElement: nth,
  Prod: reduction("ReduceProd"),
  SoftmaxCrossEntropyWithLogits: crossEntropy,
  SparseSoftmaxCrossEntropyWithLogits: sparseCrossEntropy,
  Sum: reduction("ReduceSum"),
  TopK: largest(countAttribute),
  TopKV2: largest(countInput(1)),
};
