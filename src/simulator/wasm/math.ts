/**
 * Transcendental functions of two FP64 lanes, each from a series in FP64 with a relative error below 3e-7 (most below 1e-11), so that
 * the FP32 result is the right one or its neighbour. Infinities, NaN and zeros are right; sin, cos, tan for |x| up to 1e8.
 */
import { bitselect, type FunctionBuilder, f64x2, i32, i64x2, type Local, type V128, vector } from "./emitter.js";

const plus = (a: V128, b: V128) => vector("f64x2.add", a, b);
const minus = (a: V128, b: V128) => vector("f64x2.sub", a, b);
const times = (a: V128, b: V128) => vector("f64x2.mul", a, b);
const over = (a: V128, b: V128) => vector("f64x2.div", a, b);
const abs = (a: V128) => vector("f64x2.abs", a);
const negate = (a: V128) => vector("f64x2.neg", a);
const root = (a: V128) => vector("f64x2.sqrt", a);
const less = (a: V128, b: V128) => vector("f64x2.lt", a, b);
const equal = (a: V128, b: V128) => vector("f64x2.eq", a, b);
const withSign = (size: V128, sign: V128) => bitselect(i64x2(-(2n ** 63n)), sign, size);
const one = f64x2(1);

/** c[0] + x (c[1] + x (...)). */
function polynomial(f: FunctionBuilder, argument: V128, coefficients: readonly number[]): V128 {
  const x = f.let(argument);
  return coefficients.reduceRight<V128 | undefined>((sum, c) => (sum ? plus(f64x2(c), times(x, sum)) : f64x2(c)), undefined) ?? f64x2(0);
}

const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1));
const range = (count: number, term: (n: number) => number) => Array.from({ length: count }, (_, n) => term(n));

/** Any function here: takes a value (used once) and gives one. */
export type DoubleFunction = (f: FunctionBuilder, x: V128) => V128;

const round52 = 1.5 * 2 ** 52;

export const exp: DoubleFunction = (f, argument) => {
  // `pmin` and `pmax` give their first operand where a NaN is one of them, and are an instruction each.
  const x = f.let(vector("f64x2.pmax", vector("f64x2.pmin", argument, f64x2(700)), f64x2(-700)));
  const shifted = f.let(plus(times(x, f64x2(Math.LOG2E)), f64x2(round52)));
  const count = minus(shifted, f64x2(round52));
  const rest = f.let(minus(x, times(count, f64x2(Math.LN2))));
  const power = vector("i64x2.shl", vector("i64x2.add", shifted, i64x2(1023n)), i32(52));
  return times(
    polynomial(
      f,
      rest,
      range(11, (n) => 1 / factorial(n)),
    ),
    power,
  );
};

/** Of an FP32 number or a product of such: no FP64 denormals. */
export const log: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const bits = f.let(vector("i64x2.sub", x, i64x2(0x3fe6a09e667f3bcdn)));
  const exponent = f.let(vector("i64x2.shr_s", bits, i32(52)));
  const mantissa = f.let(vector("i64x2.sub", x, vector("i64x2.shl", exponent, i32(52))));
  const count = minus(vector("i64x2.add", exponent, f64x2(round52)), f64x2(round52));
  const s = f.let(over(minus(mantissa, one), plus(mantissa, one)));
  const z = f.let(times(s, s));
  const series = polynomial(
    f,
    z,
    range(9, (n) => 2 / (2 * n + 1)),
  );
  const value = plus(times(count, f64x2(Math.LN2)), times(s, series));
  const infinite = f64x2(Number.POSITIVE_INFINITY);
  const regular = bitselect(less(x, infinite), value, x);
  const positive = bitselect(equal(x, f64x2(0)), f64x2(Number.NEGATIVE_INFINITY), regular);
  return bitselect(less(x, f64x2(0)), f64x2(Number.NaN), positive);
};

/** log(1 + t), t >= 0; the correction is for the rounding of the sum. */
const log1p: DoubleFunction = (f, argument) => {
  const t = f.let(argument);
  const sum = f.let(plus(one, t));
  const correction = over(minus(t, minus(sum, one)), sum);
  return plus(log(f, sum), vector("v128.and", less(t, f64x2(1e15)), correction));
};

