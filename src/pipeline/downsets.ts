/** Downsets of a directed acyclic graph: the sets of nodes that hold every predecessor of their members. A cut lies at each. */

export interface Dag {
  /** Indices of the nodes that each node's output goes to, each once. */
  readonly successors: readonly (readonly number[])[];
  /** So many nodes, those of the lowest indices, are in every set but the empty one; none of them has a predecessor outside. 0 if absent. */
  readonly first?: number;
}

/** A set of nodes, 32 to a word. */
export type NodeSet = Uint32Array;

export const has = (set: NodeSet, node: number) => ((set[node >>> 5] >>> (node & 31)) & 1) === 1;

function withNode(set: NodeSet, node: number): NodeSet {
  const larger = set.slice();
  larger[node >>> 5] |= 1 << (node & 31);
  return larger;
}

export function sizeOf(set: NodeSet): number {
  let size = 0;
  for (const word of set) for (let left = word; left !== 0; left &= left - 1) size++;
  return size;
}

export function predecessorsOf({ successors }: Dag): number[][] {
  const predecessors = successors.map((): number[] => []);
  for (const [node, targets] of successors.entries()) for (const target of targets) predecessors[target].push(node);
  return predecessors;
}

/** The empty set, and the least one that is not, where that is a given one. */
function beginnings({ successors, first = 0 }: Dag): NodeSet[] {
  const empty: NodeSet = new Uint32Array((successors.length + 31) >>> 5);
  if (first === 0) return [empty];
  let least = empty;
  for (let node = 0; node < first; node++) least = withNode(least, node);
  return [empty, least];
}

/** The downsets in order of size, the empty one first, the whole last; undefined where there are more than `limit`. */
export function allDownsets(dag: Dag, limit: number): NodeSet[] | undefined {
  const predecessors = predecessorsOf(dag);
  const count = dag.successors.length;
  const found = beginnings(dag);
  let layer = new Map(found.splice(-1).map((set) => [set.join(), set]));
  while (layer.size > 0) {
    const next = new Map<string, NodeSet>();
    for (const set of layer.values()) {
      found.push(set);
      for (let node = 0; node < count; node++) {
        if (has(set, node) || !predecessors[node].every((other) => has(set, other))) continue;
        const larger = withNode(set, node);
        next.set(larger.join(), larger);
        if (found.length + next.size > limit) return undefined;
      }
    }
    layer = next;
  }
  return found;
}

/**
 * The downsets that a topological order passes: the next node is the one of those that are ready, oldest first, that `choose` names by its index. By
 * default the newest, so that branches stay together. Undefined where the graph has a cycle.
 */
export function downsetsOfOneOrder(dag: Dag, choose = (ready: number) => ready - 1): NodeSet[] | undefined {
  const { first = 0, successors } = dag;
  const waiting = predecessorsOf(dag).map((before) => before.length);
  for (let node = 0; node < first; node++) for (const target of successors[node]) waiting[target]--;
  const ready = waiting.flatMap((count, node) => (count === 0 && node >= first ? [node] : [])).reverse();
  const sets = beginnings(dag);
  let placed = first;
  while (ready.length > 0) {
    const [node] = ready.splice(choose(ready.length), 1);
    placed++;
    sets.push(withNode(sets[sets.length - 1], node));
    for (const target of successors[node]) if (--waiting[target] === 0) ready.push(target);
  }
  return placed === waiting.length ? sets : undefined;
}
