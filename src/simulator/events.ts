/** The two clocks of the time model: events at known times, and transfers that share a bandwidth. */

/** A binary heap of (time, token), earliest first; equal times come out in the order in which they were put in. */
export class EventQueue {
  readonly #times: number[] = [];
  readonly #ranks: number[] = [];
  readonly #tokens: number[] = [];
  #put = 0;

  /** Time of the earliest event; infinity if there is none. */
  get time(): number {
    return this.#times.length > 0 ? this.#times[0] : Number.POSITIVE_INFINITY;
  }

  #before(a: number, b: number): boolean {
    return this.#times[a] < this.#times[b] || (this.#times[a] === this.#times[b] && this.#ranks[a] < this.#ranks[b]);
  }

  #swap(a: number, b: number): void {
    for (const list of [this.#times, this.#ranks, this.#tokens]) [list[a], list[b]] = [list[b], list[a]];
  }

  push(time: number, token: number): void {
    let at = this.#times.push(time) - 1;
    this.#ranks.push(this.#put++);
    this.#tokens.push(token);
    for (let parent = (at - 1) >> 1; at > 0 && this.#before(at, parent); parent = (at - 1) >> 1) {
      this.#swap(at, parent);
      at = parent;
    }
  }

  /** Removes the earliest event and returns its token. */
  pop(): number {
    const token = this.#tokens[0];
    const last = this.#times.length - 1;
    this.#swap(0, last);
    for (const list of [this.#times, this.#ranks, this.#tokens]) list.pop();
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < last && this.#before(child, least)) least = child;
      if (least === at) return token;
      this.#swap(at, least);
      at = least;
    }
  }
}

/**
 * A bandwidth that all transfers in progress share equally, each up to a limit of its own (processor sharing). It counts in `served`
 * bytes a transfer: one that joins at s with b bytes is complete when `served` reaches s + b.
 */
export class SharedBandwidth {
  readonly #total: number;
  readonly #limit: number;
  #served = 0;
  #since = 0;
  readonly #targets: number[] = [];
  readonly #tokens: number[] = [];
  /** Index of the transfer that completes first, -1 if there is none. */
  #first = -1;

  constructor(total: number, limit: number) {
    this.#total = total;
    this.#limit = limit;
  }

  #rate(): number {
    return Math.min(this.#limit, this.#total / this.#targets.length);
  }

  #findFirst(): void {
    this.#first = this.#targets.length > 0 ? 0 : -1;
    for (let at = 1; at < this.#targets.length; at++) if (this.#targets[at] < this.#targets[this.#first]) this.#first = at;
  }

  /** When the first of the transfers in progress completes, if no other joins; infinity if there is none. */
  get time(): number {
    if (this.#first < 0) return Number.POSITIVE_INFINITY;
    return this.#since + Math.max(0, this.#targets[this.#first] - this.#served) / this.#rate();
  }

  join(time: number, bytes: number, token: number): void {
    if (this.#targets.length > 0) this.#served += (time - this.#since) * this.#rate();
    this.#since = time;
    this.#targets.push(this.#served + bytes);
    this.#tokens.push(token);
    this.#findFirst();
  }

  /** Removes the transfer that completes first, at its time, and returns its token. */
  complete(): number {
    this.#since = this.time;
    this.#served = Math.max(this.#served, this.#targets[this.#first]);
    this.#targets.splice(this.#first, 1);
    const [token] = this.#tokens.splice(this.#first, 1);
    if (this.#targets.length === 0) this.#served = 0;
    this.#findFirst();
    return token;
  }
}
