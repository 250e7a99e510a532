/**
 * What values a channel takes over images and positions, as a few samples a channel: carried through the layers while a network is
 * generated, so that its batch-norm statistics and biases fit its activations as those of a trained network do, without running it.
 * A sum over many inputs with random weights is taken as normal, and different channels and positions as independent of each other.
 */
import { Random } from "./random.js";

const SAMPLES = 64;

export interface Spread {
  readonly channels: number;
  /** SAMPLES values of channel 0, then of channel 1, ... */
  readonly samples: Float32Array;
}

/** SAMPLES values that stand for the standard normal distribution: mean 0, variance 1. */
const standard = makeStandard();

function makeStandard(): Float32Array {
  const draws = new Random(0, "standard").normals(SAMPLES * 127).sort();
  const values = Float32Array.from(
    { length: SAMPLES / 2 },
    (_, index) => (draws[index * 127 + 63] - draws[(SAMPLES - 1 - index) * 127 + 63]) / 2,
  );
  const scale = 1 / Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  return Float32Array.from({ length: SAMPLES }, (_, index) => scale * (index < SAMPLES / 2 ? values[index] : -values[SAMPLES - 1 - index]));
}

/** Normal channels of the given means and variances; the samples of each in an order of its own. */
export function normalSpread(mean: Float64Array, variance: Float64Array, random: Random): Spread {
  const samples = new Float32Array(mean.length * SAMPLES);
  for (let channel = 0; channel < mean.length; channel++) {
    const own = samples.subarray(channel * SAMPLES, (channel + 1) * SAMPLES);
    const deviation = Math.sqrt(variance[channel]);
    for (let index = 0; index < SAMPLES; index++) {
      const other = Math.floor(random.uniform(0, index + 1));
      own[index] = own[other];
      own[other] = mean[channel] + deviation * standard[index];
    }
  }
  return { channels: mean.length, samples };
}

export function moments({ channels, samples }: Spread): { mean: Float64Array; variance: Float64Array } {
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let channel = 0; channel < channels; channel++) {
    let sum = 0;
    let squares = 0;
    for (let index = channel * SAMPLES; index < (channel + 1) * SAMPLES; index++) {
      sum += samples[index];
      squares += samples[index] * samples[index];
    }
    mean[channel] = sum / SAMPLES;
    variance[channel] = Math.max(0, squares / SAMPLES - mean[channel] ** 2);
  }
  return { mean, variance };
}

/** The spread of `scale * x + shift`, by channel. */
export function affine({ channels, samples }: Spread, scale: ArrayLike<number>, shift: ArrayLike<number>): Spread {
  return {
    channels,
    samples: samples.map((value, index) => value * scale[Math.floor(index / SAMPLES)] + shift[Math.floor(index / SAMPLES)]),
  };
}

export function clamp({ channels, samples }: Spread, low: number, high: number): Spread {
  return { channels, samples: samples.map((value) => Math.min(high, Math.max(low, value))) };
}

export function sum(a: Spread, b: Spread): Spread {
  return { channels: a.channels, samples: a.samples.map((value, index) => value + b.samples[index]) };
}

/** The largest of `count` independent values of the channel. */
export function largest({ channels, samples }: Spread, count: number, random: Random): Spread {
  const result = samples.slice();
  for (let round = 1; round < count; round++) {
    for (let index = 0; index < result.length; index++) {
      const channel = Math.floor(index / SAMPLES) * SAMPLES;
      result[index] = Math.max(result[index], samples[channel + Math.floor(random.uniform(0, SAMPLES))]);
    }
  }
  return { channels, samples: result };
}

/** The mean of `count` independent values of the channel, taken as normal. */
export function average(spread: Spread, count: number, random: Random): Spread {
  const { mean, variance } = moments(spread);
  return normalSpread(
    mean,
    variance.map((value) => value / count),
    random,
  );
}
