/** Smaller graphs from a graph: the steps of a reduction. Each gives a graph that may be run, or undefined where there is none. */
import { capturedValues, type Graph, type Node, type TensorType } from "../graph/graph.js";
import { type DType, elementCount, fromNumbers, numberAt, rowMajorStrides, type Tensor } from "../graph/tensor.js";

/** A graph with static inputs, and a value for each of them. */
export interface Subject {
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Tensor>;
}

/** Values of the graph by name, as far as they are known: what takes the place of operators that are taken out. */
export type KnownValues = ReadonlyMap<string, Tensor>;

const readsOf = (node: Node): string[] => [...node.inputs, ...capturedValues(node)].filter((name) => name !== "");

/** With the inputs' types those of their values. */
export function bindInputs({ graph, inputs }: Subject): Subject {
  const types = new Map([...graph.types].filter(([name]) => inputs.has(name) || graph.constants.has(name)));
  for (const [name, { dtype, shape }] of inputs) types.set(name, { dtype, shape });
  return { graph: { ...graph, types }, inputs };
}

/** The graph without what no output needs. */
export function pruned({ graph, inputs }: Subject): Subject {
  const needed = new Set(graph.outputs);
  const nodes = graph.nodes
    .toReversed()
    .filter((node) => {
      if (!node.outputs.some((output) => needed.has(output))) return false;
      for (const input of readsOf(node)) needed.add(input);
      return true;
    })
    .toReversed();
  const made = new Set(nodes.flatMap((node) => node.outputs));
  const kept = <T>(map: ReadonlyMap<string, T>) => new Map([...map].filter(([name]) => needed.has(name) || made.has(name)));
  const left = graph.inputs.filter((name) => needed.has(name));
  return {
    graph: { ...graph, nodes, inputs: left, types: kept(graph.types), constants: kept(graph.constants) },
    inputs: new Map([...inputs].filter(([name]) => left.includes(name))),
  };
}

/**
 * Without the nodes at `removed`: what they gave to others becomes an input, and what others gave to them an output. Undefined where
 * a value that is needed is not known, or nothing is left.
 */
export function withoutNodes({ graph, inputs }: Subject, removed: ReadonlySet<number>, known: KnownValues): Subject | undefined {
  const nodes = graph.nodes.filter((_, index) => !removed.has(index));
  const gone = graph.nodes.filter((_, index) => removed.has(index));
  const reads = new Set(nodes.flatMap(readsOf));
  const made = new Set(nodes.flatMap((node) => node.outputs));
  const lost = [...new Set(gone.flatMap((node) => node.outputs))].filter((name) => reads.has(name));
  if (nodes.length === 0 || lost.some((name) => !known.has(name))) return undefined;
  const outputs = [...new Set([...graph.outputs, ...gone.flatMap(readsOf)])].filter((name) => made.has(name));
  const types = new Map(graph.types);
  const values = new Map(inputs);
  for (const name of lost) {
    const tensor = known.get(name);
    if (tensor === undefined) return undefined;
    types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    values.set(name, tensor);
  }
  return pruned({ graph: { ...graph, nodes, outputs, types, inputs: [...graph.inputs, ...lost] }, inputs: values });
}

/** With some of the outputs only. */
export function withOutputs({ graph, inputs }: Subject, outputs: readonly string[]): Subject {
  return pruned({ graph: { ...graph, outputs }, inputs });
}

/** With one node changed. */
export function withNode({ graph, inputs }: Subject, index: number, node: Node): Subject {
  return pruned({ graph: { ...graph, nodes: graph.nodes.with(index, node) }, inputs });
}

/** With an input's value as a constant. */
export function withConstant({ graph, inputs }: Subject, name: string): Subject | undefined {
  const tensor = inputs.get(name);
  if (tensor === undefined) return undefined;
  const constants = new Map(graph.constants).set(name, tensor);
  return pruned({ graph: { ...graph, constants, inputs: graph.inputs.filter((input) => input !== name) }, inputs });
}

/** Extents above 1 that inputs and constants have, largest first. */
export function extentsOf({ graph, inputs }: Subject): number[] {
  const shapes = [...graph.constants.values(), ...inputs.values()].map(({ shape }) => shape);
  return [...new Set(shapes.flat())].filter((extent) => extent > 1).sort((a, b) => b - a);
}

/**
 * With every dimension of inputs and constants that has the extent `from` cut off at `to`, and that number changed where integers say
 * a shape. Values inside have other types then: they are left out.
 */
export function withExtent({ graph, inputs }: Subject, from: number, to: number): Subject {
  const change = (tensor: Tensor): Tensor => {
    const cutOff = cropped(
      tensor,
      tensor.shape.map((extent) => (extent === from ? to : extent)),
    );
    if (cutOff.dtype !== "int64" || cutOff.shape.length !== 1) return cutOff;
    const values = Array.from({ length: cutOff.shape[0] }, (_, index) => numberAt(cutOff, index));
    return values.includes(from)
      ? fromNumbers(
          "int64",
          cutOff.shape,
          values.map((value) => (value === from ? to : value)),
        )
      : cutOff;
  };
  const changed = (map: ReadonlyMap<string, Tensor>) => new Map([...map].map(([name, tensor]) => [name, change(tensor)]));
  const [constants, values] = [changed(graph.constants), changed(inputs)];
  const types = new Map<string, TensorType>([...constants, ...values].map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  return { graph: { ...graph, constants, types }, inputs: values };
}

/** The first elements along each axis. */
function cropped(tensor: Tensor, shape: readonly number[]): Tensor {
  if (shape.every((extent, axis) => extent === tensor.shape[axis]) || !croppable(tensor.dtype)) return tensor;
  const strides = rowMajorStrides(tensor.shape);
  const own = rowMajorStrides(shape);
  const indices = Array.from({ length: elementCount(shape) }, (_, index) =>
    shape.reduce((sum, extent, axis) => sum + (Math.floor(index / own[axis]) % extent) * strides[axis], 0),
  );
  return fromNumbers(
    tensor.dtype,
    shape,
    indices.map((index) => numberAt(tensor, index)),
  );
}

const croppable = (dtype: DType): boolean => dtype !== "string" && !/^(complex|float8|float4)/.test(dtype);
