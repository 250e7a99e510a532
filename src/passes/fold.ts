/**
 * Computes at compile time what does not depend on the inputs. Sizes of static shapes and filled tensors are made here; the rest
 * goes to one run of the host's ONNX Runtime per wave. A wave is everything that is constant with the types known so far; a
 * constant that makes a shape known may start another.
 */
import { UserError } from "../diagnostics/diagnostic.js";
import { type Graph, intAttribute, isStatic, type Node, type TensorType } from "../graph/graph.js";
import { allocateData, bytesPerElement, elementCount, int64Tensor, type Tensor, toNumbers } from "../graph/tensor.js";
import { withoutEmpty } from "./empty.js";
import { inlineConstantIfs } from "./inline_if.js";
import { isKept, type NormaliseOptions } from "./options.js";
import { isDeterministic, readsOf, withoutDead, writesOf } from "./values.js";

/** Up to this size a folded value is always worth having, in bytes. */
const SMALL_BYTES = 1 << 16;
/** A larger value folds if it is at most this many times as large as what it is computed from. */
const GROWTH = 4;
/** Constants up to this size travel inside the model that ONNX Runtime gets, larger ones beside it, without a copy. */
const INLINE_BYTES = 1 << 12;
/** A larger value folds too where a NeuronCore could not compute it, up to this size. */
const HOST_ONLY_BYTES = 1 << 26;
/** No value folds beyond this size. */
const MAX_BYTES = 2 ** 31;
/** Waves beyond any real model: a guard. */
const MAX_WAVES = 1000;

/** Inputs that are weights of a contraction: a value for them folds at any size, since it is stored anyway. */
const weightInputs: Readonly<Record<string, readonly number[]>> = {
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  Gemm: [0, 1, 2],
  MatMul: [0, 1],
  LSTM: [1, 2, 3],
  GRU: [1, 2, 3],
  RNN: [1, 2, 3],
  BatchNormalization: [1, 2, 3, 4],
};

function byteLength(type: TensorType | undefined): number | undefined {
  return isStatic(type) ? elementCount(type.shape) * Math.max(1, bytesPerElement[type.dtype]) : undefined;
}

/** Shape and Size of a static value, without its data. */
function foldShape(graph: Graph, node: Node): Tensor | undefined {
  if (node.domain !== "" || (node.op !== "Shape" && node.op !== "Size")) return undefined;
  const type = graph.types.get(node.inputs[0]);
  if (!isStatic(type)) return undefined;
  if (node.op === "Size") return int64Tensor([], [elementCount(type.shape)]);
  const rank = type.shape.length;
  const clamp = (axis: number) => Math.min(Math.max(axis < 0 ? axis + rank : axis, 0), rank);
  const dims = type.shape.slice(clamp(intAttribute(node.attributes, "start", 0)), clamp(intAttribute(node.attributes, "end", rank)));
  return int64Tensor([dims.length], dims);
}

function foldFill(graph: Graph, node: Node): Tensor | undefined {
  const extents = graph.constants.get(node.inputs[0]);
  if (node.domain !== "" || node.op !== "ConstantOfShape" || extents === undefined) return undefined;
  if (!isStatic(graph.types.get(node.outputs[0]))) return undefined;
  const shape = toNumbers(extents);
  const attribute = node.attributes.value;
  const fill = attribute?.type === "tensor" ? attribute.value : { dtype: "float32" as const, shape: [1], data: new Float32Array(1) };
  const data = allocateData(fill.dtype, elementCount(shape));
  for (let index = 0; index < data.length; index++) data[index] = fill.data[0];
  return { dtype: fill.dtype, shape, data };
}

/** Nodes whose results end in a contraction's weights by way of other nodes in `candidates`. */
function weightMakers(graph: Graph, candidates: ReadonlySet<Node>): Set<Node> {
  const wanted = new Set<string>();
  const makers = new Set<Node>();
  for (const node of graph.nodes.toReversed()) {
    for (const index of weightInputs[node.op] ?? []) if (node.inputs[index]) wanted.add(node.inputs[index]);
    if (!candidates.has(node) || !writesOf(node).some((output) => wanted.has(output))) continue;
    makers.add(node);
    for (const input of readsOf(node)) wanted.add(input);
  }
  return makers;
}

interface Wave {
  /** In order; every value that they read is a constant or made by an earlier one. */
  readonly nodes: readonly Node[];
  /** What nodes outside the wave, or the graph, need of it. */
  readonly needed: readonly string[];
}

/** Values of sequence and optional types never leave ONNX Runtime. */
function isTensorOperator(node: Node): boolean {
  return !/Sequence|Optional/.test(node.op);
}

function findWave(graph: Graph, options: NormaliseOptions, refused: ReadonlySet<string>): Wave {
  const known = new Set(graph.constants.keys());
  const candidates = new Set<Node>();
  for (const node of graph.nodes) {
    const sizes = foldShape(graph, node) !== undefined;
    if (!sizes && !readsOf(node).every((value) => known.has(value))) continue;
    if (refused.has(node.name) || isKept(node, options) || !isDeterministic(node) || !isTensorOperator(node)) continue;
    candidates.add(node);
    for (const output of writesOf(node)) known.add(output);
  }
  const makers = weightMakers(graph, candidates);
  const made = new Set<string>();
  const nodes = [...candidates].filter((node) => {
    const inWave = foldShape(graph, node) !== undefined || readsOf(node).every((value) => graph.constants.has(value) || made.has(value));
    const folds = inWave && bytesOf(graph, writesOf(node)) <= sizeLimit(graph, node, makers, options);
    if (folds) for (const output of writesOf(node)) made.add(output);
    return folds;
  });
  const inWave = new Set(nodes);
  const used = new Set(graph.outputs);
  for (const node of graph.nodes) if (!inWave.has(node)) for (const value of readsOf(node)) used.add(value);
  return { nodes, needed: nodes.flatMap(writesOf).filter((output) => used.has(output)) };
}

