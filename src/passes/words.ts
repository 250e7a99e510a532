/**
 * 64-bit integers on a NeuronCore: in DRAM each is two 32-bit words, the lower one first, so that a tensor [...] of int64 is one [..., 2] of
 * int32. The check lets them through casts alone.
 */
import { type Attributes, type Graph, type Node, staticType, type TensorType } from "../graph/graph.js";
import { fromNumbers, int64Tensor, type Tensor } from "../graph/tensor.js";
import { FreshNames } from "./values.js";

/** ONNX's code of the element type. */
const INT32 = 6;

class Words {
  readonly nodes: Node[] = [];
  readonly types: Map<string, TensorType>;
  readonly constants: Map<string, Tensor>;
  private readonly names: FreshNames;

  constructor(private readonly graph: Graph) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.names = new FreshNames(graph);
  }

  private constant(base: string, tensor: Tensor): string {
    const name = this.names.next(base);
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  private add(cast: Node, op: string, inputs: readonly string[], type: TensorType, attributes: Attributes = {}, output?: string): string {
    const value = output ?? this.names.next(`${cast.outputs[0]}/${op.toLowerCase()}`);
    this.types.set(value, type);
    this.nodes.push({ ...cast, name: this.names.next(`${cast.name}/${op.toLowerCase()}`), op, inputs, outputs: [value], attributes });
    return value;
  }

  /** The lower words, as the type of the result. */
  fromWords(cast: Node): void {
    const shape = staticType(this.graph, cast.outputs[0]).shape;
    const axis = { axis: { type: "int" as const, value: shape.length } };
    const low = this.constant(`${cast.name}/low`, int64Tensor([], [0]));
    const { dtype } = staticType(this.graph, cast.outputs[0]);
    const isInt32 = dtype === "int32";
    const word = this.add(cast, "Gather", [cast.inputs[0], low], { dtype: "int32", shape }, axis, isInt32 ? cast.outputs[0] : undefined);
    if (!isInt32) this.nodes.push({ ...cast, inputs: [word] });
  }

  /** The value and its sign: 0, or -1 for a negative one. */
  toWords(cast: Node): void {
    const shape = staticType(this.graph, cast.outputs[0]).shape;
    const type = { dtype: "int32" as const, shape };
    const source = cast.inputs[0];
    const to = { to: { type: "int" as const, value: INT32 } };
    const isInt32 = staticType(this.graph, source).dtype === "int32";
    const low = isInt32 ? source : this.add(cast, "Cast", [source], type, to);
    const [least, none] = [-1, 0].map((value) => this.constant(`${cast.name}/limit`, fromNumbers("int32", [], [value])));
    const high = this.add(cast, "Min", [this.add(cast, "Max", [low, least], type), none], type);
    const words = [low, high].map((word) => {
      const extents = this.constant(`${cast.name}/shape`, int64Tensor([shape.length + 1], [...shape, 1]));
      return this.add(cast, "Reshape", [word, extents], { dtype: "int32", shape: [...shape, 1] });
    });
    const axis = { axis: { type: "int" as const, value: shape.length } };
    this.add(cast, "Concat", words, { dtype: "int32", shape: [...shape, 2] }, axis, cast.outputs[0]);
  }
}

const isWide = (graph: Graph, value: string): boolean => graph.types.get(value)?.dtype === "int64" && !graph.constants.has(value);

/** The graph of a Neuron subgraph with its 64-bit values as words; its inputs and outputs keep their names. */
export function asWords(graph: Graph): Graph {
  const casts = graph.nodes.filter((node) => node.op === "Cast" && [node.inputs[0], node.outputs[0]].some((value) => isWide(graph, value)));
  if (casts.length === 0) return graph;
  const words = new Words(graph);
  const made = new Set(casts);
  for (const node of graph.nodes) {
    if (!made.has(node)) words.nodes.push(node);
    else if (isWide(graph, node.inputs[0])) words.fromWords(node);
    else words.toWords(node);
  }
  for (const name of graph.inputs) {
    if (isWide(graph, name)) words.types.set(name, { dtype: "int32", shape: [...staticType(graph, name).shape, 2] });
  }
  return { ...graph, nodes: words.nodes, types: words.types, constants: words.constants };
}
