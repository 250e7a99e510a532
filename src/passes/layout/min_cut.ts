/** Minimum cuts: the cheapest choice of one of two sides for each of several things that want to be on the same side as others. */

interface Arc {
  readonly to: number;
  capacity: number;
  readonly reverse: number;
}

export class CutProblem {
  private readonly arcs: Arc[][];
  private readonly source: number;
  private readonly sink: number;

  /** Things are 0 to count - 1. */
  constructor(private readonly count: number) {
    this.source = count;
    this.sink = count + 1;
    this.arcs = Array.from({ length: count + 2 }, () => []);
  }

  /** What it costs that a thing stays, or moves. */
  choice(thing: number, stays: number, moves: number): void {
    this.arc(this.source, thing, moves);
    this.arc(thing, this.sink, stays);
  }

  /** What it costs that `first` stays while `second` moves. */
  difference(first: number, second: number, cost: number): void {
    this.arc(first, second, cost);
  }

  private arc(from: number, to: number, capacity: number): void {
    if (!(capacity > 0)) return;
    this.arcs[from].push({ to, capacity, reverse: this.arcs[to].length });
    this.arcs[to].push({ to: from, capacity: 0, reverse: this.arcs[from].length - 1 });
  }

  /** Whether each thing moves, in a choice of least cost; of several such, one in which the fewest move. */
  solve(): boolean[] {
    for (;;) {
      const path = this.shortestPath();
      if (path === undefined) break;
      const flow = Math.min(...path.map((arc) => arc.capacity));
      for (const arc of path) {
        arc.capacity -= flow;
        this.arcs[arc.to][arc.reverse].capacity += flow;
      }
    }
    const moved = this.reachesSink();
    return moved.slice(0, this.count);
  }

  /** Arcs of a path with room from source to sink, of the fewest arcs (Edmonds and Karp). */
  private shortestPath(): Arc[] | undefined {
    const by: (Arc | undefined)[] = [];
    const queue = [this.source];
    for (let head = 0; head < queue.length; head++) {
      for (const arc of this.arcs[queue[head]]) {
        if (arc.capacity <= 0 || by[arc.to] !== undefined || arc.to === this.source) continue;
        by[arc.to] = arc;
        queue.push(arc.to);
        if (arc.to === this.sink) return this.pathTo(by);
      }
    }
    return undefined;
  }

  private pathTo(by: readonly (Arc | undefined)[]): Arc[] {
    const path: Arc[] = [];
    for (let at = this.sink; at !== this.source; ) {
      const arc = by[at];
      if (arc === undefined) throw new Error("a path that does not begin at the source");
      path.push(arc);
      at = this.arcs[arc.to][arc.reverse].to;
    }
    return path;
  }

  /** From which there is a way with room left to the sink. */
  private reachesSink(): boolean[] {
    const reaching = new Array<boolean>(this.count + 2).fill(false);
    const queue = [this.sink];
    reaching[this.sink] = true;
    for (let head = 0; head < queue.length; head++) {
      for (const { to, reverse } of this.arcs[queue[head]]) {
        if (reaching[to] || this.arcs[to][reverse].capacity <= 0) continue;
        reaching[to] = true;
        queue.push(to);
      }
    }
    return reaching;
  }
}
