/**
 * Cuts a graph into consecutive stages, one a device, so that the slowest stage is as fast as can be. Dynamic programming over downsets:
 * every split into stages with transfers in one direction only is a chain of them (Tarnawski et al., "Efficient Algorithms for Device
 * Placement of DNN Graph Operators", 2020).
 */
import { seeded } from "../graph/random.js";
import { borderOf, type CutProblem } from "./borders.js";
import { cutOverChips } from "./chips.js";
import { allDownsets, downsetsOfOneOrder, has, type NodeSet, sizeOf } from "./downsets.js";
import { fastestChain, lowerBound } from "./search.js";

export type { CutNode, CutProblem } from "./borders.js";

export interface Cut {
  /** Time of the slowest stage. */
  readonly value: number;
  /** No cut is faster. */
  readonly bound: number;
  /** Nodes of each stage, in order; at most one stage a device, none empty. */
  readonly stages: readonly (readonly number[])[];
}

/** More downsets than that are not searched completely; where chips count, every possible stage is kept, and the limit is lower. */
const MOST_DOWNSETS = { alone: 100_000, chips: 4000 };

/** Orders of the nodes that are tried where there are more: at most so many, and fewer where the search along each takes long. */
const MOST_ORDERS = 40;
const ORDER_WORK = 8e6;

/** The fastest cut, or the fastest along some orders of the nodes where the graph has too many. Undefined if no cut fits. Throws on a cyclic graph. */
export function cut(problem: CutProblem): Cut | undefined {
  const simple = downsetsOfOneOrder(problem);
  if (!simple) throw new Error("the graph has a cycle");
  const every = allDownsets(problem, problem.chips ? MOST_DOWNSETS.chips : MOST_DOWNSETS.alone);
  const quick = cutAlong(problem, simple, Number.POSITIVE_INFINITY);
  if (!every) return quick && { ...(problem.chips ? quick : improved(problem, quick)), bound: Math.min(quick.bound, lowerBound(problem)) };
  return cutAlong(problem, every, quick?.value ?? Number.POSITIVE_INFINITY);
}

/** The fastest cut along the borders of more orders of the nodes, each time with those of the fastest one so far. */
function improved(problem: CutProblem, start: Cut): Cut {
  const count = problem.nodes.length;
  let best = start;
  const random = seeded(1);
  for (let orders = Math.min(MOST_ORDERS, ORDER_WORK / count ** 2); orders >= 1; orders--) {
    const share = random();
    const choose = (ready: number) => (random() < share ? Math.floor(random() * ready) : ready - 1);
    const sets = downsetsOfOneOrder(problem, choose) ?? [];
    const found = cutAlong(
      problem,
      [...sets, ...bordersOf(best, count)].sort((a, b) => sizeOf(a) - sizeOf(b)),
      best.value,
    );
    if (found && found.value < best.value) best = found;
  }
  return best;
}

/** The borders between a cut's stages. */
function bordersOf({ stages }: Cut, count: number): NodeSet[] {
  const set = new Uint32Array((count + 31) >>> 5);
  return stages.slice(0, -1).map((stage) => {
    for (const node of stage) set[node >>> 5] |= 1 << (node & 31);
    return set.slice();
  });
}

/** The fastest cut along the borders of some downsets, if there is one of at most `limit`; no faster one lies along them than its bound. */
function cutAlong(problem: CutProblem, downsets: readonly NodeSet[], limit: number): Cut | undefined {
  const borders = downsets.map((set) => borderOf(problem, set)).sort((a, b) => a.work - b.work);
  const alone = fastestChain(problem, borders, limit);
  if (!alone) return undefined;
  const { value, bound, chain } = problem.chips ? cutOverChips(problem, problem.chips, borders, alone) : { ...alone, bound: alone.value };
  const stages = chain.slice(1).map((end, index) => {
    const [from, to] = [borders[chain[index]].set, borders[end].set];
    return [...problem.nodes.keys()].filter((node) => has(to, node) && !has(from, node));
  });
  return { value, bound, stages };
}
