/** Which values keep their place on chip where not all have room, and which are spilled: those that cost least to load again. */

/** A value that could lie on chip while the nodes [first, last] run. */
export interface Candidate {
  /** A partition. */
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
  /** Time of the DMAs that it takes where it does not stay on chip. */
  readonly reloadSeconds: number;
}

/**
 * The candidates, by index, that stay within `budget` bytes at each node beside those `used`, to which theirs are added. Tried in two orders: by
 * re-load time per byte that is freed where not all fit, and by bytes times lifetime, as what is small and short leaves room for most; the one that
 * saves more time is taken. All that fit are kept.
 */
export function chooseKept(candidates: readonly Candidate[], used: Float64Array, budget: number): Set<number> {
  const excess = excessBytes(candidates, used, budget);
  const freed = ({ bytes, first, last }: Candidate) =>
    excess.subarray(first, last + 1).reduce((sum, over) => sum + Math.min(bytes, over), 0);
  const area = ({ bytes, first, last }: Candidate) => bytes * (last - first + 1);
  const worth = candidates.map((each) => (freed(each) === 0 ? Number.POSITIVE_INFINITY : each.reloadSeconds / freed(each)));
  const order = (rank: (index: number) => number) =>
    [...candidates.keys()].sort((a, b) => rank(a) - rank(b) || candidates[a].first - candidates[b].first);
  const tried = [(index: number) => -worth[index], (index: number) => area(candidates[index])].map((rank) => {
    const room = used.slice();
    const kept = fill(candidates, order(rank), room, budget);
    return { kept, room, seconds: [...kept].reduce((sum, index) => sum + candidates[index].reloadSeconds, 0) };
  });
  const best = tried[0].seconds > tried[1].seconds ? tried[0] : tried[1];
  used.set(best.room);
  return best.kept;
}

/** Bytes beyond the budget at each node if all candidates stay. */
function excessBytes(candidates: readonly Candidate[], used: Float64Array, budget: number): Float64Array {
  const change = new Float64Array(used.length + 1);
  for (const { bytes, first, last } of candidates) {
    change[first] += bytes;
    change[last + 1] -= bytes;
  }
  let live = 0;
  return used.map((other, at) => {
    live += change[at];
    return Math.max(0, live + other - budget);
  });
}

/** Keeps one after the other what fits; adds it to `used`. */
function fill(candidates: readonly Candidate[], order: readonly number[], used: Float64Array, budget: number): Set<number> {
  const kept = new Set<number>();
  for (const index of order) {
    const { bytes, first, last } = candidates[index];
    let fits = true;
    for (let at = first; at <= last && fits; at++) fits = used[at] + bytes <= budget;
    if (!fits) continue;
    for (let at = first; at <= last; at++) used[at] += bytes;
    kept.add(index);
  }
  return kept;
}
