/** The parser of the textual form that `text.ts` describes. */
import type { Attribute, Dim, EpilogueStep, Graph, Node, TensorType } from "./graph.js";
import { allocateData, type DType, dtypes, elementCount, type Tensor, toBfloat16Bits, toFloat16Bits } from "./tensor.js";

/** The graph that a text describes. Throws an Error that names the line of a fault. */
export function parseGraph(text: string): Graph {
  const reader = new TextReader(text);
  reader.expect("graph");
  const graph = parseBody(reader);
  reader.expectEnd();
  return graph;
}

class TextReader {
  private position = 0;

  constructor(private readonly text: string) {}

  /** The text of `pattern` (sticky) if it comes next, after blanks and comments. */
  take(pattern: RegExp): string | undefined {
    const blanks = /(?:\s|\/\/[^\n]*)*/y;
    blanks.lastIndex = this.position;
    blanks.exec(this.text);
    pattern.lastIndex = blanks.lastIndex;
    const match = pattern.exec(this.text);
    if (match === null) return undefined;
    this.position = pattern.lastIndex;
    return match[0];
  }

  /** Whether the literal comes next; a word must end there. */
  accept(literal: string): boolean {
    const escaped = literal.replace(/[[\](){}*]/g, "\\$&");
    return this.take(new RegExp(/\w$/.test(literal) ? `${escaped}(?!\\w)` : escaped, "y")) !== undefined;
  }

  expect(literal: string): void {
    if (!this.accept(literal)) this.fail(`expected ${literal}`);
  }

  expectEnd(): void {
    if (this.take(/$/y) === undefined) this.fail("expected the end");
  }

  quoted(): string | undefined {
    const literal = this.take(/"(?:[^"\\]|\\.)*"/y);
    if (literal === undefined) return undefined;
    const value: unknown = JSON.parse(literal);
    return typeof value === "string" ? value : this.fail("expected a string");
  }

  /** A quoted name or one that matches `bare`. */
  name(bare: RegExp): string {
    return this.quoted() ?? this.take(bare) ?? this.fail("expected a name");
  }

  /** Items up to `close`, with commas between. */
  list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    if (this.accept(close)) return items;
    do items.push(item());
    while (this.accept(","));
    this.expect(close);
    return items;
  }

  fail(message: string): never {
    const before = this.text.slice(0, this.position).split("\n");
    const rest = this.text.slice(this.position, this.position + 30).split("\n")[0];
    throw new Error(`graph text, line ${before.length}: ${message} at ${JSON.stringify(rest)}`);
  }
}

const word = () => /[A-Za-z_][\w.]*/y;
const bareName = () => /[\w./$-]+/y;
const number = () => /-?(?:inf\b|nan\b|0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?f?)/y;

function parseBody(reader: TextReader): Graph {
  const name = reader.quoted() ?? reader.fail("expected the graph's name, quoted");
  const inputs: string[] = [];
  const outputs: string[] = [];
  const nodes: Node[] = [];
  const types = new Map<string, TensorType>();
  const constants = new Map<string, Tensor>();
  const typedValue = () => {
    reader.expect("%");
    const value = reader.name(bareName());
    if (reader.accept(":")) types.set(value, parseType(reader));
    return value;
  };
  reader.expect("{");
  while (!reader.accept("}")) {
    if (reader.accept("input")) inputs.push(typedValue());
    else if (reader.accept("output")) outputs.push(typedValue());
    else if (reader.accept("type")) typedValue();
    else if (reader.accept("const")) {
      const value = typedValue();
      const type = types.get(value) ?? reader.fail("expected the constant's type");
      reader.expect("=");
      constants.set(value, parseTensor(reader, type));
    } else nodes.push(parseNode(reader, typedValue));
  }
  return { name, inputs, outputs, nodes, types, constants };
}

function parseNode(reader: TextReader, typedValue: () => string): Node {
  const outputs = reader.accept("()") ? [] : [parseOutput(reader, typedValue)];
  while (reader.accept(",")) outputs.push(parseOutput(reader, typedValue));
  reader.expect("=");
  const first = reader.name(word());
  const [domain, op] = reader.accept("::") ? [first, reader.name(word())] : ["", first];
  reader.expect("(");
  const inputs = reader.list(")", () => {
    if (reader.accept("_")) return "";
    reader.expect("%");
    return reader.name(bareName());
  });
  const attributes = parseAttributes(reader);
  reader.expect("@");
  const name = reader.name(bareName());
  const origins = parseOrigins(reader) ?? [name];
  const epilogue: EpilogueStep[] = [];
  let fused = false;
  while (reader.accept("then")) {
    fused = true;
    if (reader.accept("nothing")) break;
    epilogue.push(parseStep(reader));
  }
  return { name, op, domain, inputs, outputs, attributes, origins, ...(fused ? { epilogue } : {}) };
}

function parseOutput(reader: TextReader, typedValue: () => string): string {
  return reader.accept("_") ? "" : typedValue();
}

