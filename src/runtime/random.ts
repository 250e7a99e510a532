/** Seeded values for inputs: the same on every host. */
import { allocateData, type DType, elementCount, fromNumbers, isFloat, type Tensor } from "../graph/tensor.js";

/** Uniform 32-bit integers (splitmix32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

/** The seed of one input: inputs of a model get different values from one seed. */
function mix(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (const byte of Buffer.from(name, "utf8")) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

/** Floats: near normal, mean 0 and variance 1. Integers and bools: 0 or 1, which are valid as indices too. Strings: empty. */
export function randomTensor(dtype: DType, shape: readonly number[], seed: number, name: string): Tensor {
  const count = elementCount(shape);
  if (dtype === "string" || dtype.startsWith("complex") || dtype.startsWith("float8") || dtype.startsWith("float4"))
    return zeros(dtype, shape);
  const next = generator(mix(seed, name));
  // A sum of four uniform values has variance 1/3; no library function whose last bit may differ between hosts.
  const uniform = () => next() / 2 ** 32;
  const draw = isFloat(dtype) ? () => (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3) : () => next() & 1;
  return fromNumbers(dtype, shape, Array.from({ length: count }, draw));
}

export function zeros(dtype: DType, shape: readonly number[]): Tensor {
  return { dtype, shape, data: allocateData(dtype, elementCount(shape)) };
}
