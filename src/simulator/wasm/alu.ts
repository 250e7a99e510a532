/** The engines' element functions on lanes, as tables: two-operand functions in FP32 and in int32, and the scalar engine's functions. */
import type { ActivationFunction, AluOp, DeviceType } from "../../program/program.js";
import type { LaneClass } from "./dtype.js";
import {
  add,
  bitselect,
  type Code,
  callFor,
  demote,
  double,
  extractF32,
  extractI32,
  type FunctionBuilder,
  f32x4,
  f64,
  type I32,
  i32,
  i32x4,
  i64,
  long,
  replaceF32,
  replaceI32,
  scalar,
  select,
  shared,
  shuffleWords,
  type V128,
  vector,
} from "./emitter.js";
import { type DoubleFunction, doubleFunctions, power } from "./math.js";
import type { VectorOperation } from "./opcodes.js";
import { quickly } from "./quick.js";

/** `f`: the function that it is emitted into. */
type Binary = (f: FunctionBuilder, left: V128, right: V128) => V128;

const plain =
  (name: VectorOperation): Binary =>
  (_, left, right) =>
    vector(name, left, right);
const floatTruth = (mask: V128) => vector("v128.and", mask, f32x4(1));
const intTruth = (mask: V128) => vector("v128.and", mask, i32x4(1));
const isFloatSet = (value: V128) => vector("f32x4.ne", value, f32x4(0));
const isIntSet = (value: V128) => vector("i32x4.ne", value, i32x4(0));
const floatCompare =
  (name: VectorOperation): Binary =>
  (_, left, right) =>
    floatTruth(vector(name, left, right));
const intCompare =
  (name: VectorOperation): Binary =>
  (_, left, right) =>
    intTruth(vector(name, left, right));
const floatLogic =
  (name: VectorOperation): Binary =>
  (_, left, right) =>
    floatTruth(vector(name, isFloatSet(left), isFloatSet(right)));
const intLogic =
  (name: VectorOperation): Binary =>
  (_, left, right) =>
    intTruth(vector(name, isIntSet(left), isIntSet(right)));

const swapHalves = (value: V128) => shuffleWords(value, value, [2, 3, 0, 1]);
const joinHalves = (low: V128, high: V128) => shuffleWords(low, high, [0, 1, 4, 5]);

/** Applies an FP64 function to the four FP32 lanes. */
function inDouble(f: FunctionBuilder, values: readonly V128[], apply: (...lanes: V128[]) => V128): V128 {
  const held = values.map((value) => f.let(value));
  const low = f.let(apply(...held.map((value) => vector("f64x2.promote_low_f32x4", value))));
  const high = f.let(apply(...held.map((value) => vector("f64x2.promote_low_f32x4", swapHalves(value)))));
  return joinHalves(vector("f32x4.demote_f64x2_zero", low), vector("f32x4.demote_f64x2_zero", high));
}

/** The remainder with the divisor's sign; exact before the last addition. NaN for a divisor of 0. */
function floatModulo(): FunctionBuilder {
  return shared("float_modulo", { parameters: ["f32", "f32"], result: "f32" }, (f) => {
    const x = f.let(double("f64.promote_f32", f.parameter(0, "f32")));
    const y = f.let(double("f64.promote_f32", f.parameter(1, "f32")));
    const rest = f.let(double("f64.abs", x));
    const divisor = f.let(double("f64.abs", y));
    const bits = (value: Code<"f64">) => long("i64.and", long("i64.reinterpret_f64", value), i64(0x7ff0000000000000n));
    const multiple = f.local("f64");
    const infinite = f64(Number.POSITIVE_INFINITY);
    f.if(scalar("i32.or", scalar("i32.eqz", scalar("f64.lt", rest, infinite)), scalar("i32.eqz", scalar("f64.gt", divisor, f64(0)))), () =>
      f.set(rest, f64(Number.NaN)),
    );
    f.while(scalar("f64.ge", rest, divisor), () => {
      // The largest multiple divisor * 2^n whose quotient has few bits, so that every step below is exact.
      const ratio = double("f64.reinterpret_i64", bits(double("f64.div", rest, divisor)));
      const step = double("f64.mul", ratio, f64(2 ** -24));
      f.set(multiple, double("f64.mul", divisor, select(scalar("f64.gt", step, f64(1)), step, f64(1))));
      f.set(rest, double("f64.sub", rest, double("f64.mul", double("f64.floor", double("f64.div", rest, multiple)), multiple)));
      f.if(scalar("f64.lt", rest, f64(0)), () => f.set(rest, double("f64.add", rest, multiple)));
    });
    f.set(rest, double("f64.copysign", rest, x));
    const opposite = scalar("i32.ne", scalar("f64.lt", rest, f64(0)), scalar("f64.lt", y, f64(0)));
    f.if(scalar("i32.and", scalar("f64.ne", rest, f64(0)), opposite), () => f.set(rest, double("f64.add", rest, y)));
    f.result(demote(rest));
  });
}

