/** Sums and the like over the rows of each segment. */
import { toNumbers } from "../../../graph/tensor.js";
import { type Conversion, int, type Rule, type Rules, range, text } from "./rule.js";

/** What one kind of total is: how two values join (ScatterND's word), and the value of a segment without rows. */
interface Total {
  readonly reduce: string;
  readonly scatter: string;
  readonly empty: (dtype: string) => number;
}

const lowest = (dtype: string): number => (dtype === "int32" || dtype === "int64" ? -(2 ** 31) : -3.4028234663852886e38);
const highest = (dtype: string): number => (dtype === "int32" || dtype === "int64" ? 2 ** 31 - 1 : 3.4028234663852886e38);

const totals = {
  sum: { reduce: "ReduceSum", scatter: "add", empty: () => 0 },
  product: { reduce: "ReduceProd", scatter: "mul", empty: () => 1 },
  maximum: { reduce: "ReduceMax", scatter: "max", empty: lowest },
  minimum: { reduce: "ReduceMin", scatter: "min", empty: highest },
} as const satisfies Readonly<Record<string, Total>>;

const rowsOf = (node: Conversion, data: string, ids: string): string => {
  const axes = node.rank(ids);
  return axes === 1 ? data : node.reshape(data, [-1, ...node.extents(data).slice(axes)]);
};

/** Any row may be of any segment; rows of a negative one are of none. `count` is the number of segments. */
function scattered(node: Conversion, total: Total, data: string, ids: string, count: string): string {
  const dtype = node.dtypeOf(data);
  const rows = rowsOf(node, data, ids);
  const places = node.emit("Reshape", [node.asInt64(ids), node.integers([-1, 1])]);
  // What belongs nowhere goes to one more segment, which is cut off.
  const last = node.emit("Where", [node.emit("Less", [places, node.scalar(0, "int64")]), count, places]);
  const one = node.emit("Add", [count, node.integers([1])]);
  const shape = node.concat(
    [
      one,
      ...node
        .extents(rows)
        .slice(1)
        .map((extent) => node.shapeOf([extent])),
    ],
    0,
  );
  const background = node.emit("Expand", [node.scalar(total.empty(dtype), dtype), shape]);
  const sums = node.emit("ScatterND", [background, last, rows], { reduction: text(total.scatter) });
  return node.emit("Slice", [sums, node.integers([0]), count, node.integers([0])]);
}

const unsorted =
  (total: Total): Rule =>
  (node) => [scattered(node, total, node.inputs[0], node.inputs[1], node.int64(2, true))];

/** Segments of constant sorted ids are slices; those without rows are 0, or 1 as products. */
function sliced(node: Conversion, op: string, data: string, ids: readonly number[]): string {
  const rest = node.extents(data).slice(1);
  const parts = range(0, (ids.at(-1) ?? -1) + 1).map((segment) => {
    const [start, end] = [ids.indexOf(segment), ids.lastIndexOf(segment) + 1];
    if (end > 0) return node.reduce(op, node.slice(data, 0, start, end), [0], true);
    return node.emit("Expand", [node.scalar(op === "ReduceProd" ? 1 : 0, node.dtypeOf(data)), node.shapeOf([1, ...rest])]);
  });
  return node.concat(parts, 0);
}

/** Number of segments of sorted ids: the last one's, and one more. */
function countOf(node: Conversion, ids: string): string {
  const last = node.slice(node.asInt64(ids), 0, -1, 2 ** 31 - 1);
  return node.emit("Add", [last, node.integers([1])]);
}

function sorted(node: Conversion, op: string, data: string, ids: string): string {
  const known = node.known(ids);
  if (known !== undefined && known.shape[0] > 0) return sliced(node, op, data, toNumbers(known));
  if (op === "ReduceSum") return scattered(node, totals.sum, data, ids, countOf(node, ids));
  if (op === "ReduceProd") return scattered(node, totals.product, data, ids, countOf(node, ids));
  if (op !== "ReduceMean") throw node.refusal("its segments are not constant");
  return mean(node, data, ids, countOf(node, ids), (count) => count);
}

/** Sums divided by a function of the number of rows, which counts as 1 where there are none. */
function mean(node: Conversion, data: string, ids: string, count: string, divisor: (rows: string) => string): string {
  const dtype = node.dtypeOf(data);
  const ones = node.emit("Expand", [node.scalar(1, dtype), node.emit("Shape", [ids])]);
  const rows = node.emit("Max", [scattered(node, totals.sum, ones, ids, count), node.scalar(1, dtype)]);
  const axes = range(1, node.rank(data));
  const by = axes.length === 0 ? rows : node.unsqueeze(rows, axes);
  return node.emit("Div", [scattered(node, totals.sum, data, ids, count), divisor(by)]);
}

const segments =
  (op: string): Rule =>
  (node) => [sorted(node, op, node.inputs[0], node.inputs[1])];

const taken = (node: Conversion): string => node.emit("Gather", node.inputs.slice(0, 2), { axis: int(0) });

/** Rows by indices, and then as the dense kind. With a number of segments given, rows beyond the ids' are 0. */
const sparseSegments =
  (op: "ReduceSum" | "ReduceMean" | "squareRoot"): Rule =>
  (node) => {
    const ids = node.inputs[2];
    const isCounted = node.inputs.length > 3;
    if (!isCounted && op !== "squareRoot") return [sorted(node, op, taken(node), ids)];
    const count = isCounted ? node.int64(3, true) : countOf(node, ids);
    if (op === "ReduceSum") return [scattered(node, totals.sum, taken(node), ids, count)];
    return [mean(node, taken(node), ids, count, (rows) => (op === "squareRoot" ? node.emit("Sqrt", [rows]) : rows))];
  };

export const segmentRules: Rules = {
  SegmentMax: segments("ReduceMax"),
  SegmentMean: segments("ReduceMean"),
  SegmentMin: segments("ReduceMin"),
  SegmentProd: segments("ReduceProd"),
  SegmentSum: segments("ReduceSum"),
  SparseSegmentMean: sparseSegments("ReduceMean"),
  SparseSegmentMeanWithNumSegments: sparseSegments("ReduceMean"),
  SparseSegmentSqrtN: sparseSegments("squareRoot"),
  SparseSegmentSqrtNWithNumSegments: sparseSegments("squareRoot"),
  SparseSegmentSum: sparseSegments("ReduceSum"),
  SparseSegmentSumWithNumSegments: sparseSegments("ReduceSum"),
  UnsortedSegmentMax: unsorted(totals.maximum),
  UnsortedSegmentMin: unsorted(totals.minimum),
  UnsortedSegmentProd: unsorted(totals.product),
  UnsortedSegmentSum: unsorted(totals.sum),
};
