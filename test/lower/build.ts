/** Small graphs for the lowering tests: one operator each, with seeded constants. */
import type { Attribute, Attributes, Graph, Node, TensorType } from "../../src/graph/graph.js";
import { elementCount, floatTensor, type Tensor } from "../../src/graph/tensor.js";

export function randomTensor(shape: readonly number[], random: () => number): Tensor {
  return floatTensor(
    shape,
    Float32Array.from({ length: elementCount(shape) }, () => Math.round((random() * 4 - 2) * 64) / 64),
  );
}

function attributeOf(value: number | string | readonly number[]): Attribute {
  if (typeof value === "string") return { type: "string", value };
  if (typeof value === "number") return Number.isInteger(value) ? { type: "int", value } : { type: "float", value };
  return { type: "ints", value };
}

export function attributes(values: Readonly<Record<string, number | string | readonly number[]>>): Attributes {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, attributeOf(value)]));
}

/** Builds a graph step by step; types of results are inferred by the caller's `infer`. */
export class GraphBuilder {
  readonly #types = new Map<string, TensorType>();
  readonly #constants = new Map<string, Tensor>();
  readonly #inputs: string[] = [];
  readonly #nodes: Node[] = [];

  input(name: string, shape: readonly number[]): string {
    this.#inputs.push(name);
    this.#types.set(name, { dtype: "float32", shape });
    return name;
  }

  constant(tensor: Tensor): string {
    const name = `c${this.#constants.size}`;
    this.#constants.set(name, tensor);
    this.#types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  node(
    op: string,
    inputs: readonly string[],
    values: Readonly<Record<string, number | string | readonly number[]>> = {},
    outputs = 1,
  ): string[] {
    const name = `n${this.#nodes.length}`;
    const made = Array.from({ length: outputs }, (_, index) => `${name}.${index}`);
    this.#nodes.push({ name, op, domain: "", inputs, outputs: made, attributes: attributes(values), origins: [name] });
    return made;
  }

  finish(outputs: readonly string[]): Graph {
    return { name: "test", inputs: this.#inputs, outputs, nodes: this.#nodes, types: this.#types, constants: this.#constants };
  }
}
