/**
 * Functions of four FP32 lanes whose results are then rounded to 16 bits. Each value here is within a relative `quickError` of the one that the FP64 series of
 * `math.ts` gives; where no rounding boundary lies between the two, both round to the same number, and elsewhere the series decides. So these
 * change no bit. For zeros each is exact.
 */
import type { ActivationFunction, DeviceType } from "../../program/program.js";
import { bitselect, type FunctionBuilder, f32x4, i32, i32x4, type Local, scalar, type V128, vector } from "./emitter.js";

const plus = (a: V128, b: V128) => vector("f32x4.add", a, b);
const minus = (a: V128, b: V128) => vector("f32x4.sub", a, b);
const times = (a: V128, b: V128) => vector("f32x4.mul", a, b);
const over = (a: V128, b: V128) => vector("f32x4.div", a, b);
const one = f32x4(1);

/** c[0] + x c[1] + x^2 c[2] + ..., even and odd terms apart, so that neither waits for the other. */
function polynomial(f: FunctionBuilder, argument: V128, coefficients: readonly number[]): V128 {
  const x = f.let(argument);
  const square = f.let(times(x, x));
  const terms = (parity: number) =>
    coefficients
      .filter((_, index) => index % 2 === parity)
      .reduceRight<V128 | undefined>((sum, c) => (sum ? plus(f32x4(c), times(square, sum)) : f32x4(c)), undefined) ?? f32x4(0);
  return plus(terms(0), times(x, terms(1)));
}

// Coefficients are those of least greatest relative error: 2^-23.6 (exp), 2^-21.5 (erfc), 2^-22.1 (tanh).
const log2 = { high: 0.693145751953125, low: 1.428606765330187e-6 } as const;
const expCoefficients = [
  1.000000071662494, 0.9999996919569357, 0.49998894770343, 0.16667574797587645, 0.04191539112900071, 0.008297653640124483,
];

/** Added to a number of less than 2^22, it leaves the nearest whole number in the low bits. */
const round23 = 1.5 * 2 ** 23;

/** For |x| < 80. */
function exp(f: FunctionBuilder, argument: V128): V128 {
  const x = f.let(argument);
  const shifted = f.let(plus(times(x, f32x4(Math.LOG2E)), f32x4(round23)));
  const count = f.let(minus(shifted, f32x4(round23)));
  const rest = minus(minus(x, times(count, f32x4(log2.high))), times(count, f32x4(log2.low)));
  const power = vector("i32x4.shl", vector("i32x4.add", shifted, i32x4(127)), i32(23));
  return times(polynomial(f, rest, expCoefficients), power);
}

const negative = (x: V128) => vector("f32x4.neg", x);
const sigmoidOf = (f: FunctionBuilder, gate: V128) => over(one, plus(one, exp(f, negative(gate))));

/** erfc(z) = exp(-z^2) t polynomial(t) with t = 1 / (1 + z / 2), for 0 <= z <= 6 / sqrt 2. */
const erfcCoefficients = [
  0.28240171839746625, 0.276427956123969, 0.28826131961011464, 0.018882982182277123, 0.41701082936389333, -0.37706717056149913,
  0.09408268261172112,
];

function gelu(f: FunctionBuilder, x: Local<"v128">): V128 {
  const t = f.let(over(one, plus(one, times(vector("f32x4.abs", x), f32x4(Math.SQRT1_2 / 2)))));
  const power = exp(f, times(times(x, x), f32x4(-0.5)));
  const tail = f.let(times(times(t, polynomial(f, t, erfcCoefficients)), power));
  const factor = bitselect(vector("f32x4.lt", x, f32x4(0)), tail, minus(f32x4(2), tail));
  return times(times(x, f32x4(0.5)), factor);
}

/** tanh x = x numerator(x^2) / denominator(x^2) for |x| <= 8, and from there on it is 1 to within the error. */
const tanhCoefficients = {
  numerator: [0.9999997847279802, 0.12712294538434754, 0.0026963938147803552, 7.162395375882154e-6, -6.142136080980476e-9],
  denominator: [1, 0.460454558763355, 0.022850230751397447, 0.00019674326882531364],
};

function tanh(f: FunctionBuilder, argument: V128): V128 {
  const x = f.let(vector("f32x4.pmax", vector("f32x4.pmin", argument, f32x4(8)), f32x4(-8)));
  const square = f.let(times(x, x));
  const { numerator, denominator } = tanhCoefficients;
  return over(times(x, polynomial(f, square, numerator)), polynomial(f, square, denominator));
}

function geluTanh(f: FunctionBuilder, x: Local<"v128">): V128 {
  const scale = 2 * Math.sqrt(2 / Math.PI);
  const gate = times(x, plus(f32x4(scale), times(times(x, x), f32x4(scale * 0.044715))));
  return times(x, sigmoidOf(f, gate));
}

interface QuickFunction {
  /** The error holds for |x| up to this. */
  readonly limit: number;
  readonly value: (f: FunctionBuilder, x: Local<"v128">) => V128;
}

const quickFunctions: Partial<Readonly<Record<ActivationFunction, QuickFunction>>> = {
  exp: { limit: 80, value: exp },
  gelu: { limit: 6, value: gelu },
  gelu_tanh: { limit: 4, value: geluTanh },
  sigmoid: { limit: 16, value: sigmoidOf },
  tanh: { limit: Number.POSITIVE_INFINITY, value: tanh },
  silu: { limit: 16, value: (f, x) => times(x, sigmoidOf(f, x)) },
};

const quickError = 2 ** -18;

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
