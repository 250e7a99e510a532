/**
 * A small WebAssembly emitter. Expressions are typed byte strings; a `FunctionBuilder` collects statements. An expression is evaluated
 * wherever it is placed: hold a value that is used twice in a local (`let`).
 */
import { type F64Operation, type I32Operation, operations, type ValueType, type VectorOperation } from "./opcodes.js";

/** Bytes in order, in nested lists: an expression holds those of its operands, and is copied once, into its function. */
type Bytes = number | Uint8Array | Reference | readonly Bytes[];
/** A function, or a function's type: stands for its index, which differs from module to module. */
type Reference = FunctionBuilder | FunctionType;

export interface Code<T extends ValueType = ValueType> {
  readonly type: T;
  readonly bytes: Bytes;
}
export type I32 = Code<"i32">;
export type F32 = Code<"f32">;
export type F64 = Code<"f64">;
export type V128 = Code<"v128">;

/** A local variable; as an expression, its value. */
export interface Local<T extends ValueType = ValueType> extends Code<T> {
  readonly index: number;
}

const typeBytes: Readonly<Record<ValueType, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}

function signed(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const byte = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0)) {
      bytes.push(byte);
      return bytes;
    }
    bytes.push(byte | 0x80);
  }
}

function raw(write: (view: DataView) => void, length: number): number[] {
  const buffer = new ArrayBuffer(length);
  write(new DataView(buffer));
  return [...new Uint8Array(buffer)];
}

function code<T extends ValueType>(type: T, ...parts: readonly Bytes[]): Code<T> {
  return { type, bytes: parts };
}

const isList = (bytes: Bytes): bytes is readonly Bytes[] => Array.isArray(bytes);

/** The same bytes in few pieces. */
function flatten(bytes: Bytes): readonly (Uint8Array | Reference)[] {
  const pieces: (Uint8Array | Reference)[] = [];
  let run: number[] = [];
  const end = () => {
    pieces.push(Uint8Array.from(run));
    run = [];
  };
  const visit = (part: Bytes): void => {
    if (typeof part === "number") run.push(part);
    else if (isList(part)) for (const inner of part) visit(inner);
    else {
      end();
      pieces.push(part);
    }
  };
  visit(bytes);
  end();
  return pieces;
}

/** Bytes in which nothing refers to a function. */
type Plain = number | Uint8Array | readonly Plain[];
const isPlainList = (bytes: Plain): bytes is readonly Plain[] => Array.isArray(bytes);

function sizeOf(bytes: Plain): number {
  if (typeof bytes === "number") return 1;
  return isPlainList(bytes) ? bytes.reduce<number>((sum, part) => sum + sizeOf(part), 0) : bytes.length;
}

/** Writes bytes from `at` on, and tells where they end. */
function write(target: Uint8Array, at: number, bytes: Plain): number {
  if (typeof bytes === "number") {
    target[at] = bytes;
    return at + 1;
  }
  if (isPlainList(bytes)) return bytes.reduce<number>((next, part) => write(target, next, part), at);
  target.set(bytes, at);
  return at + bytes.length;
}

function apply<T extends ValueType>(type: T, name: string, operands: readonly Code[]): Code<T> {
  const signature = operations.get(name);
  if (!signature) throw new Error(`no WebAssembly operation ${name}`);
  const [prefix, opcode, result, operandTypes] = signature;
  if (result !== type || operandTypes.length !== operands.length || operands.some((operand, i) => operand.type !== operandTypes[i])) {
    throw new Error(`${name}: wrong operands`);
  }
  return code(type, ...operands.map((operand) => operand.bytes), prefix ? [prefix, ...unsigned(opcode)] : [opcode]);
}

/** Pure operations, by name. */
export const vector = (name: VectorOperation, ...operands: Code[]): V128 => apply("v128", name, operands);
export const scalar = (name: I32Operation, ...operands: Code[]): I32 => apply("i32", name, operands);
export const double = (name: F64Operation, ...operands: Code[]): F64 => apply("f64", name, operands);
export const long = (name: "i64.and" | "i64.sub" | "i64.shl" | "i64.shr_u" | "i64.reinterpret_f64", ...operands: Code[]): Code<"i64"> =>
  apply("i64", name, operands);
