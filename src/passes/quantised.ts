/**
 * Moves the scales of dequantized operands behind the convolution or matrix product that reads them: (s (q - z)) W = s ((q - z) W).
 * Integers of 8 bits less their zero point are exact in either 16-bit float; their multiples by a scale are not.
 */
import { floatAttribute, type Graph, intAttribute, isStatic, type Node, type TensorType } from "../graph/graph.js";
import { type DType, elementCount, fromNumbers, int64Tensor, type Tensor, toNumbers } from "../graph/tensor.js";
import type { NormaliseOptions } from "./options.js";
import { type Rule, rewrite, type View } from "./rewrite.js";

const narrow: ReadonlySet<DType> = new Set(["int8", "uint8", "int4", "uint4", "int2", "uint2"]);

/** Along which axis an operand may have a scale for each place, and along which axis of the output these lie. Axes may count from the end. */
type Channels = (node: Node, rank: number) => { readonly own: number; readonly output: number } | undefined;

/** By operator, for each of its two operands. */
const contractions: Readonly<Record<string, readonly [Channels, Channels]>> = {
  Conv: [() => undefined, () => ({ own: 0, output: 1 })],
  ConvTranspose: [() => undefined, (node) => (intAttribute(node.attributes, "group", 1) === 1 ? { own: 1, output: 1 } : undefined)],
  MatMul: [
    (_, rank) => (rank > 1 ? { own: rank - 2, output: -2 } : undefined),
    (_, rank) => (rank > 1 ? { own: rank - 1, output: -1 } : undefined),
  ],
  Gemm: [
    (node) => ({ own: intAttribute(node.attributes, "transA", 0) === 0 ? 0 : 1, output: -2 }),
    (node) => ({ own: intAttribute(node.attributes, "transB", 0) === 0 ? 1 : 0, output: -1 }),
  ],
};

/** A dequantized operand: the node that makes it, and its scale in a shape that meets the output. */
interface Operand {
  readonly node: Node;
  readonly scale: Tensor;
}

function dequantized(root: Node, index: 0 | 1, outputRank: number, view: View): Operand | undefined {
  const node = view.producer(root.inputs[index]);
  if (node?.op !== "DequantizeLinear" || node.domain !== "" || intAttribute(node.attributes, "block_size", 0) !== 0) return undefined;
  const [source, result, scale] = [view.type(node.inputs[0]), view.type(node.outputs[0]), view.constant(node.inputs[1])];
  if (!isStatic(source) || !narrow.has(source.dtype) || result?.dtype !== "float32" || scale?.dtype !== "float32") return undefined;
  if (elementCount(scale.shape) === 1) return { node, scale: { ...scale, shape: [] } };
  const rank = source.shape.length;
  const channels = contractions[root.op][index](root, rank);
  const axis = intAttribute(node.attributes, "axis", 1);
  if (channels === undefined || (axis < 0 ? axis + rank : axis) !== channels.own) return undefined;
  const place = channels.output < 0 ? -channels.output : outputRank - channels.output;
  return { node, scale: { ...scale, shape: [...scale.shape, ...new Array<number>(place - 1).fill(1)] } };
}

/** a b of scales, one of which is a scalar unless they lie along different axes. */
function product(a: Tensor, b: Tensor): Tensor {
  const [few, many] = a.shape.length === 0 ? [a, b] : [b, a];
  const factor = toNumbers(few)[0];
  return fromNumbers(
    "float32",
    many.shape,
    toNumbers(many).map((value) => value * factor),
  );
}

const scaleBehind: Rule = {
  name: "scale-behind-contraction",
  pattern: { op: Object.keys(contractions) },
  replace({ root }, view) {
    const type = view.type(root.outputs[0]);
    if (root.domain !== "" || !isStatic(type)) return undefined;
    const plain = floatAttribute(root.attributes, "alpha", 1) === 1 && floatAttribute(root.attributes, "beta", 1) === 1;
    const operands = ([0, 1] as const).map((index) => dequantized(root, index, type.shape.length, view));
    const scales = operands.flatMap((operand) => (operand === undefined ? [] : [operand.scale]));
    const isUnit = scales.every((scale) => toNumbers(scale).every((value) => value === 1));
    if (!plain || isUnit || scales.filter((scale) => scale.shape.length > 0).length > 1) return undefined;

    const nodes: Node[] = [];
    const constants = new Map<string, Tensor>();
    const types = new Map<string, TensorType>();
    const constant = (wanted: string, tensor: Tensor): string => {
      const name = view.fresh(wanted);
      constants.set(name, tensor);
      return name;
    };
    /** A new value of the output's type. */
    const inner = (wanted: string): string => {
      const name = view.fresh(wanted);
      types.set(name, type);
      return name;
    };
    const inputs = operands.map((operand, index) => {
      if (operand === undefined) return root.inputs[index];
      const { node } = operand;
      const ones = toNumbers(view.constant(node.inputs[1])!).map(() => 1);
      const unit = constant(`${node.name}/unit`, fromNumbers("float32", view.constant(node.inputs[1])!.shape, ones));
      const integers = view.fresh(`${node.outputs[0]}/integers`);
      types.set(integers, view.type(node.outputs[0])!);
      nodes.push({
        ...node,
        name: view.fresh(`${node.name}/integers`),
        inputs: [node.inputs[0], unit, ...node.inputs.slice(2)],
        outputs: [integers],
      });
      return integers;
    });
    const bias = root.inputs[2] ?? "";
    const [sum, scaled] = [inner(`${root.outputs[0]}/sum`), bias === "" ? root.outputs[0] : inner(`${root.outputs[0]}/scaled`)];
    const scale = constant(`${root.name}/scale`, scales.reduce(product));
    const part = (suffix: string, op: string, from: readonly string[], to: string): Node => {
      return { ...root, name: view.fresh(`${root.name}/${suffix}`), op, attributes: {}, inputs: [...from], outputs: [to] };
    };
    nodes.push({ ...root, inputs, outputs: [sum] }, part("scaled", "Mul", [sum, scale], scaled));
    if (bias === "") return { nodes, constants, types };
    const isConvolution = root.op !== "Gemm";
    const spread = isConvolution ? view.fresh(`${bias}/spread`) : bias;
    if (isConvolution) {
      const extents = [-1, ...new Array<number>(type.shape.length - 2).fill(1)];
      types.set(spread, { dtype: "float32", shape: [type.shape[1], ...extents.slice(1)] });
      nodes.push(part("spread", "Reshape", [bias, constant(`${root.name}/extents`, int64Tensor([extents.length], extents))], spread));
    }
    nodes.push(part("shifted", "Add", [scaled, spread], root.outputs[0]));
    return { nodes, constants, types };
  },
};

/** The quantised pass: before constants are folded, so that weights fold to their integers. */
export function scalesBehind(graph: Graph, options: Pick<NormaliseOptions, "keep">): Graph {
  return rewrite(graph, [scaleBehind], options);
}