const floatModulos: Binary = (f, left, right) => {
  const [a, b] = [f.let(left), f.let(right)];
  return [0, 1, 2, 3].reduce<V128>(
    (lanes, lane) => replaceF32(lanes, lane, callFor("f32", floatModulo(), extractF32(a, lane), extractF32(b, lane))),
    a,
  );
};

function refuse(op: AluOp): Binary {
  return () => {
    throw new Error(`${op} has no meaning in FP32`);
  };
}

const floatAlu: Readonly<Record<AluOp, Binary>> = {
  add: plain("f32x4.add"),
  subtract: plain("f32x4.sub"),
  multiply: plain("f32x4.mul"),
  divide: plain("f32x4.div"),
  maximum: plain("f32x4.max"),
  minimum: plain("f32x4.min"),
  power: (f, left, right) => inDouble(f, [left, right], (x, y) => power(f, x, y)),
  modulo: floatModulos,
  equal: floatCompare("f32x4.eq"),
  not_equal: floatCompare("f32x4.ne"),
  less: floatCompare("f32x4.lt"),
  less_equal: floatCompare("f32x4.le"),
  greater: floatCompare("f32x4.gt"),
  greater_equal: floatCompare("f32x4.ge"),
  logical_and: floatLogic("v128.and"),
  logical_or: floatLogic("v128.or"),
  logical_xor: floatLogic("v128.xor"),
  bitwise_and: refuse("bitwise_and"),
  bitwise_or: refuse("bitwise_or"),
  bitwise_xor: refuse("bitwise_xor"),
  shift_left: refuse("shift_left"),
  shift_right: refuse("shift_right"),
};

/** A function of two integers, called for each lane. */
function perLane(name: string, build: (f: FunctionBuilder, x: I32, y: I32) => I32): Binary {
  return (f, left, right) => {
    const callee = shared(name, { parameters: ["i32", "i32"], result: "i32" }, (g) =>
      g.result(build(g, g.parameter(0, "i32"), g.parameter(1, "i32"))),
    );
    const [a, b] = [f.let(left), f.let(right)];
    return [0, 1, 2, 3].reduce<V128>(
      (lanes, lane) => replaceI32(lanes, lane, callFor("i32", callee, extractI32(a, lane), extractI32(b, lane))),
      a,
    );
  };
}

/** Truncates towards zero; by zero: 0; the one overflow wraps. */
function quotient(f: FunctionBuilder, x: I32, y: I32, signed: boolean): I32 {
  const value = f.let(i32(0));
  if (!signed) {
    f.if(y, () => f.set(value, scalar("i32.div_u", x, y)));
    return value;
  }
  f.if(
    scalar("i32.eq", y, i32(-1)),
    () => f.set(value, scalar("i32.sub", i32(0), x)),
    () => f.if(y, () => f.set(value, scalar("i32.div_s", x, y))),
  );
  return value;
}

/** With the divisor's sign; by zero: 0. */
function remainder(f: FunctionBuilder, x: I32, y: I32, signed: boolean): I32 {
  const value = f.let(i32(0));
  f.if(y, () => f.set(value, scalar(signed ? "i32.rem_s" : "i32.rem_u", x, y)));
  if (signed) {
    const opposite = scalar("i32.lt_s", scalar("i32.xor", value, y), i32(0));
    f.if(scalar("i32.and", scalar("i32.ne", value, i32(0)), opposite), () => f.set(value, add(value, y)));
  }
  return value;
}

/** Repeated multiplication modulo 2^32. A negative exponent gives the truncated reciprocal: 0, save for 1 and -1. */
function wholePower(f: FunctionBuilder, x: I32, y: I32, signed: boolean): I32 {
  const value = f.let(i32(1));
  const base = f.let(x);
  const rest = f.let(y);
  if (signed) {
    const unit = scalar("i32.le_u", add(x, 1), i32(2));
    f.if(scalar("i32.and", scalar("i32.lt_s", y, i32(0)), scalar("i32.or", scalar("i32.eqz", unit), scalar("i32.eqz", x))), () => {
      f.set(value, i32(0));
      f.set(rest, i32(0));
    });
  }
  f.while(rest, () => {
    f.if(scalar("i32.and", rest, i32(1)), () => f.set(value, scalar("i32.mul", value, base)));
    f.set(base, scalar("i32.mul", base, base));
    f.set(rest, scalar("i32.shr_u", rest, i32(1)));
  });
  return value;
}