/** Up to how many bytes of results a constant node folds. */
function sizeLimit(graph: Graph, node: Node, makers: ReadonlySet<Node>, options: NormaliseOptions): number {
  if (makers.has(node)) return MAX_BYTES;
  const usual = Math.max(SMALL_BYTES, GROWTH * bytesOf(graph, readsOf(node)));
  const size = bytesOf(graph, writesOf(node));
  const isHostOnly = size > usual && size <= HOST_ONLY_BYTES && !options.operators.runsOnNeuron(graph, node);
  return isHostOnly ? HOST_ONLY_BYTES : usual;
}

/** Bytes of the values of known size among some. */
function bytesOf(graph: Graph, values: readonly string[]): number {
  return values.reduce((sum, value) => sum + (byteLength(graph.types.get(value)) ?? 0), 0);
}

/** The nodes as a graph of their own, and the large constants to hand it as inputs. */
function extract(graph: Graph, nodes: readonly Node[], needed: readonly string[]): { part: Graph; inputs: Map<string, Tensor> } {
  const constants = new Map<string, Tensor>();
  const inputs = new Map<string, Tensor>();
  for (const value of new Set(nodes.flatMap(readsOf))) {
    const tensor = graph.constants.get(value);
    if (tensor === undefined) continue;
    const inside = elementCount(tensor.shape) * bytesPerElement[tensor.dtype] <= INLINE_BYTES;
    (inside ? constants : inputs).set(value, tensor);
  }
  const types = new Map<string, TensorType>();
  for (const [name, { dtype, shape }] of [...constants, ...inputs]) types.set(name, { dtype, shape });
  for (const value of nodes.flatMap(writesOf)) {
    const type = graph.types.get(value);
    if (type) types.set(value, type);
  }
  const part: Graph = { name: "constants", inputs: [...inputs.keys()], outputs: needed, nodes, types, constants };
  return { part: withoutDead(part), inputs };
}

/** Runs the nodes on the host, all at once; if that fails, one by one, and says which ones are refused. */
async function evaluateOnHost(graph: Graph, wave: Wave, options: NormaliseOptions, refused: Set<string>): Promise<Map<string, Tensor>> {
  if (wave.needed.length === 0) return new Map();
  const { part, inputs } = extract(graph, wave.nodes, wave.needed);
  try {
    return await options.evaluate(part, inputs);
  } catch (fault) {
    // Below it shows which node it was.
    if (!(fault instanceof UserError)) throw fault;
  }
  const results = new Map<string, Tensor>();
  const constants = new Map(graph.constants);
  for (const node of wave.nodes) {
    if (!readsOf(node).every((value) => constants.has(value))) continue;
    const single = extract({ ...graph, constants }, [node], writesOf(node));
    try {
      for (const [name, tensor] of await options.evaluate(single.part, single.inputs)) {
        constants.set(name, tensor);
        results.set(name, tensor);
      }
    } catch (fault) {
      if (!(fault instanceof UserError)) throw fault;
      refused.add(node.name);
    }
  }
  return results;
}

/** One wave: the values that became known. */
async function foldWave(graph: Graph, options: NormaliseOptions, refused: Set<string>): Promise<Map<string, Tensor>> {
  const { nodes, needed } = findWave(graph, options, refused);
  const values = new Map<string, Tensor>();
  const rest: Node[] = [];
  for (const node of nodes) {
    const tensor = foldShape(graph, node) ?? foldFill(graph, node);
    if (tensor) values.set(node.outputs[0], tensor);
    else rest.push(node);
  }
  const constants = new Map([...graph.constants, ...values]);
  const made = new Set(rest.flatMap(writesOf));
  const wave = { nodes: rest, needed: needed.filter((value) => made.has(value)) };
  for (const [name, tensor] of await evaluateOnHost({ ...graph, constants }, wave, options, refused)) values.set(name, tensor);
  return values;
}

/** The graph with values that became known. A graph output may be one: it then is a constant. */
function withConstants(graph: Graph, values: ReadonlyMap<string, Tensor>): Graph {
  const constants = new Map([...graph.constants, ...values]);
  const types = new Map(graph.types);
  for (const [name, { dtype, shape }] of values) types.set(name, { dtype, shape });
  // All that is used of a folded node is known.
  const nodes = graph.nodes.filter((node) => !node.outputs.some((output) => values.has(output)));
  return withoutDead({ ...graph, nodes, constants, types });
}

/**
 * The fold pass: constant subgraphs and values without elements become constants and `If` nodes with a constant condition their branch, with types inferred
 * anew. Random operators, kept ones and what ONNX Runtime refuses stay; so does a value much larger than its inputs that is
 * no contraction's weight and that a NeuronCore can compute.
 */
export async function fold(graph: Graph, options: NormaliseOptions): Promise<Graph> {
  const refused = new Set<string>();
  let current = graph;
  for (let wave = 0; wave < MAX_WAVES; wave++) {
    const before = current;
    const inlined = inlineConstantIfs(before, options);
    if (inlined !== before) current = options.operators.inferTypes(inlined);
    current = withoutEmpty(current, options);
    const values = await foldWave(current, options, refused);
    // An inlined branch may have made other conditions known.
    if (values.size === 0 && inlined === before) break;
    current = options.operators.inferTypes(withConstants(current, values));
  }
  return current;
}