/** `near` where |x| < limit, else `far`. */
function split(x: V128, limit: number, near: V128, far: V128): V128 {
  return bitselect(less(abs(x), f64x2(limit)), near, far);
}

const sigmoid: DoubleFunction = (f, x) => over(one, plus(one, exp(f, negate(x))));

const tanh: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const near = times(x, polynomial(f, times(x, x), [1, -1 / 3, 2 / 15]));
  const far = minus(one, over(f64x2(2), plus(exp(f, times(x, f64x2(2))), one)));
  return split(x, 2e-3, near, far);
};

/** Numerical Recipes' fit: log erfc(z) = log t + polynomial(t) - z^2 with t = 1 / (1 + z / 2), z >= 0. */
export const erfcCoefficients = [
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277,
] as const;

/** Complementary error function of |x|, fractional error below 1.2e-7. */
const erfcOfSize: DoubleFunction = (f, argument) => {
  const z = f.let(abs(argument));
  const t = f.let(over(one, plus(one, times(z, f64x2(0.5)))));
  const fit = polynomial(f, t, erfcCoefficients);
  return times(t, exp(f, minus(fit, times(z, z))));
};

const erfSeries = (f: FunctionBuilder, x: V128) =>
  times(
    x,
    polynomial(
      f,
      times(x, x),
      range(13, (n) => ((n % 2 ? -1 : 1) * 2) / (Math.sqrt(Math.PI) * factorial(n) * (2 * n + 1))),
    ),
  );

const erf: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  return split(x, 1, erfSeries(f, x), withSign(minus(one, erfcOfSize(f, x)), x));
};

/** x / 2 erfc(-x / sqrt 2). */
const gelu: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const z = f.let(times(x, f64x2(Math.SQRT1_2)));
  const tail = f.let(erfcOfSize(f, z));
  const sided = bitselect(less(z, f64x2(0)), tail, minus(f64x2(2), tail));
  const factor = f.let(split(z, 1, plus(one, erfSeries(f, z)), sided));
  // A factor of 0 belongs to x = -infinity or nearly so: the limit of the product is 0.
  return bitselect(equal(factor, f64x2(0)), f64x2(-0), times(times(x, f64x2(0.5)), factor));
};

/** x sigmoid(gate); its limit 0 at x = -infinity. */
function timesGate(f: FunctionBuilder, x: Local<"v128">, gate: V128): V128 {
  const value = over(x, plus(one, exp(f, negate(gate))));
  return bitselect(equal(x, f64x2(Number.NEGATIVE_INFINITY)), f64x2(-0), value);
}

const silu: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  return timesGate(f, x, x);
};

const geluTanh: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const inner = times(times(x, polynomial(f, times(x, x), [1, 0.044715])), f64x2(2 * Math.sqrt(2 / Math.PI)));
  return timesGate(f, x, inner);
};

const softplus: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  return plus(vector("f64x2.max", x, f64x2(0)), log1p(f, exp(f, negate(abs(x)))));
};

/** sin(x + quarters pi/2). */
const sine =
  (quarters: bigint): DoubleFunction =>
  (f, argument) => {
    const x = f.let(argument);
    const shifted = f.let(plus(times(x, f64x2(2 / Math.PI)), f64x2(round52)));
    const count = f.let(minus(shifted, f64x2(round52)));
    const rest = f.let(minus(minus(x, times(count, f64x2(1.5707963267341256))), times(count, f64x2(6.077100506506192e-11))));
    const z = f.let(times(rest, rest));
    const sin = times(
      rest,
      polynomial(
        f,
        z,
        range(8, (n) => (n % 2 ? -1 : 1) / factorial(2 * n + 1)),
      ),
    );
    const cos = polynomial(
      f,
      z,
      range(9, (n) => (n % 2 ? -1 : 1) / factorial(2 * n)),
    );
    const quadrant = f.let(vector("i64x2.add", shifted, i64x2(quarters)));
    const odd = vector("i64x2.sub", i64x2(0n), vector("v128.and", quadrant, i64x2(1n)));
    const sign = vector("i64x2.shl", vector("i64x2.shr_u", quadrant, i32(1)), i32(63));
    const value = vector("v128.xor", bitselect(odd, cos, sin), sign);
    return quarters === 0n ? bitselect(equal(x, f64x2(0)), x, value) : value;
  };
