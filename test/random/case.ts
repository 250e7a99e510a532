/** A random graph and a random way to compile it, from a seed. */
import type { DType } from "../../src/graph/tensor.js";
import type { CompileOptions } from "../../src/index.js";
import { fastMathWords, fp32CastWords } from "../../src/passes/index.js";
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
  /** So many items of the batch at a time, the last time those that are left. */
  | { readonly kind: "items"; readonly size: number }
  /** Compiled with infinities made finite, or not, where there are none. */
  | { readonly kind: "saturate" }
  /** With no weight kept between requests. */
  | { readonly kind: "switch" };

export interface RandomCase extends Grown {
  readonly seed: number;
  /** Extent of the open batch dimension, where there is one. */
  readonly batch?: number;
  /** Which operators are wanted on NeuronCores: as the compiler places them, all that can be, or some of each. */
  readonly placement: "placed" | "forced" | "mixed";
  readonly options: CompileOptions;
  readonly variant: Variant;
}

const MOST_NODES = 14;

/** The words of `--fast-math` of which one or none may be given. */
const groups: readonly (readonly string[])[] = [
  ["all", "none"],
  fastMathWords.filter((word) => word.endsWith("fast-relayout")),
  fastMathWords.filter((word) => word.startsWith("fp32-cast-")),
];

/** What is far out FP32 and BF16 hold: nothing may be rounded to FP16. */
const farWords: readonly (readonly string[])[] = [["none"], ["none", "fast-relayout"], ["none", "no-fast-relayout"]];

/** Any words that go together, in any order, or none; at times with the older flag, which wins over their casts. */
function randomPrecision(draw: Draw, far: boolean): Pick<CompileOptions, "fastMath" | "fp32Cast"> {
  if (far) return { fastMath: draw.pick(farWords) };
  const words = groups.flatMap((group) => (draw.chance(0.5) ? [draw.pick(group)] : []));
  return {
    ...(words.length > 0 ? { fastMath: draw.shuffle(words) } : {}),
    ...(draw.chance(0.2) ? { fp32Cast: draw.pick(fp32CastWords) } : {}),
  };
}

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
  const precision = randomPrecision(draw, grown.far);
  const variant = randomVariant(draw, batch, grown);
  const options: CompileOptions = {
    ...precision,
    // Compression takes time, and matters only to what reads the file.
    enableFastLoadingNeuronBinaries: variant.kind !== "file",
    ...(batch === undefined ? {} : { batchSize: batch }),
    ...(placement === "placed"
      ? {}
      : { forceFuseOps: names.filter((name) => !kept.includes(name)), noFuseOps: kept, minimumSegmentSize: 1 }),
    // Lowering sums what it gathers, so that infinities may be at risk where the model only moves them.
    enableSaturateInfinity: !grown.infinite && draw.chance(0.2),
    verifyEach: true,
  };
  return { ...grown, seed, ...(batch === undefined ? {} : { batch }), placement, options, variant };
}

function randomVariant(draw: Draw, batch: number | undefined, { infinite }: Grown): Variant {
  if (draw.chance(0.5)) return { kind: "none" };
  const kind = draw.pick(["cores", "file", "items", "saturate", "switch"] as const);
  if (kind === "cores") return { kind, cores: draw.pick([2, 3, 4, 16]) };
  if (kind === "file") return { kind, threads: draw.integer(1, 3) };
  if (kind === "items") return batch === undefined ? { kind: "none" } : { kind, size: 1 };
  return { kind: kind === "saturate" && infinite ? "none" : kind };
}