/** The bits shifted out are lost; a shift by 32 or more (or less than 0) gives 0, or -1 for a negative number shifted right. */
function shift(f: FunctionBuilder, x: I32, y: I32, op: "left" | "right", signed: boolean): I32 {
  const inside = scalar("i32.lt_u", y, i32(32));
  if (op === "left") return select(inside, scalar("i32.shl", x, y), i32(0));
  return signed ? scalar("i32.shr_s", x, select(inside, y, i32(31))) : select(inside, scalar("i32.shr_u", x, y), f.let(i32(0)));
}

function intAlu(signed: boolean): Readonly<Record<AluOp, Binary>> {
  const sign = signed ? "s" : "u";
  return {
    add: plain("i32x4.add"),
    subtract: plain("i32x4.sub"),
    multiply: plain("i32x4.mul"),
    divide: perLane(`divide_${sign}`, (f, x, y) => quotient(f, x, y, signed)),
    maximum: plain(`i32x4.max_${sign}`),
    minimum: plain(`i32x4.min_${sign}`),
    power: perLane(`power_${sign}`, (f, x, y) => wholePower(f, x, y, signed)),
    modulo: perLane(`modulo_${sign}`, (f, x, y) => remainder(f, x, y, signed)),
    equal: intCompare("i32x4.eq"),
    not_equal: intCompare("i32x4.ne"),
    less: intCompare(`i32x4.lt_${sign}`),
    less_equal: intCompare(`i32x4.le_${sign}`),
    greater: intCompare(`i32x4.gt_${sign}`),
    greater_equal: intCompare(`i32x4.ge_${sign}`),
    logical_and: intLogic("v128.and"),
    logical_or: intLogic("v128.or"),
    logical_xor: intLogic("v128.xor"),
    bitwise_and: plain("v128.and"),
    bitwise_or: plain("v128.or"),
    bitwise_xor: plain("v128.xor"),
    shift_left: perLane("shift_left", (f, x, y) => shift(f, x, y, "left", signed)),
    shift_right: perLane(`shift_right_${sign}`, (f, x, y) => shift(f, x, y, "right", signed)),
  };
}

const alu: Readonly<Record<LaneClass, Readonly<Record<AluOp, Binary>>>> = {
  float: floatAlu,
  signed: intAlu(true),
  unsigned: intAlu(false),
};

/** `left op right` on lanes of one class; the result is of that class. */
export function binary(f: FunctionBuilder, op: AluOp, mode: LaneClass, left: V128, right: V128): V128 {
  return alu[mode][op](f, left, right);
}

type Unary = (f: FunctionBuilder, x: V128, alpha: V128) => V128;

const viaDouble =
  (apply: DoubleFunction): Unary =>
  (f, x) =>
    inDouble(f, [x], (lanes) => apply(f, lanes));

const unary: Readonly<Record<Exclude<ActivationFunction, keyof typeof doubleFunctions>, Unary>> = {
  identity: (_, x) => x,
  relu: (_, x) => vector("f32x4.max", x, f32x4(0)),
  leaky_relu: (f, x, alpha) => {
    const value = f.let(x);
    return bitselect(vector("f32x4.lt", value, f32x4(0)), vector("f32x4.mul", value, alpha), value);
  },
  sqrt: (_, x) => vector("f32x4.sqrt", x),
  rsqrt: (_, x) => vector("f32x4.div", f32x4(1), vector("f32x4.sqrt", x)),
  reciprocal: (_, x) => vector("f32x4.div", f32x4(1), x),
  square: (f, x) => {
    const value = f.let(x);
    return vector("f32x4.mul", value, value);
  },
  abs: (_, x) => vector("f32x4.abs", x),
  sign: (f, x) => {
    const value = f.let(x);
    const negative = vector("v128.and", vector("f32x4.lt", value, f32x4(0)), f32x4(-1));
    return bitselect(vector("f32x4.gt", value, f32x4(0)), f32x4(1), bitselect(vector("f32x4.ne", value, value), value, negative));
  },
  floor: (_, x) => vector("f32x4.floor", x),
  ceil: (_, x) => vector("f32x4.ceil", x),
  round: (_, x) => vector("f32x4.nearest", x),
  is_nan: (f, x) => {
    const value = f.let(x);
    return floatTruth(vector("f32x4.ne", value, value));
  },
  is_inf: (_, x) => floatTruth(vector("f32x4.eq", vector("f32x4.abs", x), f32x4(Number.POSITIVE_INFINITY))),
};

/** Is the function a series in FP64? */
export function isDouble(name: ActivationFunction): name is keyof typeof doubleFunctions {
  return name in doubleFunctions;
}

/** The scalar engine's function on FP32 lanes, of a result that is then rounded to `out`. */
export function activationFunction(f: FunctionBuilder, name: ActivationFunction, x: V128, alpha: V128, out: DeviceType): V128 {
  if (!isDouble(name)) return unary[name](f, x, alpha);
  return quickly(f, name, out, f.let(x), (value) => viaDouble(doubleFunctions[name])(f, value, alpha));
}
