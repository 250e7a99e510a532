/** Borders between stages, and what the stage between two of them costs. */
import { type Dag, has, type NodeSet } from "./downsets.js";

export interface CutNode {
  /** Time of its computation. */
  readonly work: number;
  /** Bytes that it keeps on its device. */
  readonly size: number;
  /** Bytes that it needs beside that while it runs; 0 if absent. */
  readonly live?: number;
  /** Time to move its output between two devices: both pay it, once for a node and device. */
  readonly transfer: number;
  /** Time for which that occupies the memory of each one's chip; 0 if absent. */
  readonly traffic?: number;
  /** Time for which its output occupies a link between two chips; 0 if absent. */
  readonly hop?: number;
}

/** The chips of a chain of devices: the devices of one share its memory, and a link leads to the next one. */
export interface Chips {
  /** Devices of each. */
  readonly devices: number;
  /** Time for which a byte beyond a device's capacity occupies the chip's memory. */
  readonly excess: number;
}

export interface CutProblem extends Dag {
  readonly nodes: readonly CutNode[];
  readonly devices: number;
  /** Bytes that a device can keep. */
  readonly capacity: number;
  /** Bytes that it has for what it keeps and what runs beside; without limit if absent. */
  readonly room?: number;
  /** The same of one that does not keep all: what passes through needs memory as well. As `room` if absent. */
  readonly streamingRoom?: number;
  /** Time of the device for each byte beyond that; infinite if absent. */
  readonly excess?: number;
  /** All devices are in one chip of boundless memory if absent. */
  readonly chips?: Chips;
}

/** A downset with what its use as a border costs. */
export interface Border {
  readonly set: NodeSet;
  /** The members and what their outputs go to. */
  readonly reach: NodeSet;
  readonly work: number;
  readonly size: number;
  /** The most that a member needs while it runs. */
  readonly live: number;
  /** Members whose output goes outside. */
  readonly crossing: readonly number[];
  /** Time to move their outputs, once each. */
  readonly transfer: number;
  /** Time for which their outputs occupy a link that lies here. */
  readonly link: number;
}

export function borderOf({ nodes, successors }: CutProblem, set: NodeSet): Border {
  const members = [...nodes.keys()].filter((node) => has(set, node));
  const crossing = members.filter((node) => successors[node].some((target) => !has(set, target)));
  const sum = (list: readonly number[], of: (node: CutNode) => number) => list.reduce((total, node) => total + of(nodes[node]), 0);
  const reach = set.slice();
  for (const node of crossing) for (const target of successors[node]) reach[target >>> 5] |= 1 << (target & 31);
  return {
    set,
    reach,
    work: sum(members, (node) => node.work),
    size: sum(members, (node) => node.size),
    live: members.reduce((most, node) => Math.max(most, nodes[node].live ?? 0), 0),
    crossing,
    transfer: sum(crossing, (node) => node.transfer),
    link: sum(crossing, (node) => node.hop ?? 0),
  };
}

function isWithin(smaller: NodeSet, larger: NodeSet): boolean {
  for (let index = 0; index < smaller.length; index++) if ((smaller[index] & ~larger[index]) !== 0) return false;
  return true;
}

/** Whether a stage can lie between two borders. */
export function contains(larger: Border, smaller: Border): boolean {
  return isWithin(smaller.set, larger.set);
}

/** Time of a device for so much work and so many bytes beyond its capacity, without what crosses its borders. */
export function ownTime({ excess = Number.POSITIVE_INFINITY }: CutProblem, work: number, beyond: number): number {
  return beyond > 0 ? work + beyond * excess : work;
}

/** How often what lives beside the kept bytes, but finds no room there, is moved. */
const USES = 16;

/** Whether a device keeps all that the nodes of the stage between two borders want to keep. */
export function keepsAll({ capacity }: CutProblem, from: Border, to: Border): boolean {
  return to.size - from.size <= capacity;
}

/** Bytes of the stage between two borders beyond its device's capacity. */
export function bytesBeyond(problem: CutProblem, from: Border, to: Border): number {
  const kept = to.size - from.size;
  const { capacity, room = Number.POSITIVE_INFINITY, streamingRoom = room } = problem;
  const limit = keepsAll(problem, from, to) ? room : streamingRoom;
  if (kept === 0 || (kept <= capacity && kept + to.live <= limit)) return 0;
  const live = to.live === 0 ? 0 : liveBytes(problem, from, to);
  const crowded = kept + live - limit;
  return Math.max(0, kept - capacity, keepsAll(problem, from, to) ? USES * crowded : crowded);
}

/** The most that a node of the stage needs while it runs. */
function liveBytes({ nodes }: CutProblem, from: Border, to: Border): number {
  const most = byLive(nodes).find((node) => has(to.set, node) && !has(from.set, node));
  return most === undefined ? 0 : (nodes[most].live ?? 0);
}

const orders = new WeakMap<readonly CutNode[], readonly number[]>();

/** The nodes, those first that need most while they run. */
function byLive(nodes: readonly CutNode[]): readonly number[] {
  let order = orders.get(nodes);
  if (!order) {
    order = [...nodes.keys()].sort((a, b) => (nodes[b].live ?? 0) - (nodes[a].live ?? 0));
    orders.set(nodes, order);
  }
  return order;
}

/** Time to move what comes into the stage between two borders and what goes out of it. */
export function transferBetween(problem: CutProblem, from: Border, to: Border): number {
  // Nothing crosses both borders: most pairs are told by that without a look at their nodes.
  return isWithin(from.reach, to.set) ? from.transfer + to.transfer : crossingTotal(problem, from, to, (node) => node.transfer);
}

/** No `transferBetween` two borders is less: what crosses both of them counts in neither. */
export const leastTransfer = (from: Border, to: Border) => Math.abs(from.transfer - to.transfer);

/** What comes into the stage between two borders and what goes out of it, added up by `of`. */
export function crossingTotal({ nodes, successors }: CutProblem, from: Border, to: Border, of: (node: CutNode) => number): number {
  let total = 0;
  for (const node of from.crossing) {
    if (successors[node].some((target) => has(to.set, target) && !has(from.set, target))) total += of(nodes[node]);
  }
  for (const node of to.crossing) if (!has(from.set, node)) total += of(nodes[node]);
  return total;
}