export const demote = (value: F64): F32 => apply("f32", "f32.demote_f64", [value]);

export const i32 = (value: number): I32 => code("i32", [0x41], signed(BigInt(value | 0)));
export const i64 = (value: bigint): Code<"i64"> => code("i64", [0x42], signed(value));
export const f64 = (value: number): F64 =>
  code(
    "f64",
    [0x44],
    raw((view) => view.setFloat64(0, value, true), 8),
  );
const constant = (write: (view: DataView, lane: number) => void, lanes: number): V128 =>
  code(
    "v128",
    [0xfd, 12],
    raw((view) => {
      for (let lane = 0; lane < lanes; lane++) write(view, lane);
    }, 16),
  );
export const f32x4 = (value: number): V128 => constant((view, lane) => view.setFloat32(lane * 4, value, true), 4);
export const i32x4 = (value: number): V128 => constant((view, lane) => view.setInt32(lane * 4, value, true), 4);
export const f64x2 = (value: number): V128 => constant((view, lane) => view.setFloat64(lane * 8, value, true), 2);
export const i64x2 = (value: bigint): V128 => constant((view, lane) => view.setBigInt64(lane * 8, value, true), 2);

export const add = (left: I32, right: I32 | number): I32 => scalar("i32.add", left, typeof right === "number" ? i32(right) : right);
export const multiply = (left: I32, right: I32 | number): I32 => scalar("i32.mul", left, typeof right === "number" ? i32(right) : right);

/** `mask` lanes all ones: `onTrue`, else `onFalse`. */
export const bitselect = (mask: V128, onTrue: V128, onFalse: V128): V128 => vector("v128.bitselect", onTrue, onFalse, mask);

export function select<T extends ValueType>(condition: I32, onTrue: Code<T>, onFalse: Code<T>): Code<T> {
  return code(onTrue.type, onTrue.bytes, onFalse.bytes, condition.bytes, [0x1c, 1, typeBytes[onTrue.type]]);
}

/** Bytes of the pair (low, high) by index 0-31. */
export function shuffleWords(low: V128, high: V128, words: readonly [number, number, number, number]): V128 {
  const bytes = words.flatMap((word) => [0, 1, 2, 3].map((byte) => word * 4 + byte));
  return code("v128", low.bytes, high.bytes, [0xfd, 13], bytes);
}

const memory = (alignment: number, offset: number) => [alignment, ...unsigned(offset)];
export const loadI32 = (address: I32, offset = 0): I32 => code("i32", address.bytes, [0x28], memory(2, offset));
export const loadVector = (address: I32, offset = 0): V128 => code("v128", address.bytes, [0xfd, 0], memory(2, offset));
export const loadSplat = (address: I32, offset = 0): V128 => code("v128", address.bytes, [0xfd, 9], memory(2, offset));
export const loadLane = (into: V128, address: I32, lane: number, offset = 0): V128 =>
  code("v128", address.bytes, into.bytes, [0xfd, 86], memory(2, offset), [lane]);
export const atomicLoad = (address: I32, offset = 0): I32 => code("i32", address.bytes, [0xfe, 0x10], memory(2, offset));
export const atomicAdd = (address: I32, value: I32, offset = 0): I32 =>
  code("i32", address.bytes, value.bytes, [0xfe, 0x1e], memory(2, offset));
/** Sleeps while the word equals `expected`; 0 woken, 1 not equal. */
export const atomicWait = (address: I32, expected: I32, offset = 0): I32 =>
  code("i32", address.bytes, expected.bytes, i64(-1n).bytes, [0xfe, 0x01], memory(2, offset));
export const atomicNotifyAll = (address: I32, offset = 0): I32 =>
  code("i32", address.bytes, i32(-1).bytes, [0xfe, 0x00], memory(2, offset));

