/**
 * Groups by waves. Groups in a topological order of an acyclic quotient can be merged with a neighbour of the same device, so a least
 * partition is a sequence of waves whose devices alternate. A path that changes to Neuron k times needs k Neuron groups, and giving each
 * node the first wave that its predecessors allow needs no more: the number of Neuron groups is the least there is, in linear time.
 * The first wave's device is tried both ways, which leaves the least number of CPU groups too. The tests compare with brute force.
 */
import type { Dag, Edge } from "./dag.js";

/** The wave of each node. A wave has one device; those that hold nodes are the groups. */
export type Waves = Int32Array;

/** Values used by more nodes than this are left out of the choice between waves: its cost is quadratic in the uses. */
const MANY_USES = 32;

/** A wave for each node, such that every value goes from an earlier wave to a later one or stays in one; few bytes cross where waves are free. */
export function assignWaves(dag: Dag, onNeuron: readonly boolean[]): Waves {
  const candidates = [earliestWaves(dag, onNeuron, false), earliestWaves(dag, onNeuron, true)];
  const [waves] = candidates.sort(
    (a, b) =>
      countGroups(a, onNeuron, true) - countGroups(b, onNeuron, true) || countGroups(a, onNeuron, false) - countGroups(b, onNeuron, false),
  );
  const last = waves.reduce((most, wave) => Math.max(most, wave), 0);
  for (let node = dag.count - 1; node >= 0; node--) settle(dag, onNeuron, waves, node, last, true);
  for (let node = 0; node < dag.count; node++) settle(dag, onNeuron, waves, node, last, false);
  return waves;
}

function earliestWaves(dag: Dag, onNeuron: readonly boolean[], neuronFirst: boolean): Waves {
  const waves = new Int32Array(dag.count);
  for (let node = 0; node < dag.count; node++)
    waves[node] = Math.max(onNeuron[node] === neuronFirst ? 0 : 1, earliest(dag, onNeuron, waves, node));
  return waves;
}

function earliest(dag: Dag, onNeuron: readonly boolean[], waves: Waves, node: number): number {
  let wave = 0;
  for (const { producer } of dag.reads[node]) {
    if (producer >= 0) wave = Math.max(wave, waves[producer] + (onNeuron[producer] === onNeuron[node] ? 0 : 1));
  }
  return wave;
}

function latest(dag: Dag, onNeuron: readonly boolean[], waves: Waves, node: number, last: number): number {
  let wave = last;
  for (const { consumers } of dag.writes[node]) {
    for (const consumer of consumers) wave = Math.min(wave, waves[consumer] - (onNeuron[consumer] === onNeuron[node] ? 0 : 1));
  }
  return wave;
}

function countGroups(waves: Waves, onNeuron: readonly boolean[], neuron: boolean): number {
  const groups = new Set<number>();
  for (let node = 0; node < waves.length; node++) if (onNeuron[node] === neuron) groups.add(waves[node]);
  return groups.size;
}

/** Moves a node that may be in several waves to that neighbour's wave where the fewest bytes cross; ties go later, or stay. */
function settle(dag: Dag, onNeuron: readonly boolean[], waves: Waves, node: number, last: number, tiesGoLater: boolean): void {
  const low = earliest(dag, onNeuron, waves, node);
  const high = latest(dag, onNeuron, waves, node, last);
  if (high - low < 2) return;
  const own = waves[node];
  const touched = [...dag.reads[node], ...dag.writes[node]].filter((edge) => edge.consumers.length <= MANY_USES);
  const choices = new Set<number>();
  for (const edge of touched) {
    for (const other of [edge.producer, ...edge.consumers]) {
      if (other >= 0 && onNeuron[other] === onNeuron[node] && waves[other] >= low && waves[other] <= high) choices.add(waves[other]);
    }
  }
  choices.delete(own);
  let best = own;
  let least = crossingBytes(touched, waves);
  for (const wave of [...choices].sort((a, b) => a - b)) {
    waves[node] = wave;
    const bytes = crossingBytes(touched, waves);
    if (bytes < least || (bytes === least && tiesGoLater && wave > best)) [best, least] = [wave, bytes];
  }
  waves[node] = best;
}

/** Bytes that go from one group to another, a value once for each group that takes it. */
function crossingBytes(edges: readonly Edge[], waves: Waves): number {
  let bytes = 0;
  for (const edge of edges) {
    const takers = new Set(edge.consumers.map((consumer) => waves[consumer]));
    if (edge.producer >= 0) takers.delete(waves[edge.producer]);
    bytes += edge.bytes * takers.size;
  }
  return bytes;
}

/** The nodes of each wave that holds any, by wave. */
export function groupsOf(waves: Waves): number[][] {
  const groups = new Map<number, number[]>();
  for (let node = 0; node < waves.length; node++) {
    const group = groups.get(waves[node]);
    if (group) group.push(node);
    else groups.set(waves[node], [node]);
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, nodes]) => nodes);
}

/** The connected parts of a group, each in node order. */
export function partsOf(dag: Dag, group: readonly number[]): number[][] {
  const members = new Set(group);
  const parts: number[][] = [];
  for (const start of group) {
    if (!members.delete(start)) continue;
    const part = [start];
    for (let next = 0; next < part.length; next++) {
      const node = part[next];
      for (const edge of [...dag.reads[node], ...dag.writes[node]]) {
        for (const other of [edge.producer, ...(edge.producer >= 0 ? edge.consumers : [])]) if (members.delete(other)) part.push(other);
      }
    }
    parts.push(part.sort((a, b) => a - b));
  }
  return parts;
}
