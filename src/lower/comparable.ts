/** Values whose least difference counts. */
import { type Graph, indexGraph } from "../graph/graph.js";
import { recordOf } from "../operators/index.js";

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
