/**
 * Values of device types in 32-bit lanes: floats as the FP32 number already rounded to their type, integers and bool as int32 (8 and
 * 16 bits sign- or zero-extended). WebAssembly arithmetic is IEEE 754: denormals are kept, never flushed.
 */
import type { DeviceType } from "../../program/program.js";
import { bitselect, type FunctionBuilder, f32x4, i32, i32x4, type V128, vector } from "./emitter.js";

/** How a lane is to be read: an FP32 number, or an int32 (uint32 for `unsigned`). */
export type LaneClass = "float" | "signed" | "unsigned";

export function laneClass(dtype: DeviceType): LaneClass {
  if (dtype === "float32" || dtype === "float16" || dtype === "bfloat16") return "float";
  return dtype === "uint32" ? "unsigned" : "signed";
}

/** To an FP32 lane; integers round to nearest even. */
export function toFloat(value: V128, from: LaneClass): V128 {
  if (from === "float") return value;
  return vector(from === "unsigned" ? "f32x4.convert_i32x4_u" : "f32x4.convert_i32x4_s", value);
}

const shifted = (value: V128, name: "i32x4.shl" | "i32x4.shr_s" | "i32x4.shr_u", bits: number) => vector(name, value, i32(bits));
const and = (value: V128, bits: number) => vector("v128.and", value, i32x4(bits));
const truth = (mask: V128) => and(mask, 1);

/** Integer lanes, cut to the width of the type. */
function narrow(value: V128, dtype: DeviceType): V128 {
  if (dtype === "int8") return shifted(shifted(value, "i32x4.shl", 24), "i32x4.shr_s", 24);
  if (dtype === "int16") return shifted(shifted(value, "i32x4.shl", 16), "i32x4.shr_s", 16);
  if (dtype === "uint8") return and(value, 0xff);
  if (dtype === "uint16") return and(value, 0xffff);
  if (dtype === "bool") return truth(vector("i32x4.ne", value, i32x4(0)));
  return value;
}

/** Nearest even, NaN kept. */
function roundToBfloat16(f: FunctionBuilder, number: V128): V128 {
  const value = f.let(number);
  const odd = and(shifted(value, "i32x4.shr_u", 16), 1);
  const rounded = and(vector("i32x4.add", vector("i32x4.add", value, i32x4(0x7fff)), odd), 0xffff0000);
  return bitselect(vector("f32x4.eq", value, value), rounded, i32x4(0x7fc00000));
}

/** Nearest even; overflow to infinity, subnormals rounded to multiples of 2^-24, NaN kept. */
function roundToFloat16(f: FunctionBuilder, number: V128): V128 {
  const value = f.let(number);
  const size = f.let(vector("f32x4.abs", value));
  const odd = and(shifted(size, "i32x4.shr_u", 13), 1);
  const normal = and(vector("i32x4.add", vector("i32x4.add", size, i32x4(0xfff)), odd), ~0x1fff);
  const subnormal = vector("f32x4.sub", vector("f32x4.add", size, f32x4(0.5)), f32x4(0.5));
  const finite = bitselect(vector("f32x4.lt", size, f32x4(2 ** -14)), subnormal, normal);
  const rounded = f.let(bitselect(vector("f32x4.lt", size, f32x4(65520)), finite, f32x4(Number.POSITIVE_INFINITY)));
  const kept = bitselect(vector("f32x4.eq", value, value), rounded, i32x4(0x7fc00000));
  return bitselect(i32x4(0x80000000), value, kept);
}

/**
 * Converts a lane to `dtype`: floats round to nearest even; float to integer truncates (saturating to 32 bits, NaN to 0, then cut to
 * the width); to bool is != 0.
 */
export function convert(f: FunctionBuilder, value: V128, from: LaneClass, dtype: DeviceType): V128 {
  if (dtype === "float32") return toFloat(value, from);
  if (dtype === "bfloat16") return roundToBfloat16(f, toFloat(value, from));
  if (dtype === "float16") return roundToFloat16(f, toFloat(value, from));
  if (from !== "float") return narrow(value, dtype);
  if (dtype === "bool") return truth(vector("f32x4.ne", value, f32x4(0)));
  return narrow(vector(dtype === "uint32" ? "i32x4.trunc_sat_f32x4_u" : "i32x4.trunc_sat_f32x4_s", value), dtype);
}