const sin = sine(0n);
const cos = sine(1n);
const tan: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  return over(sin(f, x), cos(f, x));
};

const atan: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const size = f.let(abs(x));
  const large = f.let(less(one, size));
  const inside = f.let(bitselect(large, over(one, size), size));
  const upper = f.let(less(f64x2(Math.SQRT2 - 1), inside));
  const y = f.let(bitselect(upper, over(minus(inside, one), plus(inside, one)), inside));
  const series = times(
    y,
    polynomial(
      f,
      times(y, y),
      range(13, (n) => (n % 2 ? -1 : 1) / (2 * n + 1)),
    ),
  );
  const angle = f.let(plus(series, vector("v128.and", upper, f64x2(Math.PI / 4))));
  return withSign(bitselect(large, minus(f64x2(Math.PI / 2), angle), angle), x);
};

const asin: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  return atan(f, over(x, root(times(minus(one, x), plus(one, x)))));
};

const acos: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  return times(f64x2(2), atan(f, root(over(minus(one, x), plus(one, x)))));
};

const sinh: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const near = times(x, polynomial(f, times(x, x), [1, 1 / 6, 1 / 120]));
  const e = f.let(exp(f, x));
  return split(x, 1e-2, near, times(minus(e, over(one, e)), f64x2(0.5)));
};

const cosh: DoubleFunction = (f, x) => {
  const e = f.let(exp(f, x));
  return times(plus(e, over(one, e)), f64x2(0.5));
};

const asinh: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const size = f.let(abs(x));
  const near = times(x, polynomial(f, times(x, x), [1, -1 / 6, 3 / 40, -15 / 336]));
  return split(x, 1e-2, near, withSign(log(f, plus(size, root(plus(times(size, size), one)))), x));
};

const acosh: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  return log1p(f, plus(minus(x, one), times(root(minus(x, one)), root(plus(x, one)))));
};

const atanh: DoubleFunction = (f, argument) => {
  const x = f.let(argument);
  const near = times(x, polynomial(f, times(x, x), [1, 1 / 3, 1 / 5, 1 / 7]));
  return split(x, 1e-2, near, times(log(f, over(plus(one, x), minus(one, x))), f64x2(0.5)));
};

export const doubleFunctions = {
  sigmoid,
  tanh,
  exp,
  log,
  erf,
  gelu,
  gelu_tanh: geluTanh,
  silu,
  softplus,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  asinh,
  acosh,
  atanh,
} as const satisfies Record<string, DoubleFunction>;

/** x ** y as C's pow has it (1 for y = 0 or x = 1; NaN for a negative x unless y is whole). */
export function power(f: FunctionBuilder, base: V128, exponent: V128): V128 {
  const x = f.let(base);
  const y = f.let(exponent);
  const size = f.let(abs(x));
  const product = f.let(times(y, log(f, size)));
  const infinite = f64x2(Number.POSITIVE_INFINITY);
  const small = bitselect(equal(product, f64x2(Number.NEGATIVE_INFINITY)), f64x2(0), exp(f, product));
  const value = f.let(bitselect(equal(product, infinite), infinite, small));
  const whole = f.let(equal(vector("f64x2.trunc", y), y));
  const half = f.let(times(y, f64x2(0.5)));
  const odd = vector("v128.andnot", whole, equal(vector("f64x2.trunc", half), half));
  const negative = f.let(vector("v128.and", vector("i64x2.shr_s", x, i32(63)), odd));
  const signed = vector("v128.xor", value, vector("v128.and", negative, i64x2(-(2n ** 63n))));
  const finiteNegative = vector("v128.and", less(x, f64x2(0)), less(f64x2(Number.NEGATIVE_INFINITY), x));
  const real = bitselect(vector("v128.andnot", finiteNegative, whole), f64x2(Number.NaN), signed);
  const trivial = vector("v128.or", equal(y, f64x2(0)), equal(x, one));
  const minusOne = vector("v128.and", equal(size, one), equal(abs(y), infinite));
  return bitselect(vector("v128.or", trivial, minusOne), one, real);
}
