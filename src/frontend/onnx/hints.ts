/** What import can tell of a value's type without inference: enough to choose the upgrade of an old operator. */
import { intsAttribute, type Node, type TensorType } from "../../graph/graph.js";

/** Operators whose first output has the type and rank of the first input. */
const likeFirstInput: ReadonlySet<string> = new Set(
  `Abs AveragePool BatchNormalization Clip Concat Conv ConvTranspose DepthToSpace Dropout Elu Exp GlobalAveragePool GlobalMaxPool
  HardSigmoid Hardmax Identity InstanceNormalization LRN LeakyRelu Log LogSoftmax MaxPool Neg PRelu Pad Relu Resize Selu Sigmoid Slice
  Softmax Softplus Softsign SpaceToDepth Split Sqrt Tanh Transpose`.split(/\s+/),
);

/** Operators that broadcast all their inputs, which have one type. */
const broadcasting: ReadonlySet<string> = new Set(["Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Mean"]);

/** A type with a rank and open extents. */
function ranked(type: TensorType, rank: number): TensorType {
  return { dtype: type.dtype, shape: new Array<string>(Math.max(0, rank)).fill("?") };
}

/** The type of the node's outputs as far as it shows; undefined where it does not. */
export function hintedType(
  node: Node,
  typeOf: (value: string) => TensorType | undefined,
  lengthOf: (value: string) => number | undefined,
): TensorType | undefined {
  const first = typeOf(node.inputs[0] ?? "");
  if (first === undefined || node.domain !== "") return undefined;
  const rank = first.shape?.length;
  const changed = (axes: number | undefined, sign: number) =>
    rank === undefined || axes === undefined ? undefined : ranked(first, rank + sign * axes);
  const axisCount = () => intsAttribute(node.attributes, "axes")?.length ?? lengthOf(node.inputs[1] ?? "");
  if (likeFirstInput.has(node.op)) return rank === undefined ? first : ranked(first, rank);
  switch (node.op) {
    case "Gemm":
    case "Flatten":
      return ranked(first, 2);
    case "Reshape": {
      const length = lengthOf(node.inputs[1] ?? "");
      return length === undefined ? { dtype: first.dtype } : ranked(first, length);
    }
    case "Squeeze":
      return changed(axisCount(), -1);
    case "Unsqueeze":
      return changed(axisCount(), 1);
  }
  if (!broadcasting.has(node.op)) return undefined;
  const ranks = node.inputs.map((input) => typeOf(input)?.shape?.length);
  const known = ranks.filter((item) => item !== undefined);
  return known.length === ranks.length ? ranked(first, Math.max(...known)) : { dtype: first.dtype };
}
