/**
 * Cuts a graph into consecutive stages, one a device, so that the slowest stage is as fast as can be. Dynamic programming over downsets:
 * every split into stages with transfers in one direction only is a chain of them (Tarnawski et al., "Efficient Algorithms for Device
 * Placement of DNN Graph Operators", 2020).
 */
import { allDownsets, type Dag, downsetsOfOneOrder, has, type NodeSet } from "./downsets.js";

export interface CutNode {
  /** Time of its computation. */
  readonly work: number;
  /** Bytes that it keeps on its device. */
  readonly size: number;
  /** Time to move its output between two devices: both pay it, once for a node and device. */
  readonly transfer: number;
}

export interface CutProblem extends Dag {
  readonly nodes: readonly CutNode[];
  readonly devices: number;
  /** Bytes that a device holds. */
  readonly capacity: number;
}

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

/** A downset with what its use as a border costs. */
interface Border {
  readonly set: NodeSet;
  readonly work: number;
  readonly size: number;
  /** Members whose output goes outside. */
  readonly crossing: readonly number[];
}

interface Choice {
  readonly value: number;
  /** Index of the border where the last stage begins. */
  readonly from: number;
}

/** The fastest cut, or the fastest along one order of the nodes where the graph has too many. Undefined if no cut fits. Throws on a cyclic graph. */
export function cut(problem: CutProblem): Cut | undefined {
  const simple = downsetsOfOneOrder(problem);
  if (!simple) throw new Error("the graph has a cycle");
  const quick = search(problem, simple, Number.POSITIVE_INFINITY);
  const every = allDownsets(problem, maximumDownsets);
  const best = every ? search(problem, every, quick?.value ?? Number.POSITIVE_INFINITY) : quick;
  return best && { ...best, bound: every ? best.value : lowerBound(problem) };
}

function lowerBound({ nodes, devices }: CutProblem): number {
  const work = nodes.map((node) => node.work);
  return Math.max(work.reduce((a, b) => a + b, 0) / devices, ...work);
}

function search(problem: CutProblem, sets: readonly NodeSet[], limit: number): Pick<Cut, "value" | "stages"> | undefined {
  const { nodes, devices, capacity } = problem;
  const borders = sets.map((set) => borderOf(problem, set));
  // best[k][i]: the first k devices run the nodes of border i.
  const best = Array.from({ length: devices + 1 }, () => new Array<Choice | undefined>(sets.length).fill(undefined));
  best[0][0] = { value: 0, from: -1 };
  for (const [start, from] of borders.entries()) {
    const open = best.flatMap((row, used) => (used < devices && row[start] ? [used] : []));
    if (open.length === 0) continue;
    for (let end = start + 1; end < borders.length; end++) {
      const to = borders[end];
      if (to.work - from.work > limit || to.size - from.size > capacity || !contains(to.set, from.set)) continue;
      const cost = to.work - from.work + transfers(problem, from, to);
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
  const stages: number[][] = [];
  for (let k = used, end = last; k > 0; k--) {
    const from = best[k][end]?.from ?? 0;
    stages.unshift([...nodes.keys()].filter((node) => has(sets[end], node) && !has(sets[from], node)));
    end = from;
  }
  return { value, stages };
}

function borderOf({ nodes, successors }: CutProblem, set: NodeSet): Border {
  const members = [...nodes.keys()].filter((node) => has(set, node));
  return {
    set,
    work: members.reduce((sum, node) => sum + nodes[node].work, 0),
    size: members.reduce((sum, node) => sum + nodes[node].size, 0),
    crossing: members.filter((node) => successors[node].some((target) => !has(set, target))),
  };
}

function contains(larger: NodeSet, smaller: NodeSet): boolean {
  return smaller.every((word, index) => (word & ~larger[index]) === 0);
}

/** Time that the stage between two borders spends on what comes in and what goes out. */
function transfers({ nodes, successors }: CutProblem, from: Border, to: Border): number {
  let time = 0;
  for (const node of from.crossing) {
    if (successors[node].some((target) => has(to.set, target) && !has(from.set, target))) time += nodes[node].transfer;
  }
  for (const node of to.crossing) if (!has(from.set, node)) time += nodes[node].transfer;
  return time;
}
