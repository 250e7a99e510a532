/** What a benchmark reports. */

export interface Row {
  readonly work: string;
  readonly threads: number;
  readonly unit: string;
  readonly ours: number;
  readonly peers: Readonly<Record<string, number>>;
  /** What the project asks of `ours`, in the same unit, where it asks for a number. */
  readonly limit?: number;
}

/** A figure of this project alone, on one thread. */
export function row(work: string, unit: string, ours: number, limit?: number): Row {
  return { work, threads: 1, unit, ours, peers: {}, limit };
}

/** A figure that is no number misses every limit. */
export function isMissed({ ours, limit }: Pick<Row, "ours" | "limit">): boolean {
  return limit !== undefined && !(ours <= limit);
}
