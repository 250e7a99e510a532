/**
 * Functions of four FP32 lanes whose results are then rounded to 16 bits. Each value here is within a relative `quickError` of the one that the FP64 series of
 * `math.ts` gives; where no rounding boundary lies between the two, both round to the same number, and elsewhere the series decides. So these
 * change no bit. For zeros each is exact.
 */
import type { ActivationFunction, DeviceType } from "../../program/program.js";
import { bitselect, type FunctionBuilder, f32x4, i32, i32x4, type Local, scalar, type V128, vector } from "./emitter.js";
import { erfcCoefficients } from "./math.js";

const plus = (a: V128, b: V128) => vector("f32x4.add", a, b);
const minus = (a: V128, b: V128) => vector("f32x4.sub", a, b);
const times = (a: V128, b: V128) => vector("f32x4.mul", a, b);
const over = (a: V128, b: V128) => vector("f32x4.div", a, b);
const one = f32x4(1);

/** c[0] + x (c[1] + x (...)). */
function polynomial(x: V128, [first, ...rest]: readonly number[]): V128 {
  return rest.length === 0 ? f32x4(first) : plus(f32x4(first), times(x, polynomial(x, rest)));
}

const log2 = { high: 0.693145751953125, low: 1.428606765330187e-6 } as const;

/** Added to a number of less than 2^22, it leaves the nearest whole number in the low bits. */
const round23 = 1.5 * 2 ** 23;

/** For |x| < 80. */
function exp(f: FunctionBuilder, argument: V128): V128 {
  const x = f.let(argument);
  const shifted = f.let(plus(times(x, f32x4(Math.LOG2E)), f32x4(round23)));
  const count = f.let(minus(shifted, f32x4(round23)));
  const rest = f.let(minus(minus(x, times(count, f32x4(log2.high))), times(count, f32x4(log2.low))));
  const power = vector("i32x4.shl", vector("i32x4.add", shifted, i32x4(127)), i32(23));
  return times(polynomial(rest, [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720]), power);
}

const negative = (x: V128) => vector("f32x4.neg", x);
const sigmoidOf = (f: FunctionBuilder, gate: V128) => over(one, plus(one, exp(f, negative(gate))));

function gelu(f: FunctionBuilder, x: Local<"v128">): V128 {
  const z = f.let(times(vector("f32x4.abs", x), f32x4(Math.SQRT1_2)));
  const t = f.let(over(one, plus(one, times(z, f32x4(0.5)))));
  const tail = f.let(times(t, exp(f, minus(polynomial(t, erfcCoefficients), times(z, z)))));
  const factor = bitselect(vector("f32x4.lt", x, f32x4(0)), tail, minus(f32x4(2), tail));
  return times(times(x, f32x4(0.5)), factor);
}

interface QuickFunction {
  /** The error holds for |x| up to this. */
  readonly limit: number;
  readonly value: (f: FunctionBuilder, x: Local<"v128">) => V128;
}

const quickFunctions: Partial<Readonly<Record<ActivationFunction, QuickFunction>>> = {
  gelu: { limit: 6, value: gelu },
  sigmoid: { limit: 16, value: sigmoidOf },
  silu: { limit: 16, value: (f, x) => times(x, sigmoidOf(f, x)) },
};

const quickError = 2 ** -17;

/** Bits of FP32's mantissa that a type lacks, and from which size on it lacks no more. */
const lacking: Partial<Readonly<Record<DeviceType, { readonly bits: number; readonly from: number }>>> = {
  bfloat16: { bits: 16, from: 2 ** -100 },
  float16: { bits: 13, from: 2 ** -14 },
};

/** A value that rounds to the same number of type `out` as that of `slow`, mostly without it. */
export function quickly(f: FunctionBuilder, name: ActivationFunction, out: DeviceType, x: Local<"v128">, slow: (x: V128) => V128): V128 {
  const [quick, lack] = [quickFunctions[name], lacking[out]];
  if (!quick || !lack) return slow(x);
  const value = f.let(quick.value(f, x));
  // Errors in units of the last place, at most; numbers that lie so near to the middle of two neighbours are undecided.
  const units = 2 ** 24 * quickError;
  const beyond = vector("i32x4.sub", value, i32x4(2 ** (lack.bits - 1) - units));
  const clear = vector("i32x4.gt_u", vector("v128.and", beyond, i32x4(2 ** lack.bits - 1)), i32x4(2 * units));
  const inside = vector("f32x4.le", vector("f32x4.abs", x), f32x4(quick.limit));
  const large = vector("f32x4.ge", vector("f32x4.abs", value), f32x4(lack.from));
  const near = vector("v128.and", clear, vector("v128.and", inside, large));
  const decided = vector("v128.or", near, vector("f32x4.eq", x, f32x4(0)));
  f.if(scalar("v128.any_true", vector("v128.not", decided)), () => f.set(value, slow(x)));
  return value;
}
