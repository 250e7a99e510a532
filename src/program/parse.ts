/** Reads the assembly of `text.ts`: a hand-written scanner over one string, since whole networks are stored in this form. */
import {
  type Access,
  activationFunctions,
  aluOps,
  type Buffer,
  type DeviceType,
  type DramKind,
  deviceTypes,
  type Engine,
  type Instruction,
  type Operation,
  type Program,
  type ReduceOp,
  type Scalar,
  type Stream,
  type Wait,
} from "./program.js";

/** The text is not a program's assembly; `line` counts from 1. */
export class ProgramSyntaxError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`);
    this.name = "ProgramSyntaxError";
    this.line = line;
  }
}

const dtypes = new Set<string>(deviceTypes);
const dramKinds = new Set<string>(["input", "output", "constant", "scratch"] satisfies DramKind[]);
const reduceOps = new Set<string>(["add", "maximum", "minimum", "multiply"] satisfies ReduceOp[]);
const alu = new Set<string>(aluOps);
const functions = new Set<string>(activationFunctions);

const isDtype = (word: string): word is DeviceType => dtypes.has(word);
const isDramKind = (word: string): word is DramKind => dramKinds.has(word);
const isReduceOp = (word: string): word is ReduceOp => reduceOps.has(word);
const isAluOp = (word: string): word is (typeof aluOps)[number] => alu.has(word);
const isFunction = (word: string): word is (typeof activationFunctions)[number] => functions.has(word);
const isEngine = (word: string): word is Engine => /^(tensor|scalar|vector|dma(0|[1-9]\d*))$/.test(word);

const NEWLINE = 10;
const SPACE = 32;
const QUOTE = 34;
const MINUS = 45;
const COLON = 58;
const OPEN = 91;
const BACKSLASH = 92;
const CLOSE = 93;
const [STAR, PLUS, COMMA, LETTER_X, AT, EQUALS] = [..."*+,x@="].map((char) => char.charCodeAt(0));

/** Letters, digits, `_`, `.`, `/`: what a plain name or a keyword is made of. */
const wordCharacters = new Uint8Array(128);
for (const char of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./") wordCharacters[char.charCodeAt(0)] = 1;

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

class Parser {
  readonly #text: string;
  #at = 0;
  /** Known names by text, so that equal names are one string. */
  readonly #names = new Map<string, string>();

  constructor(text: string) {
    this.#text = text;
  }

  fail(message: string): never {
    let line = 1;
    for (let at = 0; at < Math.min(this.#at, this.#text.length); at++) if (this.#text.charCodeAt(at) === NEWLINE) line++;
    throw new ProgramSyntaxError(line, message);
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  #peek(): number {
    return this.#text.charCodeAt(this.#at);
  }

  #accept(code: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== code) return false;
    this.#at++;
    return true;
  }

  #expect(code: number): void {
    if (!this.#accept(code)) this.fail(code === NEWLINE ? "expected the end of the line" : `expected '${String.fromCharCode(code)}'`);
  }

  #space(): void {
    this.#expect(SPACE);
  }

  endLine(): void {
    this.#expect(NEWLINE);
  }

  /** A run of word characters. */
  word(): string {
    const start = this.#at;
    this.#skipWord();
    return this.#text.slice(start, this.#at);
  }

  #skipWord(): void {
    const start = this.#at;
    while (wordCharacters[this.#peek()] === 1) this.#at++;
    if (this.#at === start) this.fail("expected a word");
  }

  /** Takes ` word` if it comes next. */
  #acceptWord(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at + 1) || this.#peek() !== SPACE) return false;
    if (wordCharacters[this.#text.charCodeAt(this.#at + 1 + word.length)] === 1) return false;
    this.#at += word.length + 1;
    return true;
  }

  /** To behind the closing quote. */
  #skipString(): void {
    while (!this.atEnd && this.#peek() !== QUOTE && this.#peek() !== NEWLINE) this.#at += this.#peek() === BACKSLASH ? 2 : 1;
    this.#expect(QUOTE);
  }

  #unquote(raw: string): string {
    try {
      return String(JSON.parse(raw));
    } catch {
      return this.fail("malformed string");
    }
  }

  #quoted(): string {
    const start = this.#at;
    this.#expect(QUOTE);
    this.#skipString();
    return this.#unquote(this.#text.slice(start, this.#at));
  }

  #name(): string {
    const start = this.#at;
    if (this.#accept(QUOTE)) this.#skipString();
    else this.#skipWord();
    const raw = this.#text.slice(start, this.#at);
    const known = this.#names.get(raw);
    if (known !== undefined) return known;
    const name = raw.startsWith('"') ? this.#unquote(raw) : raw;
    this.#names.set(raw, name);
    return name;
  }

  #oneOf<T extends string>(is: (word: string) => word is T, what: string): T {
    const word = this.word();
    return is(word) ? word : this.fail(`${word} is no ${what}`);
  }

  /** Digits, with a minus before them where negative values make sense. */
  #integer(): number {
    const negative = this.#accept(MINUS);
    let code = this.#peek();
    if (!isDigit(code)) this.fail("expected an integer");
    let value = 0;
    while (isDigit(code)) {
      value = value * 10 + (code - 48);
      code = this.#text.charCodeAt(++this.#at);
    }
    if (value > Number.MAX_SAFE_INTEGER) this.fail("the integer is too large");
    return negative && value !== 0 ? -value : value;
  }

  #natural(): number {
    if (this.#peek() === MINUS) this.fail("expected a number that is not negative");
    return this.#integer();
  }

  #number(): number {
    const start = this.#at;
    for (let code = this.#peek(); wordCharacters[code] === 1 || code === MINUS || code === PLUS; code = this.#peek()) this.#at++;
    const word = this.#text.slice(start, this.#at);
    const value = Number(word);
    if (word === "" || (Number.isNaN(value) && word !== "NaN")) this.fail(`expected a number, not '${word}'`);
    return value;
  }

  /** The rest of an access after its buffer's name. */
  #pattern(buffer: string): Access {
    this.#expect(OPEN);
    let partitionStart = 0;
    let partitionCount = this.#natural();
    if (this.#accept(PLUS)) {
      partitionStart = partitionCount;
      partitionCount = this.#natural();
    }
    const partitionStride = this.#accept(STAR) ? this.#integer() : 0;
    this.#expect(COLON);
    const offset = this.#integer();
    this.#expect(COLON);
    const sizes: number[] = [];
    const strides: number[] = [];
    if (this.#peek() !== CLOSE) {
      do {
        sizes.push(this.#natural());
        strides.push(this.#accept(LETTER_X) ? this.#integer() : 1);
      } while (this.#accept(COMMA));
    }
    this.#expect(CLOSE);
    return { buffer, partitionStart, partitionCount, partitionStride, offset, sizes, strides };
  }

  /** ` buffer[...]` */
  #access(): Access {
    this.#space();
    return this.#pattern(this.#name());
  }

  /** ` number` or ` buffer[...]` */
  #scalar(): Scalar {
    this.#space();
    const code = this.#peek();
    if (code === MINUS || isDigit(code)) return this.#number();
    const start = this.#at;
    const name = this.#name();
    if (this.#peek() === OPEN) return this.#pattern(name);
    this.#at = start;
    return this.#number();
  }

  #spacedWord<T extends string>(is: (word: string) => word is T, what: string): T {
    this.#space();
    return this.#oneOf(is, what);
  }

  /** ` out =` */
  #target(): Access {
    const out = this.#access();
    this.#space();
    this.#expect(EQUALS);
    return out;
  }

  #operation(kind: string): Operation {
    switch (kind) {
      case "matmul": {
        const out = this.#access();
        this.#space();
        const accumulate = this.#accept(PLUS);
        this.#expect(EQUALS);
        return { kind, out, stationary: this.#access(), moving: this.#access(), accumulate };
      }
      case "activation": {
        const name = this.#spacedWord(isFunction, "activation function");
        const out = this.#target();
        const input = this.#access();
        const scale = this.#acceptWord("scale") ? this.#scalar() : 1;
        const bias = this.#acceptWord("bias") ? this.#scalar() : 0;
        const alpha = this.#acceptWord("alpha") ? this.#immediate() : 0;
        return { kind, out, in: input, function: name, scale, bias, alpha };
      }
      case "tensor_tensor": {
        const op = this.#spacedWord(isAluOp, "operation");
        return { kind, out: this.#target(), in0: this.#access(), in1: this.#access(), op };
      }
      case "tensor_scalar":
        return this.#tensorScalar();
      case "scalar_tensor_tensor": {
        const out = this.#target();
        const in0 = this.#access();
        const op0 = this.#spacedWord(isAluOp, "operation");
        const scalar = this.#scalar();
        const op1 = this.#spacedWord(isAluOp, "operation");
        return { kind, out, in0, in1: this.#access(), op0, scalar, op1 };
      }
      case "reduce": {
        const op = this.#spacedWord(isReduceOp, "reduction");
        this.#space();
        const axes = this.#natural();
        return { kind, out: this.#target(), in: this.#access(), op, axes };
      }
      case "select":
        return { kind, out: this.#target(), mask: this.#access(), onTrue: this.#access(), onFalse: this.#access() };
      case "memset":
        return { kind, out: this.#target(), value: this.#immediate() };
      case "transpose":
      case "copy":
      case "dma":
        return { kind, out: this.#target(), in: this.#access() };
      default:
        return this.fail(`${kind} is no instruction`);
    }
  }

  #immediate(): number {
    this.#space();
    return this.#number();
  }

  #tensorScalar(): Operation {
    const out = this.#target();
    const input = this.#access();
    const reverse0 = this.#acceptWord("reverse");
    const op0 = this.#spacedWord(isAluOp, "operation");
    const first = { kind: "tensor_scalar", out, in: input, op0, scalar0: this.#scalar(), reverse0 } as const;
    if (!this.#acceptWord("then")) return first;
    const op1 = this.#spacedWord(isAluOp, "operation");
    return { ...first, op1, scalar1: this.#scalar() };
  }

  #waits(): Wait[] {
    const waits: Wait[] = [];
    this.#space();
    do {
      const semaphore = this.#natural();
      this.#expect(COLON);
      waits.push({ semaphore, value: this.#natural() });
    } while (this.#accept(COMMA));
    return waits;
  }

  #instruction(kind: string, origin: string): Instruction {
    const operation = this.#operation(kind);
    const waits = this.#acceptWord("wait") ? this.#waits() : [];
    if (!this.#acceptWord("signal")) return { operation, origin, waits };
    this.#space();
    return { operation, origin, waits, signal: this.#natural() };
  }

  #address(): number {
    this.#space();
    this.#expect(AT);
    return this.#natural();
  }

  /** A buffer's line after its memory. */
  buffer(space: "dram" | "sbuf" | "psum"): Buffer {
    this.#space();
    if (space === "dram") {
      const kind = this.#oneOf(isDramKind, "kind of DRAM buffer");
      this.#space();
      const name = this.#name();
      const dtype = this.#spacedWord(isDtype, "device type");
      this.#space();
      this.#expect(OPEN);
      const shape: number[] = [];
      if (this.#peek() !== CLOSE)
        do shape.push(this.#natural());
        while (this.#accept(COMMA));
      this.#expect(CLOSE);
      return { name, space, kind, dtype, shape, address: this.#peek() === SPACE ? this.#address() : 0 };
    }
    const name = this.#name();
    const dtype = this.#spacedWord(isDtype, "device type");
    this.#space();
    const partitions = this.#natural();
    this.#expect(LETTER_X);
    const elements = this.#natural();
    return { name, space, dtype, partitions, elements, address: this.#address() };
  }

  /** ` engine` and the instructions below it; returns the word that ends the stream, "" at the end of the text. */
  #stream(): { stream: Stream; next: string } {
    const engine = this.#spacedWord(isEngine, "engine");
    this.endLine();
    const instructions: Instruction[] = [];
    let origin = "";
    while (!this.atEnd) {
      const word = this.word();
      if (word === "stream" || word === "infer") return { stream: { engine, instructions }, next: word };
      if (word === "of") {
        this.#space();
        origin = this.#quoted();
      } else instructions.push(this.#instruction(word, origin));
      this.endLine();
    }
    return { stream: { engine, instructions }, next: "" };
  }

  #section(): { streams: Stream[]; next: string } {
    this.endLine();
    const streams: Stream[] = [];
    let next = this.atEnd ? "" : this.word();
    while (next === "stream") {
      const read = this.#stream();
      streams.push(read.stream);
      next = read.next;
    }
    return { streams, next };
  }

  program(): Program {
    if (this.word() !== "program") this.fail("expected 'program'");
    this.#space();
    const name = this.#quoted();
    this.endLine();
    const buffers: Buffer[] = [];
    let word = this.word();
    while (word === "dram" || word === "sbuf" || word === "psum") {
      buffers.push(this.buffer(word));
      this.endLine();
      word = this.word();
    }
    if (word !== "load") this.fail(`expected a buffer or 'load', not '${word}'`);
    const load = this.#section();
    if (load.next !== "infer") this.fail("expected a stream, an instruction or 'infer'");
    const infer = this.#section();
    if (infer.next !== "" || !this.atEnd) this.fail("expected a stream or the end of the text");
    return { name, buffers, load: load.streams, infer: infer.streams };
  }
}

/** The program of an assembly text. Throws ProgramSyntaxError. */
export function parseProgram(text: string): Program {
  return new Parser(text).program();
}
