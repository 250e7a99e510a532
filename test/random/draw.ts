/** Choices from a seed. */
import { Random } from "../../models/random.js";

export class Draw {
  private readonly random: Random;

  constructor(seed: number, name = "") {
    this.random = new Random(seed, name);
  }

  real(low: number, high: number): number {
    return this.random.uniform(low, high);
  }

  /** From low to high, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.random.uniform(0, high - low + 1));
  }

  chance(probability: number): boolean {
    return this.random.uniform() < probability;
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error("nothing to pick from");
    return list[this.integer(0, list.length - 1)];
  }

  shuffle<T>(list: readonly T[]): T[] {
    const result = [...list];
    for (let index = result.length - 1; index > 0; index--) {
      const other = this.integer(0, index);
      [result[index], result[other]] = [result[other], result[index]];
    }
    return result;
  }

  /** Each element with the given probability, in order; at least one. */
  some<T>(list: readonly T[], probability = 0.5): T[] {
    const chosen = list.filter(() => this.chance(probability));
    return chosen.length > 0 ? chosen : [this.pick(list)];
  }

  normals(count: number, deviation: number): Float32Array {
    return this.random.normals(count, deviation);
  }
}
