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
  /** Time for which its output occupies a link between two chips; 0 if absent. */
  readonly hop?: number;
}

export interface CutProblem extends Dag {
  readonly nodes: readonly CutNode[];
  readonly devices: number;
  /** Bytes that a device holds. */
  readonly capacity: number;
  /** Time for each byte beyond that, while the device computes; infinite if absent. */
  readonly excess?: number;
  /** Devices form a chain of chips of so many each. Between chips the outputs that are wanted further on pass a link; no links if absent. */
  readonly devicesPerChip?: number;
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
  /** Time for which their outputs occupy a link that lies here. */
  readonly link: number;
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

function lowerBound(problem: CutProblem): number {
  const { nodes, devices } = problem;
  const total = (of: (node: CutNode) => number) => nodes.reduce((sum, node) => sum + of(node), 0);
  const share = alone(problem, total((node) => node.work) / devices, total((node) => node.size) / devices);
  return nodes.reduce((most, { work, size }) => Math.max(most, alone(problem, work, size)), share);
}

/** Time of a device for its own work: weights that it can't hold stream past meanwhile. */
function alone({ capacity, excess = Number.POSITIVE_INFINITY }: CutProblem, work: number, size: number): number {
  return size <= capacity ? work : Math.max(work, (size - capacity) * excess);
}

function search(problem: CutProblem, sets: readonly NodeSet[], limit: number): Pick<Cut, "value" | "stages"> | undefined {
  const { nodes, devices, devicesPerChip = Number.POSITIVE_INFINITY } = problem;
  const borders = sets.map((set) => borderOf(problem, set));
  // best[k][i]: the first k devices run the nodes of border i.
  const best = Array.from({ length: devices + 1 }, () => new Array<Choice | undefined>(sets.length).fill(undefined));
  best[0][0] = { value: 0, from: -1 };
  for (const [start, from] of borders.entries()) {
    const open = best.flatMap((row, used) => (used < devices && row[start] ? [used] : []));
    if (open.length === 0) continue;
    for (let end = start + 1; end < borders.length; end++) {
      const to = borders[end];
      const own = alone(problem, to.work - from.work, to.size - from.size);
      if (own === Number.POSITIVE_INFINITY || own > limit || !contains(to.set, from.set)) continue;
      const cost = own + transfers(problem, from, to);
      if (cost > limit) continue;
      for (const used of open) {
        const link = (used + 1) % devicesPerChip === 0 ? to.link : 0;
        const value = Math.max(best[used][start]?.value ?? 0, cost, link);
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
  const crossing = members.filter((node) => successors[node].some((target) => !has(set, target)));
  return {
    set,
    work: members.reduce((sum, node) => sum + nodes[node].work, 0),
    size: members.reduce((sum, node) => sum + nodes[node].size, 0),
    crossing,
    link: crossing.reduce((sum, node) => sum + (nodes[node].hop ?? 0), 0),
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
