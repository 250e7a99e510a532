/**
 * Cuts a graph into consecutive stages, one a device, so that the slowest stage is as fast as can be. Dynamic programming over downsets:
 * every split into stages with transfers in one direction only is a chain of them (Tarnawski et al., "Efficient Algorithms for Device
 * Placement of DNN Graph Operators", 2020).
 */
import { type Border, borderOf, bytesBeyond, type CutNode, type CutProblem, contains, crossingTotal, ownTime } from "./borders.js";
import { cutOverChips } from "./chips.js";
import { allDownsets, downsetsOfOneOrder, has } from "./downsets.js";

export type { CutNode, CutProblem } from "./borders.js";

export interface Cut {
  /** Time of the slowest stage. */
  readonly value: number;
  /** No cut is faster. */
  readonly bound: number;
  /** Nodes of each stage, in order; at most one stage a device, none empty. */
  readonly stages: readonly (readonly number[])[];
}

/** More downsets than that are not searched completely. */
const maximumDownsets = 4000;

interface Choice {
  readonly value: number;
  /** Index of the border where the last stage begins. */
  readonly from: number;
}

/** The fastest cut, or the fastest along one order of the nodes where the graph has too many. Undefined if no cut fits. Throws on a cyclic graph. */
export function cut(problem: CutProblem): Cut | undefined {
  const simple = downsetsOfOneOrder(problem);
  if (!simple) throw new Error("the graph has a cycle");
  const every = allDownsets(problem, maximumDownsets);
  const quick = cutAlong(
    problem,
    simple.map((set) => borderOf(problem, set)),
    Number.POSITIVE_INFINITY,
  );
  if (!every) return quick && { ...quick, bound: Math.min(quick.bound, lowerBound(problem)) };
  return cutAlong(
    problem,
    every.map((set) => borderOf(problem, set)),
    quick?.value ?? Number.POSITIVE_INFINITY,
  );
}

function lowerBound(problem: CutProblem): number {
  const { nodes, devices, capacity } = problem;
  const total = (of: (node: CutNode) => number) => nodes.reduce((sum, node) => sum + of(node), 0);
  const share = ownTime(problem, total((node) => node.work) / devices, total((node) => node.size) / devices - capacity);
  return nodes.reduce((most, { work, size }) => Math.max(most, ownTime(problem, work, size - capacity)), share);
}

/** The fastest cut along some borders, if there is one of at most `limit`; no faster one lies along them than its bound. */
function cutAlong(problem: CutProblem, borders: readonly Border[], limit: number): Cut | undefined {
  const alone = search(problem, borders, limit);
  if (!alone) return undefined;
  const { value, bound, chain } = problem.chips ? cutOverChips(problem, problem.chips, borders, alone) : { ...alone, bound: alone.value };
  const stages = chain.slice(1).map((end, index) => {
    const [from, to] = [borders[chain[index]].set, borders[end].set];
    return [...problem.nodes.keys()].filter((node) => has(to, node) && !has(from, node));
  });
  return { value, bound, stages };
}

/** The fastest chain of borders, chips not counted. */
function search(problem: CutProblem, borders: readonly Border[], limit: number): { value: number; chain: number[] } | undefined {
  const { devices } = problem;
  // best[k][i]: the first k devices run the nodes of border i.
  const best = Array.from({ length: devices + 1 }, () => new Array<Choice | undefined>(borders.length).fill(undefined));
  best[0][0] = { value: 0, from: -1 };
  for (const [start, from] of borders.entries()) {
    const open = best.flatMap((row, used) => (used < devices && row[start] ? [used] : []));
    if (open.length === 0) continue;
    for (let end = start + 1; end < borders.length; end++) {
      const to = borders[end];
      if (to.work - from.work > limit || !contains(to, from)) continue;
      const own = ownTime(problem, to.work - from.work, bytesBeyond(problem, from, to));
      if (own === Number.POSITIVE_INFINITY || own > limit) continue;
      const cost = own + crossingTotal(problem, from, to, (node) => node.transfer);
      if (cost > limit) continue;
      for (const used of open) {
        const value = Math.max(best[used][start]?.value ?? 0, cost);
        if (value < (best[used + 1][end]?.value ?? Number.POSITIVE_INFINITY)) best[used + 1][end] = { value, from: start };
      }
    }
  }
  const last = borders.length - 1;
  const used = best.reduce((least, row, k) => ((row[last]?.value ?? Infinity) < (best[least][last]?.value ?? Infinity) ? k : least), 0);
  const value = best[used][last]?.value;
  if (value === undefined) return undefined;
  const chain = [last];
  for (let k = used; k > 0; k--) chain.unshift(best[k][chain[0]]?.from ?? 0);
  return { value, chain };
}