export const extractI32 = (value: V128, lane: number): I32 => code("i32", value.bytes, [0xfd, 27, lane]);
export const extractF32 = (value: V128, lane: number): F32 => code("f32", value.bytes, [0xfd, 31, lane]);
export const replaceI32 = (into: V128, lane: number, value: I32): V128 => code("v128", into.bytes, value.bytes, [0xfd, 28, lane]);
export const replaceF32 = (into: V128, lane: number, value: F32): V128 => code("v128", into.bytes, value.bytes, [0xfd, 32, lane]);

export interface FunctionType {
  readonly parameters: readonly ValueType[];
  readonly result?: ValueType;
}

/** A function, which any number of modules may have. */
export class FunctionBuilder {
  private readonly locals: ValueType[] = [];
  private body: Bytes[] = [];
  /** The code section's entry without its length. */
  readonly pieces: readonly (Uint8Array | Reference)[];

  constructor(
    readonly type: FunctionType,
    build: (builder: FunctionBuilder) => void,
  ) {
    build(this);
    this.pieces = flatten([unsigned(this.locals.length), this.locals.map((local) => [1, typeBytes[local]]), this.body, 0x0b]);
    this.body = [];
  }

  /** The functions that it calls. */
  get callees(): readonly FunctionBuilder[] {
    return this.pieces.filter((piece) => piece instanceof FunctionBuilder);
  }

  /** The function's parameter; its type is checked against the signature. */
  parameter<T extends ValueType>(index: number, type: T): Local<T> {
    if (this.type.parameters[index] !== type) throw new Error(`parameter ${index} is no ${type}`);
    return { type, index, bytes: [0x20, ...unsigned(index)] };
  }

  local<T extends ValueType>(type: T): Local<T> {
    const index = this.type.parameters.length + this.locals.length;
    this.locals.push(type);
    return { type, index, bytes: [0x20, ...unsigned(index)] };
  }

  /** A new local that holds `value`. */
  let<T extends ValueType>(value: Code<T>): Local<T> {
    const local = this.local(value.type);
    this.set(local, value);
    return local;
  }

  private emit(...parts: readonly Bytes[]): void {
    this.body.push(...parts);
  }

  set<T extends ValueType>(local: Local<T>, value: Code<T>): void {
    this.emit(value.bytes, [0x21], unsigned(local.index));
  }

  storeI32(address: I32, value: I32, offset = 0): void {
    this.emit(address.bytes, value.bytes, [0x36], memory(2, offset));
  }

  storeVector(address: I32, value: V128, offset = 0): void {
    this.emit(address.bytes, value.bytes, [0xfd, 11], memory(2, offset));
  }

  storeLane(address: I32, value: V128, lane: number, offset = 0): void {
    this.emit(address.bytes, value.bytes, [0xfd, 90], memory(2, offset), [lane]);
  }

  /** Stores the first `lanes` (1 to 3) lanes. */
  storePartial(address: I32, value: V128, lanes: I32): void {
    this.storeLane(address, value, 0);
    for (const lane of [1, 2]) this.if(scalar("i32.gt_s", lanes, i32(lane)), () => this.storeLane(address, value, lane, lane * 4));
  }

  atomicStore(address: I32, value: I32, offset = 0): void {
    this.emit(address.bytes, value.bytes, [0xfe, 0x17], memory(2, offset));
  }

  drop(value: Code): void {
    this.emit(value.bytes, [0x1a]);
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.emit(condition.bytes, [0x04, 0x40]);
    then();
    if (otherwise) {
      this.emit([0x05]);
      otherwise();
    }
    this.emit([0x0b]);
  }

  /** Repeats `body` while it leaves a true condition. */
  doWhile(body: () => I32): void {
    this.emit([0x03, 0x40]);
    this.emit(body().bytes, [0x0d, 0x00]);
    this.emit([0x0b]);
  }

  while(condition: I32, body: () => void): void {
    this.if(condition, () =>
      this.doWhile(() => {
        body();
        return condition;
      }),
    );
  }

  /** `for (counter = from; counter < to; counter += step)`, signed. */
  for(counter: Local<"i32">, from: I32 | number, to: I32, step: I32 | number, body: () => void): void {
    this.set(counter, typeof from === "number" ? i32(from) : from);
    this.while(scalar("i32.lt_s", counter, to), () => {
      body();
      this.set(counter, add(counter, step));
    });
  }

