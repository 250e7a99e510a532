/** Chooses the orders: from each transposed read on, its order is proposed to all movers that it can spread to; a minimum cut decides who takes it. */
import { CutProblem } from "./min_cut.js";
import type { Arrangement, Edge, LayoutProblem, Mover } from "./problem.js";

/** Orders of movers' axes; of one that has none, the graph's. */
export type Orders = ReadonlyMap<Mover, readonly number[]>;

/** Rounds over all reads; a round that changes nothing is the last. */
const mostRounds = 4;

export function chooseOrders(problem: LayoutProblem): Orders {
  const orders = new Map<Mover, readonly number[]>();
  for (let round = 0; round < mostRounds; round++) {
    const tried = new Map<Mover, Set<string>>();
    let changed = false;
    for (const edge of problem.edges) {
      for (const [mover, order] of proposals(problem, edge, orders)) {
        if (tried.get(mover)?.has(order.join())) continue;
        const spread = propose(problem, mover, order);
        for (const [other, its] of spread) tried.set(other, (tried.get(other) ?? new Set()).add(its.join()));
        if (move(problem, orders, spread)) changed = true;
      }
    }
    if (!changed) break;
  }
  return orders;
}

function costOf(problem: LayoutProblem, edge: Edge, written: Arrangement, wanted: Arrangement): number {
  return edge.cost > 0 && problem.differs(edge.view.root, written, wanted) ? edge.cost : 0;
}

/** For a read that is transposed now: the order in which its reader would take what is written, and its writer write what is wanted. */
function proposals(problem: LayoutProblem, edge: Edge, orders: Orders): (readonly [Mover, readonly number[]])[] {
  const { root } = edge.view;
  const writer = problem.writers.get(root);
  const written = problem.written(root, writer && orders.get(writer.mover));
  const wanted = problem.wanted(edge, edge.mover && orders.get(edge.mover));
  if (costOf(problem, edge, written, wanted) === 0) return [];
  const result: (readonly [Mover, readonly number[]])[] = [];
  if (edge.mover) result.push([edge.mover, readerOrder(edge, edge.mover, written)]);
  if (writer) result.push([writer.mover, writerOrder(writer.mover, writer.output, wanted)]);
  return result;
}

/** The operator's axes in the order that some of them have; the others stay behind the axis that they follow. */
function orderBy(rank: number, some: readonly number[]): number[] {
  const following = new Map<number, number[]>();
  let before = -1;
  for (let axis = 0; axis < rank; axis++) {
    if (some.includes(axis)) before = axis;
    else following.set(before, [...(following.get(before) ?? []), axis]);
  }
  return [-1, ...some].flatMap((axis) => [...(axis < 0 ? [] : [axis]), ...(following.get(axis) ?? [])]);
}

function readerOrder(edge: Edge, mover: Mover, written: Arrangement): number[] {
  const own = mover.space.inputs[edge.input] ?? [];
  return orderBy(
    mover.space.rank,
    written.flatMap((axis) => (axis < 0 ? [] : [own[edge.view.axes.indexOf(axis)]])),
  );
}

function writerOrder(mover: Mover, output: number, wanted: Arrangement): number[] {
  const own = mover.space.outputs[output];
  return orderBy(
    mover.space.rank,
    wanted.flatMap((axis) => (axis < 0 ? [] : [own[axis]])),
  );
}

/** The order that each mover would take if all took what their neighbour takes, from one on. */
function propose(problem: LayoutProblem, first: Mover, order: readonly number[]): Map<Mover, readonly number[]> {
  const spread = new Map<Mover, readonly number[]>([[first, order]]);
  for (const [mover, its] of spread) {
    const offer = (other: Mover, make: () => readonly number[]) => {
      if (!spread.has(other)) spread.set(other, make());
    };
    for (const edge of problem.reads.get(mover) ?? []) {
      const writer = problem.writers.get(edge.view.root);
      if (writer) offer(writer.mover, () => writerOrder(writer.mover, writer.output, problem.wanted(edge, its)));
    }
    for (const value of mover.node.outputs) {
      const written = problem.written(value, its);
      for (const edge of problem.readers.get(value) ?? []) {
        const reader = edge.mover;
        if (reader) offer(reader, () => readerOrder(edge, reader, written));
      }
    }
  }
  return spread;
}

