/** A random graph and a random way to compile it, from a seed. */
import type { DType } from "../../src/graph/tensor.js";
import type { CompileOptions } from "../../src/index.js";
import { Draw } from "./draw.js";
import { Grower, type Grown } from "./grower.js";
import { choices, recipes } from "./recipes/index.js";

/** Another way to do the same work. */
export type Variant =
  | { readonly kind: "none" }
  /** In stages on so many cores at most. */
  | { readonly kind: "cores"; readonly cores: number }
  /** Loaded from the file, run by so many threads. */
  | { readonly kind: "file"; readonly threads: number }
  /** Each item of the batch alone. */
  | { readonly kind: "items" };

export interface RandomCase extends Grown {
  readonly seed: number;
  /** Extent of the open batch dimension, where there is one. */
  readonly batch?: number;
  readonly fastMath: readonly string[];
  /** Which operators are wanted on NeuronCores: as the compiler places them, all that can be, or some of each. */
  readonly placement: "placed" | "forced" | "mixed";
  readonly options: CompileOptions;
  readonly variant: Variant;
}

const MOST_NODES = 14;

const modes: readonly (readonly string[])[] = [
  ["all"],
  ["none"],
  ["fp32-cast-all-fp16"],
  ["fp32-cast-matmult"],
  ["fp32-cast-matmult-fp16"],
  ["fp32-cast-matmult-bf16", "no-fast-relayout"],
  ["all", "no-fast-relayout"],
];

const furtherTypes: readonly DType[] = [
  ...(["float32", "bfloat16", "float16", "float64", "bool", "uint16"] as const),
  ...(["int32", "int64", "uint64", "uint32", "int16", "uint8", "int8"] as const),
];

/** `only`: names of the operators to use, for looking at one. */
export function randomCase(seed: number, only?: readonly string[]): RandomCase {
  const draw = new Draw(seed, "case");
  const batch = draw.chance(0.35) ? draw.integer(1, 5) : undefined;
  const grower = new Grower(seed, { batch });
  for (let count = draw.pick([1, 1, 2]); count > 0; count--) grower.input(grower.dtype);
  const size = draw.integer(1, MOST_NODES);
  for (let tries = 0; grower.size < size && tries < 40 * size; tries++) {
    const op = draw.pick(only ?? draw.pick(choices));
    recipes[op](grower);
    if (draw.chance(0.05)) grower.input(draw.pick(furtherTypes));
  }
  const grown = grower.finish();
  const placement = draw.pick(["placed", "forced", "forced", "mixed"] as const);
  const names = grown.graph.nodes.map((node) => node.name);
  const kept = placement === "mixed" ? names.filter(() => draw.chance(0.3)) : [];
  const fastMath = grown.far ? ["none"] : draw.pick(modes);
  const variant = randomVariant(draw, batch);
  const options: CompileOptions = {
    fastMath,
    // Compression takes time, and matters only to what reads the file.
    enableFastLoadingNeuronBinaries: variant.kind !== "file",
    ...(batch === undefined ? {} : { batchSize: batch }),
    ...(placement === "placed"
      ? {}
      : { forceFuseOps: names.filter((name) => !kept.includes(name)), noFuseOps: kept, minimumSegmentSize: 1 }),
    enableSaturateInfinity: draw.chance(0.1),
    verifyEach: true,
  };
  return { ...grown, seed, ...(batch === undefined ? {} : { batch }), fastMath, placement, options, variant };
}

function randomVariant(draw: Draw, batch: number | undefined): Variant {
  if (draw.chance(0.6)) return { kind: "none" };
  const kind = draw.pick(["cores", "file", "items"] as const);
  if (kind === "cores") return { kind, cores: draw.pick([2, 3, 4, 16]) };
  if (kind === "file") return { kind, threads: draw.integer(1, 3) };
  return batch === undefined ? { kind: "none" } : { kind };
}
