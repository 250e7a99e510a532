/** WebAssembly opcodes used by the kernels, as data: name -> [opcode, result type, operand types]. Source: WebAssembly core specification 2.0 and threads proposal. */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

const simd = {
  "i32x4.eq": 55,
  "i32x4.ne": 56,
  "i32x4.lt_s": 57,
  "i32x4.lt_u": 58,
  "i32x4.gt_s": 59,
  "i32x4.gt_u": 60,
  "i32x4.le_s": 61,
  "i32x4.le_u": 62,
  "i32x4.ge_s": 63,
  "i32x4.ge_u": 64,
  "f32x4.eq": 65,
  "f32x4.ne": 66,
  "f32x4.lt": 67,
  "f32x4.gt": 68,
  "f32x4.le": 69,
  "f32x4.ge": 70,
  "f64x2.eq": 71,
  "f64x2.ne": 72,
  "f64x2.lt": 73,
  "f64x2.gt": 74,
  "f64x2.le": 75,
  "f64x2.ge": 76,
  "v128.and": 78,
  "v128.andnot": 79,
  "v128.or": 80,
  "v128.xor": 81,
  "i16x8.sub": 145,
  "i16x8.min_u": 151,
  "i16x8.max_u": 153,
  "i32x4.add": 174,
  "i32x4.sub": 177,
  "i32x4.mul": 181,
  "i32x4.min_s": 182,
  "i32x4.min_u": 183,
  "i32x4.max_s": 184,
  "i32x4.max_u": 185,
  "i64x2.add": 206,
  "i64x2.sub": 209,
  "f32x4.add": 228,
  "f32x4.sub": 229,
  "f32x4.mul": 230,
  "f32x4.div": 231,
  "f32x4.min": 232,
  "f32x4.max": 233,
  "f32x4.pmin": 234,
  "f32x4.pmax": 235,
  "f64x2.add": 240,
  "f64x2.sub": 241,
  "f64x2.mul": 242,
  "f64x2.div": 243,
  "f64x2.max": 245,
  "f64x2.pmin": 246,
  "f64x2.pmax": 247,
} as const;

const simdUnary = {
  "v128.not": 77,
  "f32x4.demote_f64x2_zero": 94,
  "f64x2.promote_low_f32x4": 95,
  "f32x4.ceil": 103,
  "f32x4.floor": 104,
  "f32x4.trunc": 105,
  "f32x4.nearest": 106,
  "f64x2.floor": 117,
  "f64x2.trunc": 122,
  "f64x2.nearest": 148,
  "i32x4.abs": 160,
  "i32x4.neg": 161,
  "f32x4.abs": 224,
  "f32x4.neg": 225,
  "f32x4.sqrt": 227,
  "f64x2.abs": 236,
  "f64x2.neg": 237,
  "f64x2.sqrt": 239,
  "i32x4.trunc_sat_f32x4_s": 248,
  "i32x4.trunc_sat_f32x4_u": 249,
  "f32x4.convert_i32x4_s": 250,
  "f32x4.convert_i32x4_u": 251,
} as const;

const simdShift = {
  "i32x4.shl": 171,
  "i32x4.shr_s": 172,
  "i32x4.shr_u": 173,
  "i64x2.shl": 203,
  "i64x2.shr_s": 204,
  "i64x2.shr_u": 205,
} as const;

const i32Binary = {
  "i32.eq": 0x46,
  "i32.ne": 0x47,
  "i32.lt_s": 0x48,
  "i32.lt_u": 0x49,
  "i32.gt_s": 0x4a,
  "i32.gt_u": 0x4b,
  "i32.le_s": 0x4c,
  "i32.le_u": 0x4d,
  "i32.ge_s": 0x4e,
  "i32.ge_u": 0x4f,
  "i32.add": 0x6a,
  "i32.sub": 0x6b,
  "i32.mul": 0x6c,
  "i32.div_s": 0x6d,
  "i32.div_u": 0x6e,
  "i32.rem_s": 0x6f,
  "i32.rem_u": 0x70,
  "i32.and": 0x71,
  "i32.or": 0x72,
  "i32.xor": 0x73,
  "i32.shl": 0x74,
  "i32.shr_s": 0x75,
  "i32.shr_u": 0x76,
} as const;

const simdTernary = { "v128.bitselect": 82, "f32x4.relaxed_madd": 261 } as const;

const f64Compare = { "f64.eq": 0x61, "f64.ne": 0x62, "f64.lt": 0x63, "f64.gt": 0x64, "f64.le": 0x65, "f64.ge": 0x66 } as const;

const f64Binary = { "f64.add": 0xa0, "f64.sub": 0xa1, "f64.mul": 0xa2, "f64.div": 0xa3, "f64.copysign": 0xa6 } as const;

const f64Unary = { "f64.abs": 0x99, "f64.floor": 0x9c } as const;

type Signature = readonly [prefix: 0 | 0xfd, opcode: number, result: ValueType, operands: readonly ValueType[]];

function signatures<K extends string>(
  opcodes: Readonly<Record<K, number>>,
  prefix: 0 | 0xfd,
  result: ValueType,
  operands: readonly ValueType[],
): [string, Signature][] {
  return Object.entries<number>(opcodes).map(([name, opcode]) => [name, [prefix, opcode, result, operands]]);
}

/** Every pure operation: what follows its operands in the code. */
export const operations: ReadonlyMap<string, Signature> = new Map([
  ...signatures(simd, 0xfd, "v128", ["v128", "v128"]),
  ...signatures(simdUnary, 0xfd, "v128", ["v128"]),
  ...signatures(simdShift, 0xfd, "v128", ["v128", "i32"]),
  ...signatures(simdTernary, 0xfd, "v128", ["v128", "v128", "v128"]),
  ...signatures({ "v128.any_true": 83 }, 0xfd, "i32", ["v128"]),
  ...signatures({ "i32x4.splat": 17 }, 0xfd, "v128", ["i32"]),
  ...signatures({ "f32x4.splat": 19 }, 0xfd, "v128", ["f32"]),
  ...signatures(i32Binary, 0, "i32", ["i32", "i32"]),
  ...signatures({ "i32.eqz": 0x45 }, 0, "i32", ["i32"]),
  ...signatures(f64Compare, 0, "i32", ["f64", "f64"]),
  ...signatures(f64Binary, 0, "f64", ["f64", "f64"]),
  ...signatures(f64Unary, 0, "f64", ["f64"]),
  ...signatures({ "f64.promote_f32": 0xbb }, 0, "f64", ["f32"]),
  ...signatures({ "f32.demote_f64": 0xb6 }, 0, "f32", ["f64"]),
  ...signatures({ "i64.reinterpret_f64": 0xbd }, 0, "i64", ["f64"]),
  ...signatures({ "f64.reinterpret_i64": 0xbf }, 0, "f64", ["i64"]),
  ...signatures({ "i64.and": 0x83, "i64.sub": 0x7d, "i64.shl": 0x86, "i64.shr_u": 0x88 }, 0, "i64", ["i64", "i64"]),
  ...signatures({ "i64.extend_i32_s": 0xac }, 0, "i64", ["i32"]),
]);

export type VectorOperation =
  | keyof typeof simd
  | keyof typeof simdUnary
  | keyof typeof simdShift
  | keyof typeof simdTernary
  | "i32x4.splat"
  | "f32x4.splat";
export type I32Operation = keyof typeof i32Binary | keyof typeof f64Compare | "i32.eqz" | "v128.any_true";
export type F64Operation = keyof typeof f64Binary | keyof typeof f64Unary | "f64.promote_f32" | "f64.reinterpret_i64";
