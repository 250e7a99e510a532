/** Values whose least difference counts. */
import { type Graph, indexGraph, type Node } from "../graph/graph.js";
import { recordOf } from "../operators/index.js";
import { loweringTraits, makesIntegers } from "../operators/traits.js";

const comparisons: ReadonlySet<string> = new Set(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]);
/** Operators that hand elements on as they are. */
const selections: ReadonlySet<string> = new Set(["Max", "Min", "ReduceMax", "ReduceMin"]);

/**
 * Values that are compared, as they are or as the elements of others: two roundings of one number would not be equal, and the place of a
 * maximum would be nowhere.
 */
export function comparedValues(graph: Graph): ReadonlySet<string> {
  const { producer } = indexGraph(graph);
  const found = new Set<string>();
  const pending = graph.nodes.flatMap((node) => {
    const inEpilogue = node.epilogue?.some(({ op }) => comparisons.has(op)) ?? false;
    return comparisons.has(node.op) || inEpilogue ? [...node.inputs] : [];
  });
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === "" || found.has(name)) continue;
    found.add(name);
    const maker = producer.get(name);
    if (maker === undefined) continue;
    const moves = recordOf(maker.op, maker.domain)?.lowering?.kind === "movement";
    if (moves || selections.has(maker.op)) pending.push(...maker.inputs);
  }
  return found;
}

/** Values that become integers, and all that they are computed from up to the next matmults: a rounding would make another integer of some. */
export function countedValues(graph: Graph): ReadonlySet<string> {
  const found = new Set<string>();
  for (const node of graph.nodes.toReversed()) {
    if (!makesIntegers(node) && !node.outputs.some((output) => found.has(output))) continue;
    const record = recordOf(node.op, node.domain);
    const reading = (index: number) =>
      record?.lowering && index < record.maxInputs ? loweringTraits[record.lowering.kind].reading(index) : "converted";
    for (const [index, input] of node.inputs.entries()) if (input !== "" && reading(index) !== "matmult") found.add(input);
  }
  return found;
}

/** Both kinds, of graphs that follow one another: what one makes, a later one may compare. */
export function exactValues(graphs: readonly Graph[]): ReadonlySet<string> {
  const [first] = graphs;
  const nodes: readonly Node[] = graphs.flatMap((graph) => graph.nodes);
  const whole: Graph = { ...first, nodes };
  return new Set([...comparedValues(whole), ...countedValues(whole)]);
}