function parseStep(reader: TextReader): EpilogueStep {
  const op = reader.name(word());
  reader.expect("(");
  const operands = reader.list(")", () => {
    if (reader.accept("_")) return null;
    reader.expect("#");
    return Number(reader.take(/\d+/y) ?? reader.fail("expected an input's index"));
  });
  return { op, operands, attributes: parseAttributes(reader), origins: parseOrigins(reader) ?? [] };
}

function parseOrigins(reader: TextReader): string[] | undefined {
  if (!reader.accept("from")) return undefined;
  reader.expect("[");
  return reader.list("]", () => reader.quoted() ?? reader.fail("expected a quoted name"));
}

function parseAttributes(reader: TextReader): Record<string, Attribute> {
  if (!reader.accept("{")) return {};
  const entries = reader.list("}", (): [string, Attribute] => {
    const key = reader.name(word());
    reader.expect("=");
    return [key, parseAttribute(reader)];
  });
  return Object.fromEntries(entries);
}

function parseAttribute(reader: TextReader): Attribute {
  for (const type of ["ints", "floats", "strings"] as const) if (reader.accept(`${type}[]`)) return { type, value: [] };
  if (reader.accept("graph")) return { type: "graph", value: parseBody(reader) };
  if (reader.accept("[")) {
    const items = reader.list("]", () => parseScalar(reader));
    if (items.every((item) => item.type === "int")) return { type: "ints", value: items.map((item) => item.value) };
    if (items.every((item) => item.type === "float")) return { type: "floats", value: items.map((item) => item.value) };
    if (items.every((item) => item.type === "string")) return { type: "strings", value: items.map((item) => item.value) };
    return reader.fail("a list of mixed types");
  }
  const type = acceptType(reader);
  if (type !== undefined) return { type: "tensor", value: parseTensor(reader, type) };
  return parseScalar(reader);
}

type ScalarAttribute = Extract<Attribute, { readonly type: "int" | "float" | "string" }>;

function parseScalar(reader: TextReader): ScalarAttribute {
  const text = reader.quoted();
  if (text !== undefined) return { type: "string", value: text };
  const literal = reader.take(number()) ?? reader.fail("expected an attribute's value");
  return /^-?\d+$/.test(literal) ? { type: "int", value: Number(literal) } : { type: "float", value: numberOf(literal) };
}

/** The value of a number's text; one that ends in `f` is rounded to FP32. */
function numberOf(literal: string): number {
  if (/inf$/.test(literal)) return literal.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/nan$/.test(literal)) return Number.NaN;
  const rounded = literal.endsWith("f") && !literal.startsWith("0x");
  return rounded ? Math.fround(Number(literal.slice(0, -1))) : Number(literal);
}

function acceptType(reader: TextReader): TensorType | undefined {
  const name = reader.take(/[a-z]\w*(?=\[)/y);
  if (name === undefined) return undefined;
  const dtype = dtypes.find((candidate) => candidate === name) ?? reader.fail(`${name} is no element type`);
  reader.expect("[");
  if (reader.accept("*")) {
    reader.expect("]");
    return { dtype };
  }
  return { dtype, shape: reader.list("]", () => parseDim(reader)) };
}

function parseType(reader: TextReader): TensorType {
  return acceptType(reader) ?? reader.fail("expected a type");
}

function parseDim(reader: TextReader): Dim {
  const extent = reader.take(/-?\d+/y);
  return extent === undefined ? reader.name(word()) : Number(extent);
}

function parseTensor(reader: TextReader, type: TensorType): Tensor {
  const shape = (type.shape ?? []).map((extent) => (typeof extent === "number" ? extent : reader.fail("a constant's shape is open")));
  const { dtype } = type;
  if (type.shape === undefined) reader.fail("a constant's shape is unknown");
  if (reader.accept("<")) reader.fail("this constant's values were elided when it was printed");
  if (reader.accept("base64")) {
    const bytes = Buffer.from(reader.quoted() ?? reader.fail("expected base64"), "base64");
    const data = allocateData(dtype, elementCount(shape));
    if (Array.isArray(data) || data.byteLength !== bytes.length) return reader.fail(`${bytes.length} bytes do not fill the constant`);
    new Uint8Array(data.buffer).set(bytes);
    return { dtype, shape, data };
  }
  reader.expect("[");
  if (dtype === "string") {
    return { dtype, shape, data: reader.list("]", () => reader.quoted() ?? reader.fail("expected a quoted string")) };
  }
  const literals = reader.list("]", () => reader.take(/true|false/y) ?? reader.take(number()) ?? reader.fail("expected a number"));
  const data = allocateData(dtype, elementCount(shape));
  if (literals.length !== data.length) reader.fail(`${literals.length} values do not fill the constant`);
  for (const [index, literal] of literals.entries()) {
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[index] = BigInt(literal);
    else data[index] = elementBits(dtype, literal);
  }
  return { dtype, shape, data };
}

/** An element as `Tensor` holds it. */
function elementBits(dtype: DType, literal: string): number {
  if (literal === "true" || literal === "false") return literal === "true" ? 1 : 0;
  const value = numberOf(literal);
  if (dtype === "float16") return toFloat16Bits(value);
  return dtype === "bfloat16" ? toBfloat16Bits(value) : value;
}
