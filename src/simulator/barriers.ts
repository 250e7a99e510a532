/** Which records need a barrier between threads before them. */

import { extentOf, type Place, partitionsOf } from "./memory.js";
import { groupLanes } from "./wasm/kernels/common.js";

/** `lanes`: thread of a partition by its distance from the access's start; `all`: any thread may touch any of it. */
export type Sharing = "lanes" | "all";

export interface Touch {
  readonly place: Place;
  readonly sharing: Sharing;
  readonly write: boolean;
}

interface Region {
  readonly space: string;
  readonly low: number;
  readonly high: number;
  readonly firstLane: number;
  readonly endLane: number;
  /** The start's place in the cycle of threads; -1 where threads are not tied to lanes. */
  readonly phase: number;
  readonly write: boolean;
}

const maximumRegions = 256;

/** Decides record by record; remembers what was touched since the last barrier. */
export class BarrierPlanner {
  private regions: Region[] = [];
  private keys = new Set<string>();

  constructor(private readonly threads: number) {}

  /** Does a record that touches these need a barrier before it? */
  next(touches: readonly Touch[]): boolean {
    if (this.threads === 1) return false;
    const added = touches
      .filter(({ place }) => place.buffer.space !== "dram" || place.buffer.kind !== "constant")
      .map((touch) => this.region(touch));
    const needed = this.regions.length > maximumRegions || added.some((region) => this.regions.some((other) => conflict(region, other)));
    if (needed) {
      this.regions = [];
      this.keys.clear();
    }
    for (const region of added) {
      const key = Object.values(region).join();
      if (this.keys.has(key)) continue;
      this.keys.add(key);
      this.regions.push(region);
    }
    return needed;
  }

  private region({ place, sharing, write }: Touch): Region {
    const { low, high } = extentOf(place);
    const { space } = place.buffer;
    if (space === "dram") return { space, low, high, firstLane: 0, endLane: 1, phase: -1, write };
    const row = partitionsOf[space] * 4;
    const first = place.partitionStart;
    const start = place.base - first * 4;
    const shift = place.base - start;
    return {
      space,
      low: Math.floor((low - shift) / row),
      high: Math.ceil((high - shift) / row),
      firstLane: first,
      endLane: first + place.lanes,
      phase: sharing === "all" ? -1 : first % (groupLanes * this.threads),
      write,
    };
  }
}

function conflict(a: Region, b: Region): boolean {
  if (!a.write && !b.write) return false;
  if (a.space !== b.space || a.low >= b.high || b.low >= a.high || a.firstLane >= b.endLane || b.firstLane >= a.endLane) return false;
  return a.phase === -1 || a.phase !== b.phase;
}
