/** What every network's builder stands on: nodes and constants by name, and a stream of random numbers for each layer. */
import type { Attribute, Dim, Graph, Node, TensorType } from "../src/graph/graph.js";
import type { DType, Tensor } from "../src/graph/tensor.js";
import { Random } from "./random.js";

export type NodeAttributes = Readonly<Record<string, Attribute>>;

export class GraphBuilder {
  private readonly nodes: Node[] = [];
  private readonly types = new Map<string, TensorType>();
  private readonly constants = new Map<string, Tensor>();

  /** `batch`: the extent of the batch dimension, or the name of an open one. */
  constructor(
    private readonly name: string,
    private readonly seed: number,
    protected readonly batch: Dim,
  ) {}

  graph(inputs: readonly { readonly name: string }[], outputs: readonly { readonly name: string }[]): Graph {
    return {
      name: this.name,
      inputs: inputs.map((value) => value.name),
      outputs: outputs.map((value) => value.name),
      nodes: this.nodes,
      types: this.types,
      constants: this.constants,
    };
  }

  /** The random numbers of one layer: the same whatever the others draw. */
  protected random(name: string): Random {
    return new Random(this.seed, name);
  }

  protected constant(name: string, tensor: Tensor): string {
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  protected declare(name: string, dtype: DType, shape: readonly Dim[]): void {
    this.types.set(name, { dtype, shape });
  }

  protected node(op: string, name: string, inputs: readonly string[], outputs: readonly string[], attributes: NodeAttributes = {}): void {
    this.nodes.push({ name, op, domain: "", inputs, outputs, attributes, origins: [name] });
  }
}
