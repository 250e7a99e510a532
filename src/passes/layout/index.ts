/** The layout pass: transposes go where they cost least, which in an imported channels-last network is nowhere but at its borders. */
import type { Graph } from "../../graph/graph.js";
import type { NormaliseOptions } from "../options.js";
import { withoutDead } from "../values.js";
import { applyOrders } from "./apply.js";
import { chooseOrders } from "./choose.js";
import { LayoutProblem } from "./problem.js";

/** The graph with as few bytes transposed as the rules of `axes.ts` allow. Inputs and outputs keep their order of axes. */
export function cancelTransposes(graph: Graph, options: Pick<NormaliseOptions, "keep">): Graph {
  if (!graph.nodes.some((node) => node.op === "Transpose")) return graph;
  const problem = new LayoutProblem(withoutDead(graph), options);
  return withoutDead(applyOrders(problem, chooseOrders(problem)));
}
