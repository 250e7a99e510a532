/**
 * 64-bit elements on a NeuronCore, as pairs of 32-bit words. At the border of a subgraph a tensor [...] of them is one [..., 2] of int32, the
 * lower word first: the same bytes. Inside it is two tensors of int32.
 */
import { type Graph, type Node, staticType, type TensorType } from "../graph/graph.js";
import { type DType, isWide, type Tensor, toWords } from "../graph/tensor.js";
import { Builder, intValue } from "../operators/builder.js";
import { holdsElements, type Words, wordRule } from "../operators/words.js";
import { withoutDead } from "./values.js";

class Converter {
  private readonly nodes: Node[] = [];
  private readonly types: Map<string, TensorType>;
  private readonly constants: Map<string, Tensor>;
  private readonly words = new Map<string, Words>();
  /** What builders see: grows with each node. */
  private readonly current: Graph;

  constructor(private readonly graph: Graph) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.current = { ...graph, types: this.types, constants: this.constants };
    for (const name of graph.inputs) if (isWide(this.dtypeOf(name))) this.types.set(name, this.borderType(name));
  }

  run(): Graph {
    for (const node of this.graph.nodes) {
      const wide = [...node.inputs.filter((_, index) => holdsElements(node, index)), ...node.outputs].some((name) =>
        isWide(this.dtypeOf(name)),
      );
      if (wide) this.convert(node);
      else this.nodes.push(node);
    }
    return withoutDead({ ...this.graph, nodes: this.nodes, types: this.types, constants: this.constants });
  }

  private borderType(name: string): TensorType {
    return { dtype: "int32", shape: [...staticType(this.graph, name).shape, 2] };
  }

  private dtypeOf(name: string): DType | undefined {
    return this.graph.types.get(name)?.dtype;
  }

  private convert(node: Node): void {
    const builder = new Builder(this.current, node);
    const operands = node.inputs.map((name, index) =>
      isWide(this.dtypeOf(name)) && holdsElements(node, index) ? this.wordsOf(builder, name) : name,
    );
    const inputs = node.inputs.map((name) => this.dtypeOf(name));
    const output = this.dtypeOf(node.outputs[0]) ?? "int64";
    const results = wordRule(node.op)(builder, operands, { node, inputs, output, unsigned: inputs.includes("uint64") });
    const named = results.map((result, index) => {
      const name = node.outputs[index];
      if (typeof result === "string") {
        this.rename(node.inputs, result, name);
        return result;
      }
      this.words.set(name, result);
      return this.graph.outputs.includes(name) ? joined(builder, result) : undefined;
    });
    const { nodes, constants, types } = builder.finish(named);
    this.nodes.push(...nodes);
    for (const [name, tensor] of constants) this.constants.set(name, tensor);
    for (const [name, type] of types) this.types.set(name, type);
    for (const name of node.outputs) if (isWide(this.dtypeOf(name))) this.types.set(name, this.borderType(name));
  }

  /** Words of inputs that are a node's result go by its name. */
  private rename(inputs: readonly string[], from: string, to: string): void {
    for (const input of inputs) {
      const words = this.words.get(input);
      if (words === undefined) continue;
      const named = (word: string) => (word === from ? to : word);
      this.words.set(input, { low: named(words.low), high: named(words.high) });
    }
  }

  private wordsOf(builder: Builder, name: string): Words {
    const known = this.words.get(name);
    if (known) return known;
    const constant = this.graph.constants.get(name);
    const { shape } = staticType(this.graph, name);
    const part = (index: number): string => {
      if (constant) return builder.constant({ dtype: "int32", shape, data: toWords(constant).filter((_, at) => at % 2 === index) });
      return builder.op("Gather", [name, builder.typed("int64", index)], { axis: intValue(shape.length) });
    };
    const words = { low: part(0), high: part(1) };
    this.words.set(name, words);
    return words;
  }
}

function joined(builder: Builder, { low, high }: Words): string {
  const shape = builder.shape(low);
  const columns = [low, high].map((word) => builder.reshape(word, [...shape, 1]));
  return builder.concat(columns, shape.length);
}

/** The graph of a Neuron subgraph with its 64-bit values as words; its inputs and outputs keep their names. */
export function asWords(graph: Graph): Graph {
  const isMade = (name: string): boolean => isWide(graph.types.get(name)?.dtype) && !graph.constants.has(name);
  const wide = graph.nodes.some((node) => [...node.inputs, ...node.outputs].some(isMade));
  return wide ? new Converter(graph).run() : graph;
}