/** Reads that a change of these movers' orders touches. */
function touchedEdges(problem: LayoutProblem, movers: Iterable<Mover>): Set<Edge> {
  const edges = new Set<Edge>();
  for (const mover of movers) {
    for (const edge of problem.reads.get(mover) ?? []) edges.add(edge);
    for (const value of mover.node.outputs) for (const edge of problem.readers.get(value) ?? []) edges.add(edge);
  }
  return edges;
}

/** Gives the new orders to those movers for which it pays; whether there are any. */
function move(problem: LayoutProblem, orders: Map<Mover, readonly number[]>, spread: ReadonlyMap<Mover, readonly number[]>): boolean {
  const places = new Map([...spread.keys()].map((mover, index) => [mover, index]));
  const cut = new CutProblem(spread.size);
  const edges = touchedEdges(problem, spread.keys());
  for (const edge of edges) {
    const writer = problem.writers.get(edge.view.root)?.mover;
    const [from, to] = [writer && places.get(writer), edge.mover && places.get(edge.mover)];
    const cost = (writerMoves: boolean, readerMoves: boolean): number => {
      const writing = writer && (writerMoves ? spread.get(writer) : orders.get(writer));
      const reading = edge.mover && (readerMoves ? spread.get(edge.mover) : orders.get(edge.mover));
      return costOf(problem, edge, problem.written(edge.view.root, writing), problem.wanted(edge, reading));
    };
    if (from !== undefined && from === to) cut.choice(from, cost(false, false), cost(true, true));
    else if (from !== undefined && to !== undefined) addPair(cut, from, to, cost);
    else if (from !== undefined) cut.choice(from, cost(false, false), cost(true, false));
    else if (to !== undefined) cut.choice(to, cost(false, false), cost(false, true));
  }
  const moved = cut.solve();
  const next = new Map(orders);
  for (const [mover, order] of spread) if (moved[places.get(mover) ?? 0]) next.set(mover, order);
  if (totalCost(problem, next, edges) >= totalCost(problem, orders, edges)) return false;
  for (const [mover, order] of next) orders.set(mover, order);
  return true;
}

/** A cost of two choices as costs of each and of their difference (Kolmogorov and Zabih). */
function addPair(cut: CutProblem, first: number, second: number, cost: (first: boolean, second: boolean) => number): void {
  const [both, onlySecond, onlyFirst, all] = [cost(false, false), cost(false, true), cost(true, false), cost(true, true)];
  cut.choice(first, Math.max(0, both - onlyFirst), Math.max(0, onlyFirst - both));
  cut.choice(second, Math.max(0, onlyFirst - all), Math.max(0, all - onlyFirst));
  cut.difference(first, second, onlySecond + onlyFirst - both - all);
}

/** Bytes transposed; several readers of one order share a transpose. */
function totalCost(problem: LayoutProblem, orders: Orders, edges: ReadonlySet<Edge>): number {
  const costs = new Map<string, number>();
  for (const edge of edges) {
    const { root } = edge.view;
    const writer = problem.writers.get(root)?.mover;
    const wanted = problem.wanted(edge, edge.mover && orders.get(edge.mover));
    const cost = costOf(problem, edge, problem.written(root, writer && orders.get(writer)), wanted);
    if (cost > 0) costs.set(`${root} ${wanted.filter((axis) => axis >= 0).join()}`, cost);
  }
  return [...costs.values()].reduce((sum, cost) => sum + cost, 0);
}
