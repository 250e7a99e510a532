/** Protobuf's text form (.pbtxt), read by the schema into the same messages as the binary form. */
import protobuf from "protobufjs";
import { isMessage, type MessageName, type Messages, schema } from "./schema.js";

const deepestNesting = 100;

const simpleEscapes: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, a: 7, b: 8, f: 12, v: 11 };
const space = /\s/;
const wordByte = /[A-Za-z0-9_.+-]/;
const isKindOf = (kind: RegExp) =>
  Uint8Array.from({ length: 256 }, (_, byte) => (byte < 128 && kind.test(String.fromCharCode(byte)) ? 1 : 0));
const isSpace = isKindOf(space);
const isWord = isKindOf(wordByte);

const code = (character: string) => character.charCodeAt(0);
const [hash, newline, backslash] = ["#", "\n", "\\"].map(code);

/** A position in the text and what can stand there. Throws an Error with the line where the text is no protobuf text. */
class Scanner {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  error(problem: string): Error {
    let line = 1;
    for (let index = 0; index < Math.min(this.at, this.bytes.length); index++) if (this.bytes[index] === newline) line++;
    return new Error(`line ${line}: ${problem}`);
  }

  /** The next character after blanks and comments; empty at the end. */
  peek(): string {
    const { bytes } = this;
    for (;;) {
      while (isSpace[bytes[this.at]]) this.at++;
      if (bytes[this.at] !== hash) break;
      while (this.at < bytes.length && bytes[this.at] !== newline) this.at++;
    }
    return this.at < bytes.length ? String.fromCharCode(bytes[this.at]) : "";
  }

  /** Steps over the next character if it is one of these; returns it. */
  take(characters: string): string {
    const next = this.peek();
    if (next === "" || !characters.includes(next)) return "";
    this.at++;
    return next;
  }

  expect(character: string): void {
    if (this.take(character) === "") throw this.error(`${character} expected, not ${this.peek() || "the end"}`);
  }

