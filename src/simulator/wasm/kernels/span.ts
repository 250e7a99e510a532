/**
 * Where every product of two operands is exact in FP32, a fused multiply-add gives the bits of a multiplication and an addition, which is slower.
 * Of 16-bit floats all are, save for those BFLOAT16 products that leave FP32's range; so what decides is the operands' spans: their least and
 * greatest exponents, zeros left out.
 */
import {
  add,
  extractI32,
  type FunctionBuilder,
  type I32,
  i32,
  i32x4,
  type Local,
  loadI32,
  loadVector,
  multiply,
  scalar,
  select,
  shared,
  vector,
} from "../emitter.js";
import { kernelParameters, kernelType } from "./common.js";

/** A span in memory: the words `low`, `high`, biased as FP32's exponents. Each thread has one, on a cache line of its own. */
export const spanWords = { low: 0, high: 1 } as const;
export const spanPitch = 64;

/** Of every FLOAT16 number, its infinities left out: they give the same either way. */
export const float16Span = { low: 103, high: 142 } as const;
const exponentBias = 127;
/** A mantissa has at most 10 bits behind the point: below this sum, the last bit of a product may lie below FP32's least. */
const lowestSum = 2 * exponentBias - 149 + 2 * 10;
/** A product is less than 2 to the power of the sum of the exponents and 2. */
const highestSum = 2 * exponentBias + 128 - 2;

/** Whether every product of numbers in two spans is exact. */
export function isExact(first: I32, second: I32): I32 {
  const sum = (word: number) => add(loadI32(first, word * 4), loadI32(second, word * 4));
  return scalar(
    "i32.and",
    scalar("i32.ge_s", sum(spanWords.low), i32(lowestSum)),
    scalar("i32.le_s", sum(spanWords.high), i32(highestSum)),
  );
}

/** The exponents' bits follow upon 7 of the mantissa in the upper half of a number. */
export const exponentShift = 7;

export const spanArguments = { lanes: 0, tableBytes: 1, base: 2, table: 3, span: 4 } as const;

/** Finds the span of 16-bit floats in SBUF. Each thread reads all that its arguments name. */
export function emitSpan(): FunctionBuilder {
  return shared("span", kernelType, (f) => {
    const p = kernelParameters(f);
    const argument = (index: number) => f.let(loadI32(p.arguments, index * 4));
    const [lanes, tableBytes, base, table, span] = Object.values(spanArguments).map(argument);
    const fullLanes = f.let(scalar("i32.and", lanes, i32(-8)));
    // Upper halves of the absolute values; of `least`, less 1, so that zeros come last.
    const [least, most] = [f.let(i32x4(-1)), f.let(i32x4(0))];
    const [low, high] = [f.let(i32(0xffff)), f.let(i32(0))];
    const [position, lane, from, half] = [f.local("i32"), f.local("i32"), f.local("i32"), f.local("i32")];
    const halves = f.local("v128");
    const one = f.let(i32x4(0x00010001));
    const include = (value: I32, decremented: I32) => {
      f.set(half, value);
      f.set(high, select(scalar("i32.gt_u", half, high), half, high));
      f.set(half, decremented);
      f.set(low, select(scalar("i32.lt_u", half, low), half, low));
    };
    f.for(position, 0, tableBytes, 4, () => {
      f.set(from, add(base, loadI32(add(table, position))));
      f.for(lane, 0, fullLanes, 8, () => {
        const lower = vector("i32x4.shr_u", loadVector(from), i32(16));
        const upper = vector("v128.and", loadVector(from, 16), i32x4(0xffff0000));
        f.set(halves, vector("v128.and", vector("v128.or", lower, upper), i32x4(0x7fff7fff)));
        f.set(most, vector("i16x8.max_u", most, halves));
        f.set(least, vector("i16x8.min_u", least, vector("i16x8.sub", halves, one)));
        f.set(from, add(from, 32));
      });
      f.for(lane, fullLanes, lanes, 1, () => {
        const size: Local<"i32"> = f.let(scalar("i32.and", scalar("i32.shr_u", loadI32(from), i32(16)), i32(0x7fff)));
        include(size, scalar("i32.and", add(size, -1), i32(0xffff)));
        f.set(from, add(from, 4));
      });
    });
    for (const word of [0, 1, 2, 3]) {
      const [sizes, others] = [f.let(extractI32(most, word)), f.let(extractI32(least, word))];
      include(scalar("i32.and", sizes, i32(0xffff)), scalar("i32.and", others, i32(0xffff)));
      include(scalar("i32.shr_u", sizes, i32(16)), scalar("i32.shr_u", others, i32(16)));
    }
    const own = f.let(add(span, multiply(p.thread, spanPitch)));
    f.storeI32(own, scalar("i32.shr_u", add(low, 1), i32(exponentShift)), spanWords.low * 4);
    f.storeI32(own, scalar("i32.shr_u", high, i32(exponentShift)), spanWords.high * 4);
  });
}
