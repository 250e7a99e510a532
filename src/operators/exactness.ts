/** How exact results are: the classes (DESIGN section 2) and their bounds, in one place for the records, the tools and the tests. */

/**
 * `exact`: equal values. `fp32`: engine arithmetic in FP32. `rounded`: matmult operands or stored tensors in 16 bits, where a single contraction has a bound
 * of its own and a whole network one of its cosine.
 */
export type Exactness = "exact" | "fp32" | "rounded";

/** Tightest first. */
const classes: readonly Exactness[] = ["exact", "fp32", "rounded"];

/** Of the fp32 class: |error| <= relative x |value| + absolute. */
export const fp32Bound = { relative: 1e-3, absolute: 1e-5 } as const;

/** Unit roundoffs of the 16-bit types. */
export const unitRoundoff = { bfloat16: 2 ** -8, float16: 2 ** -11 } as const;

/** Of one contraction in the rounded class: |error| <= this x unit roundoff x sum |a||b| + the bound of the fp32 class. */
export const CONTRACTION_ROUNDOFFS = 2;

/** Of a whole network in the rounded class: the greatest 1 - cosine. */
export const NETWORK_LOSS = 5e-4;

/** The bounds in words. */
export const boundsInWords: Readonly<Record<Exactness, string>> = {
  exact: "equal values",
  fp32: `rtol ${fp32Bound.relative.toExponential()}, atol ${fp32Bound.absolute.toExponential()}; integers and truth values equal`,
  rounded: `one contraction: ${CONTRACTION_ROUNDOFFS} x 2^${Math.log2(unitRoundoff.bfloat16)} x sum of |a||b| beside the fp32 class; a network: 1 - cosine at most ${NETWORK_LOSS.toExponential()}`,
};

export function loosest(all: readonly Exactness[]): Exactness {
  return classes[Math.max(0, ...all.map((one) => classes.indexOf(one)))];
}

/** Whether a number is near enough to the one wanted for the fp32 class. NaN is near NaN. */
export function isWithinFp32(seen: number, wanted: number): boolean {
  if (seen === wanted || Object.is(seen, wanted)) return true;
  return Math.abs(seen - wanted) <= fp32Bound.relative * Math.abs(wanted) + fp32Bound.absolute;
}
