/** Seeded pseudo-random numbers (sfc32 by Chris Doty-Humphrey): the same sequence for a seed on every host. */
export class Random {
  private a = 0x9e3779b9;
  private b: number;
  private c: number;
  private counter = 1;

  /** Streams with different `name` are independent of each other. */
  constructor(seed: number, name = "") {
    let hash = 0x811c9dc5;
    for (let index = 0; index < name.length; index++) hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
    this.b = seed | 0;
    this.c = hash;
    for (let round = 0; round < 15; round++) this.bits();
  }

  /** 32 bits, as a signed integer. */
  bits(): number {
    const sum = (this.a + this.b + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum;
  }

  /** From [low, high). */
  uniform(low = 0, high = 1): number {
    return low + ((this.bits() >>> 0) / 2 ** 32) * (high - low);
  }

  /** Normal deviates of mean 0 (Marsaglia's polar method). */
  normals(count: number, deviation = 1): Float32Array {
    const result = new Float32Array(count);
    for (let index = 0; index < count; ) {
      const x = this.bits() / 2 ** 31;
      const y = this.bits() / 2 ** 31;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const factor = deviation * Math.sqrt((-2 * Math.log(square)) / square);
      result[index++] = x * factor;
      if (index < count) result[index++] = y * factor;
    }
    return result;
  }
}
