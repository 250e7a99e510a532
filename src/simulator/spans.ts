/** Spans (`wasm/kernels/span.ts`) that are known at a point of the serial order, until what they tell of is written again. */
import { extentOf, type Place } from "./memory.js";

interface Known {
  /** Of thread 0's span. */
  readonly address: number;
  readonly low: number;
  readonly high: number;
}

/** Spans looked through at each write: older ones are forgotten. */
const maximumKnown = 256;

/** Bytes of the rows that a place in SBUF lies in. */
function rowsOfPlace(place: Place): { low: number; high: number } {
  const { low, high } = extentOf(place);
  return { low: low - place.partitionStart * 4, high: high - place.partitionStart * 4 };
}

export class KnownSpans {
  private readonly known = new Map<string, Known>();

  find(key: string): number | undefined {
    return this.known.get(key)?.address;
  }

  add(key: string, place: Place, address: number): void {
    if (this.known.size === maximumKnown) this.known.clear();
    this.known.set(key, { address, ...rowsOfPlace(place) });
  }

  written(place: Place): void {
    if (place.buffer.space !== "sbuf") return;
    const { low, high } = rowsOfPlace(place);
    for (const [key, known] of this.known) if (known.low < high && low < known.high) this.known.delete(key);
  }
}
