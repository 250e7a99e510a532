/** Which records need a barrier between threads before them. */

import { extentOf, type Place, partitionsOf } from "./memory.js";
import { groupLanes } from "./wasm/kernels/common.js";

/** Bytes from `low` up to `high`. */
export interface Extent {
  readonly low: number;
  readonly high: number;
}

/**
 * `lanes`: thread of a partition by its distance from the access's start; `all`: any thread may touch any of it; extents: what each
 * thread touches, in order of threads.
 */
export type Sharing = "lanes" | "all" | readonly Extent[];

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
  /** Who touches it: a thread alone (`thread 0`), threads by lanes from a place in their cycle (`lanes 16`), or any (undefined). */
  readonly owner: string | undefined;
  readonly write: boolean;
}

const maximumRegions = 512;

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
      .flatMap((touch) => this.regionsOf(touch));
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

  private regionsOf({ place, sharing, write }: Touch): Region[] {
    if (typeof sharing !== "string") {
      return sharing.map((extent, thread) => this.region(place, extent, `thread ${thread}`, write));
    }
    const phase = place.partitionStart % (groupLanes * this.threads);
    return [this.region(place, extentOf(place), sharing === "all" ? undefined : `lanes ${phase}`, write)];
  }

  private region(place: Place, { low, high }: Extent, owner: string | undefined, write: boolean): Region {
    const { space } = place.buffer;
    if (space === "dram") return { space, low, high, firstLane: 0, endLane: 1, owner: undefined, write };
    const row = partitionsOf[space] * 4;
    const first = place.partitionStart;
    const shift = first * 4;
    return {
      space,
      low: Math.floor((low - shift) / row),
      high: Math.ceil((high - shift) / row),
      firstLane: first,
      endLane: first + place.lanes,
      owner,
      write,
    };
  }
}

function conflict(a: Region, b: Region): boolean {
  if (!a.write && !b.write) return false;
  if (a.space !== b.space || a.low >= b.high || b.low >= a.high || a.firstLane >= b.endLane || b.firstLane >= a.endLane) return false;
  return a.owner === undefined || a.owner !== b.owner;
}
