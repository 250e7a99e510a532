/**
 * Convolutions of few channels keep more digits. Rounded to 16 bits, an operand x is h + l: h its 16-bit form, l what that leaves out, in 16
 * bits again. The sum h H + l H + h L over operands (h, l, h) and weights (H, H, L) errs by about 2^-20 with FP16. It is taken where three
 * times the input channels fit on the rows of the tensor engine, which would be idle, in as many passes as before. First layers profit most: what they round, all later ones magnify.
 */
import { type Graph, intAttribute, type Node, staticType, type TensorType } from "../graph/graph.js";
import { elementCount, floatTensor, fromNumbers, largestFinite, numberAt, type Tensor, toFloat32 } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { packsKernelRows } from "../operators/convolution.js";
import { FreshNames } from "./values.js";

const PARTS = 3;

type Half = "float16" | "bfloat16";

/** Rounded to 16 bits, with the largest finite number for what is beyond: then what is left out of an infinity is that infinity. */
function rounded(values: readonly number[], shape: readonly number[], half: Half): Tensor {
  return fromNumbers(
    half,
    shape,
    values.map((value) => Math.min(Math.max(value, -largestFinite[half]), largestFinite[half])),
  );
}

/** FP32 weights [outputs, channels, ...] as [outputs, PARTS * channels, ...] in 16 bits. */
function splitWeights(weights: Tensor, half: Half): Tensor {
  const { shape } = weights;
  const values = [...toFloat32(weights)];
  const high = rounded(values, shape, half);
  const rest = values.map((value, index) => value - numberAt(high, index));
  const low = rounded(rest, shape, half);
  const each = elementCount(shape.slice(1));
  const rows = Array.from({ length: shape[0] }, (_, row) =>
    [high, high, low].flatMap((part) => Array.from({ length: each }, (_, index) => numberAt(part, row * each + index))),
  );
  return fromNumbers(half, [shape[0], PARTS * shape[1], ...shape.slice(2)], rows.flat());
}

class Splitting {
  private readonly nodes: Node[] = [];
  private readonly types: Map<string, TensorType>;
  private readonly constants: Map<string, Tensor>;
  private readonly names: FreshNames;
  /** The split form of a value or of weights. */
  private readonly known = new Map<string, string>();

  constructor(
    private readonly graph: Graph,
    private readonly half: Half,
  ) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.names = new FreshNames(graph);
  }

  /** The weights of a convolution that is to be split. */
  private weights(node: Node): Tensor | undefined {
    const weights = this.graph.constants.get(node.inputs[1]);
    if (node.op !== "Conv" || node.domain !== "" || intAttribute(node.attributes, "group", 1) !== 1 || !weights) return undefined;
    const input = this.graph.types.get(node.inputs[0]);
    const [, channels, ...kernel] = weights.shape;
    const fits = PARTS * channels * kernel[0] <= hardware.tensorRows;
    const packs = packsKernelRows(kernel, PARTS * channels) || !packsKernelRows(kernel, channels);
    return fits && packs && weights.dtype === "float32" && input?.dtype === "float32" ? weights : undefined;
  }

  private add(
    op: string,
    base: string,
    inputs: readonly string[],
    shape: readonly number[],
    origins: readonly string[],
    attributes: Node["attributes"] = {},
  ): string {
    const output = this.names.next(base);
    this.types.set(output, { dtype: this.half, shape });
    this.nodes.push({ name: this.names.next(output), op, domain: "", inputs, outputs: [output], attributes, origins });
    return output;
  }

  private constant(base: string, tensor: Tensor): string {
    const name = this.names.next(base);
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  private splitWeights(name: string, weights: Tensor): string {
    const known = this.known.get(name) ?? this.constant(`${name}/parts`, splitWeights(weights, this.half));
    this.known.set(name, known);
    return known;
  }

  /** The parts of a value, as the input channels of split weights. */
  private operand(value: string, origins: readonly string[]): string {
    const known = this.known.get(value);
    if (known !== undefined) return known;
    const { shape } = staticType(this.graph, value);
    const limits = [-largestFinite[this.half], largestFinite[this.half]].map((limit) =>
      this.constant(`${value}/limit`, floatTensor([], Float32Array.of(limit))),
    );
    const high = this.add("Clip", `${value}/high`, [value, ...limits], shape, origins);
    const low = this.add("Sub", `${value}/low`, [value, high], shape, origins);
    const all = shape.map((extent, axis) => (axis === 1 ? PARTS * extent : extent));
    const name = this.add("Concat", `${value}/parts`, [high, low, high], all, origins, { axis: { type: "int", value: 1 } });
    this.known.set(value, name);
    return name;
  }

  run(): Graph {
    for (const node of this.graph.nodes) {
      const weights = this.weights(node);
      if (weights === undefined) {
        this.nodes.push(node);
        continue;
      }
      const [value, name, ...rest] = node.inputs;
      this.nodes.push({ ...node, inputs: [this.operand(value, node.origins), this.splitWeights(name, weights), ...rest] });
    }
    return this.known.size === 0 ? this.graph : { ...this.graph, nodes: this.nodes, types: this.types, constants: this.constants };
  }
}

/** The graph with such convolutions over their operands' parts; their own FP32 weights may be without readers. */
export function splitOperands(graph: Graph, half: Half): Graph {
  return new Splitting(graph, half).run();
}