  /** A name, number or enum value. */
  word(): string {
    this.peek();
    const start = this.at;
    while (isWord[this.bytes[this.at]]) this.at++;
    if (start === this.at) throw this.error(`a name or number expected, not ${this.peek() || "the end"}`);
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + start, this.at - start).toString("latin1");
  }

  isAtString(): boolean {
    const next = this.peek();
    return next === '"' || next === "'";
  }

  /** One or more quoted strings, joined, their escapes undone. */
  string(): Uint8Array {
    const parts: Uint8Array[] = [];
    while (this.isAtString()) parts.push(this.quoted());
    if (parts.length === 0) throw this.error("a string expected");
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  private quoted(): Uint8Array {
    const { bytes } = this;
    const end = bytes[this.at++];
    const start = this.at;
    while (this.at < bytes.length && bytes[this.at] !== end) this.at += bytes[this.at] === backslash ? 2 : 1;
    if (this.at >= bytes.length) throw this.error("a string has no end");
    const raw = bytes.subarray(start, this.at++);
    return raw.includes(backslash) ? this.unescaped(raw) : raw.slice();
  }

  private unescaped(raw: Uint8Array): Uint8Array {
    const result = new Uint8Array(raw.length);
    let length = 0;
    for (let at = 0; at < raw.length; at++) {
      if (raw[at] !== backslash) {
        result[length++] = raw[at];
        continue;
      }
      const rest = String.fromCharCode(...raw.subarray(at + 1, at + 10));
      const octal = /^[0-7]{1,3}/.exec(rest)?.[0];
      const hex = /^[xX]([0-9a-fA-F]{1,2})/.exec(rest)?.[1];
      const point = /^(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(rest);
      if (octal !== undefined) {
        result[length++] = Number.parseInt(octal, 8);
        at += octal.length;
      } else if (hex !== undefined) {
        result[length++] = Number.parseInt(hex, 16);
        at += hex.length + 1;
      } else if (point !== null) {
        const encoded = Buffer.from(String.fromCodePoint(Number.parseInt(point[1] ?? point[2], 16)));
        result.set(encoded, length);
        length += encoded.length;
        at += point[0].length;
      } else {
        result[length++] = simpleEscapes[rest[0]] ?? code(rest[0]);
        at++;
      }
    }
    return result.subarray(0, length);
  }
}

type Content = Record<string, unknown>;

function scalar(scanner: Scanner, field: protobuf.FieldBase): unknown {
  if (scanner.isAtString()) {
    const bytes = scanner.string();
    if (field.type === "bytes") return bytes;
    if (field.type === "string") return Buffer.from(bytes).toString("utf8");
    throw scanner.error(`${field.name} is no string`);
  }
  if (field.type === "string" || field.type === "bytes") throw scanner.error(`${field.name} has to be a string`);
  const sign = scanner.take("-");
  const word = sign + scanner.word();
  if (field.resolvedType instanceof protobuf.Enum) {
    const value = field.resolvedType.values[word] ?? (/^-?\d+$/.test(word) ? Number(word) : undefined);
    if (value === undefined) throw scanner.error(`${field.name} can't be ${word}`);
    return value;
  }
  switch (field.type) {
    case "bool":
      if (["true", "True", "t", "1"].includes(word)) return true;
      if (["false", "False", "f", "0"].includes(word)) return false;
      break;
    case "float":
    case "double": {
      const value = floatOf(word);
      if (value !== undefined) return field.type === "float" ? Math.fround(value) : value;
      break;
    }
    default: {
      const value = integerOf(word);
      if (value !== undefined) return field.type.endsWith("64") && !Number.isSafeInteger(Number(value)) ? value : Number(value);
    }
  }
  throw scanner.error(`${field.name} can't be ${word}`);
}

function floatOf(word: string): number | undefined {
  const special = /^(-?)(inf|infinity|nan)f?$/i.exec(word);
  if (special !== null) return (special[1] === "-" ? -1 : 1) * (special[2].toLowerCase() === "nan" ? Number.NaN : Number.POSITIVE_INFINITY);
  return /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?f?$/i.test(word) ? Number(word.replace(/f$/i, "")) : undefined;
}

function integerOf(word: string): bigint | undefined {
  const parts = /^(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)$/.exec(word);
  if (parts === null) return undefined;
  const magnitude = BigInt(/^0[0-7]/.test(parts[2]) ? `0o${parts[2].slice(1)}` : parts[2]);
  return parts[1] === "-" ? -magnitude : magnitude;
}

/** Steps over the value of a field that the schema does not have. */
function skipValue(scanner: Scanner, depth: number): void {
  if (depth > deepestNesting) throw scanner.error(`messages are nested deeper than ${deepestNesting}`);
  const open = scanner.take("{<[");
  if (open === "[") {
    while (scanner.take("]") === "") {
      skipValue(scanner, depth + 1);
      scanner.take(",");
    }
  } else if (open !== "") {
    while (scanner.take("}>") === "") {
      fieldName(scanner);
      scanner.take(":");
      skipValue(scanner, depth + 1);
      scanner.take(",;");
    }
  } else if (scanner.isAtString()) scanner.string();
  else {
    scanner.take("-");
    scanner.word();
  }
}

/** A field's name; that of an extension stands in brackets. */
function fieldName(scanner: Scanner): string {
  if (scanner.take("[") === "") return scanner.word();
  let name = scanner.word();
  while (scanner.take("/") !== "") name += `/${scanner.word()}`;
  scanner.expect("]");
  return `[${name}]`;
}

function fieldValue(scanner: Scanner, field: protobuf.FieldBase, depth: number): unknown {
  const type = field.resolvedType;
  if (field instanceof protobuf.MapField) return mapEntry(scanner, field, depth);
  if (!(type instanceof protobuf.Type)) return scalar(scanner, field);
  scanner.expect("{<");
  return message(scanner, type, depth + 1);
}

/** The key and value of a map's entry, each with its default where it is left out. */
function mapEntry(scanner: Scanner, field: protobuf.FieldBase, depth: number): readonly [string, unknown] {
  const valueType = field.resolvedType;
  let key = "";
  let value: unknown = valueType instanceof protobuf.Type ? valueType.create() : "";
  scanner.expect("{<");
  while (scanner.take("}>") === "") {
    const name = fieldName(scanner);
    const colon = scanner.take(":");
    if (name === "key") key = scanner.isAtString() ? Buffer.from(scanner.string()).toString("utf8") : scanner.word();
    else if (name !== "value") skipValue(scanner, depth);
    else if (valueType instanceof protobuf.Type) {
      scanner.expect("{<");
      value = message(scanner, valueType, depth + 1);
    } else {
      if (colon === "") throw scanner.error(": expected");
      value = scalar(scanner, field);
    }
    scanner.take(",;");
  }
  return [key, value];
}

/** The message that starts here and ends with a closing bracket, or with the text at depth 0. */
function message(scanner: Scanner, type: protobuf.Type, depth: number): object {
  if (depth > deepestNesting) throw scanner.error(`messages are nested deeper than ${deepestNesting}`);
  const content: Content = {};
  while (depth === 0 ? scanner.peek() !== "" : scanner.take("}>") === "") {
    const name = fieldName(scanner);
    const field = Object.hasOwn(type.fields, name) ? type.fields[name].resolve() : undefined;
    const colon = scanner.take(":");
    if (field === undefined) skipValue(scanner, depth);
    else if (colon !== "" && scanner.take("[") !== "") {
      while (scanner.take("]") === "") {
        add(content, field, fieldValue(scanner, field, depth));
        scanner.take(",");
      }
    } else add(content, field, fieldValue(scanner, field, depth));
    scanner.take(",;");
  }
  return type.create(content);
}

function add(content: Content, field: protobuf.FieldBase, value: unknown): void {
  const held = content[field.name];
  if (field instanceof protobuf.MapField && Array.isArray(value)) {
    const entries: Content = typeof held === "object" && held !== null ? Object.assign(Object.create(null), held) : Object.create(null);
    entries[value[0]] = value[1];
    content[field.name] = entries;
  } else if (!field.repeated) content[field.name] = value;
  else if (Array.isArray(held)) held.push(value);
  else content[field.name] = [value];
}

/** Parses a message's text. Throws an Error, with the line, on what is no such text. */
export function parseText<N extends MessageName>(name: N, bytes: Uint8Array): Messages[N] {
  const parsed = message(new Scanner(bytes), schema.lookupType(name), 0);
  if (!isMessage(name, parsed)) throw new Error(`parsed no ${name}`);
  return parsed;
}