  call(callee: FunctionBuilder, ...operands: Code[]): void {
    this.emit(...operands.map((operand) => operand.bytes), [0x10], callee);
  }

  callIndirect(type: FunctionType, table: I32, ...operands: Code[]): void {
    this.emit(...operands.map((operand) => operand.bytes), table.bytes, [0x11], type, [0]);
  }

  result(value: Code): void {
    this.emit(value.bytes);
  }
}

/** The value of a call to a function with one result. */
export function callFor<T extends ValueType>(type: T, callee: FunctionBuilder, ...operands: Code[]): Code<T> {
  if (callee.type.result !== type) throw new Error(`the function has no ${type} result`);
  return code(type, ...operands.map((operand) => operand.bytes), [0x10], callee);
}

const known = new Map<string, FunctionBuilder>();

/** The function of that name, which tells all that its code depends on: built on its first use, for all modules. */
export function shared(name: string, type: FunctionType, build: (builder: FunctionBuilder) => void): FunctionBuilder {
  let builder = known.get(name);
  if (!builder) {
    builder = new FunctionBuilder(type, build);
    known.set(name, builder);
  }
  return builder;
}

const withLength = (bytes: Plain): Plain => [unsigned(sizeOf(bytes)), bytes];
const text = (value: string) => withLength(new TextEncoder().encode(value));

/** A module that imports one shared memory (`environment.memory`) and holds every function in its table, at the function's index. */
export class ModuleBuilder {
  private readonly indices = new Map<FunctionBuilder, number>();
  private readonly types: FunctionType[] = [];
  private readonly exports: [string, number][] = [];

  private typeIndex(type: FunctionType): number {
    const key = JSON.stringify(type);
    const found = this.types.findIndex((other) => JSON.stringify(other) === key);
    if (found >= 0) return found;
    this.types.push(type);
    return this.types.length - 1;
  }

  /** The index of a function, which joins the module with those that it calls. */
  index(builder: FunctionBuilder): number {
    let index = this.indices.get(builder);
    if (index === undefined) {
      index = this.indices.size;
      this.indices.set(builder, index);
      for (const callee of builder.callees) this.index(callee);
    }
    return index;
  }

  export(name: string, builder: FunctionBuilder): void {
    this.exports.push([name, this.index(builder)]);
  }

  encode(maximumPages: number): Uint8Array<ArrayBuffer> {
    const functions = [...this.indices.keys()];
    const section = (id: number, entries: readonly Plain[]): Plain => [id, withLength([unsigned(entries.length), entries])];
    const code = (piece: Uint8Array | Reference): Plain => {
      if (piece instanceof Uint8Array) return piece;
      return unsigned(piece instanceof FunctionBuilder ? this.index(piece) : this.typeIndex(piece));
    };
    const bodies = functions.map((builder) => withLength(builder.pieces.map(code)));
    const typeIndices = functions.map((builder) => unsigned(this.typeIndex(builder.type)));
    const type = ({ parameters, result }: FunctionType): Plain => [
      [0x60, unsigned(parameters.length), parameters.map((parameter) => typeBytes[parameter])],
      result ? [1, typeBytes[result]] : [0],
    ];
    const all = functions.map((builder) => unsigned(this.index(builder)));
    const sections: Plain = [
      [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, this.types.map(type)),
      section(2, [[text("environment"), text("memory"), 0x02, 0x03, unsigned(1), unsigned(maximumPages)]]),
      section(3, typeIndices),
      section(4, [[0x70, 0x00, unsigned(all.length)]]),
      section(
        7,
        this.exports.map(([name, index]) => [text(name), 0x00, unsigned(index)]),
      ),
      section(9, [[0x00, 0x41, 0x00, 0x0b, unsigned(all.length), all]]),
      section(10, bodies),
    ];
    const bytes = new Uint8Array(sizeOf(sections));
    write(bytes, 0, sections);
    return bytes;
  }
}
