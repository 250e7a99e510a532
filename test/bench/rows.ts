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

/** What one benchmark found. */
export interface Measured {
  readonly rows: readonly Row[];
  /** Lines of Markdown, for the section of a page that has the benchmark's name. */
  readonly page?: readonly string[];
}

/** A figure of this project alone, on one thread. */
export function row(work: string, unit: string, ours: number, limit?: number): Row {
  return { work, threads: 1, unit, ours, peers: {}, limit };
}

/** A figure that is no number misses every limit. */
export function isMissed({ ours, limit }: Pick<Row, "ours" | "limit">): boolean {
  return limit !== undefined && !(ours <= limit);
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
