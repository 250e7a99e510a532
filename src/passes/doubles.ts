/**
 * Float64 between narrower floats, as some exporters write the statistics of an FP16 normalisation: Cast to float64, arithmetic, Cast back.
 * No NeuronCore has float64, and what comes from narrower floats and goes back to them needs no more than FP32 holds: it is computed in FP32.
 * Float64 that a user gives or gets, or that comes from integers, stays what it is.
 */
import { type Graph, intAttribute, type Node } from "../graph/graph.js";
import { type DType, fromNumbers, toNumbers } from "../graph/tensor.js";
import { isKept, type NormaliseOptions } from "./options.js";
import { readsOf, writesOf } from "./values.js";

const narrower: ReadonlySet<DType> = new Set(["float16", "bfloat16", "float32"]);
/** ONNX's number of float32. */
const FLOAT32 = 1;

/** Float64 values that meet in a node, by one of them; and whether they may change their type. */
class Islands {
  private readonly parents = new Map<string, string>();
  private readonly refused = new Set<string>();

  private rootOf(value: string): string {
    let root = value;
    for (let parent = this.parents.get(root); parent !== undefined; parent = this.parents.get(root)) root = parent;
    if (root !== value) this.parents.set(value, root);
    return root;
  }

  join(values: readonly string[], allowed: boolean): void {
    const roots = [...new Set(values.map((value) => this.rootOf(value)))];
    for (const root of roots.slice(1)) this.parents.set(root, roots[0]);
    if (roots.length > 0 && (!allowed || roots.some((root) => this.refused.has(root)))) this.refused.add(roots[0]);
  }

  mayNarrow(value: string): boolean {
    return !this.refused.has(this.rootOf(value));
  }
}

/** The doubles pass. */
export function narrowDoubles(graph: Graph, options: Pick<NormaliseOptions, "keep">): Graph {
  const dtypeOf = (value: string): DType | undefined => graph.types.get(value)?.dtype;
  const isDouble = (value: string): boolean => dtypeOf(value) === "float64";
  if (!graph.nodes.some((node) => writesOf(node).some(isDouble))) return graph;

  const islands = new Islands();
  islands.join([...graph.inputs, ...graph.outputs].filter(isDouble), false);
  const isPlain = (node: Node): boolean =>
    node.domain === "" &&
    !isKept(node, options) &&
    Object.values(node.attributes).every(({ type }) => type !== "graph" && type !== "tensor");
  for (const node of graph.nodes) {
    const [reads, writes] = [readsOf(node), writesOf(node)];
    const doubles = [...reads, ...writes].filter(isDouble);
    const other = dtypeOf(isDouble(reads[0]) ? writes[0] : reads[0]) ?? "float64";
    const isArithmetic = writes.every(isDouble) && reads.every((read) => isDouble(read) || graph.constants.has(read));
    islands.join(doubles, isPlain(node) && (node.op === "Cast" ? narrower.has(other) : isArithmetic));
  }
  for (const [name, tensor] of graph.constants) {
    if (tensor.dtype === "float64")
      islands.join(
        [name],
        toNumbers(tensor).every((value) => Number.isFinite(Math.fround(value)) || !Number.isFinite(value)),
      );
  }

  const narrowed = (value: string): boolean => isDouble(value) && islands.mayNarrow(value);
  const constants = new Map(graph.constants);
  for (const [name, tensor] of graph.constants) {
    if (narrowed(name)) constants.set(name, fromNumbers("float32", tensor.shape, toNumbers(tensor)));
  }
  const types = new Map([...graph.types].map(([name, type]) => [name, narrowed(name) ? { ...type, dtype: "float32" as const } : type]));
  const nodes = graph.nodes.map((node) => {
    const turned = node.op === "Cast" && narrowed(node.outputs[0]) && intAttribute(node.attributes, "to", FLOAT32) !== FLOAT32;
    return turned ? { ...node, attributes: { ...node.attributes, to: { type: "int" as const, value: FLOAT32 } } } : node;
  });
  return { ...graph, nodes, constants, types };
}
