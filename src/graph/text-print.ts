/** The printer of the textual form that `text.ts` describes. */
import type { Attribute, Attributes, Dim, EpilogueStep, Graph, Node, TensorType } from "./graph.js";
import { type DType, fromBfloat16Bits, fromFloat16Bits, type Tensor } from "./tensor.js";

export interface PrintOptions {
  /** Leaves out the values of constants with more than 16 elements. The text then reads well but does not parse back. */
  readonly elideConstants?: boolean;
}

/** Constants of up to so many elements are printed as numbers, larger ones in base64. */
const inlineElements = 64;
const elidedElements = 16;

export function printGraph(graph: Graph, options: PrintOptions = {}): string {
  return `graph ${graphBody(graph, options, "")}\n`;
}

function graphBody(graph: Graph, options: PrintOptions, indent: string): string {
  const inner = `${indent}  `;
  const lines: string[] = [];
  const typed = new Set<string>([...graph.inputs, ...graph.constants.keys()]);
  for (const input of graph.inputs) lines.push(`input ${typedName(input, graph)}`);
  for (const [name, tensor] of graph.constants) {
    const type = printType({ dtype: tensor.dtype, shape: tensor.shape });
    lines.push(`const ${valueName(name)}: ${type} = ${tensorElements(tensor, options)}`);
  }
  for (const node of graph.nodes) {
    lines.push(nodeText(node, graph, options, inner));
    for (const output of node.outputs) typed.add(output);
  }
  for (const output of graph.outputs) lines.push(`output ${valueName(output)}`);
  for (const name of graph.types.keys()) if (!typed.has(name)) lines.push(`type ${typedName(name, graph)}`);
  return `${JSON.stringify(graph.name)} {\n${lines.map((line) => `${inner}${line}\n`).join("")}${indent}}`;
}

/** One node as a line of its graph's text, large constants elided: for messages. */
export function printNode(node: Node, graph: Graph): string {
  return nodeText(node, graph, { elideConstants: true }, "");
}

function nodeText(node: Node, graph: Graph, options: PrintOptions, indent: string): string {
  const outputs = node.outputs.map((output) => (output === "" ? "_" : typedName(output, graph)));
  const operator = `${node.domain === "" ? "" : `${word(node.domain)}::`}${word(node.op)}`;
  const inputs = node.inputs.map((input) => (input === "" ? "_" : valueName(input)));
  const origins = node.origins.length === 1 && node.origins[0] === node.name ? "" : originsText(node.origins);
  return [
    outputs.length === 0 ? "()" : outputs.join(", "),
    ` = ${operator}(${inputs.join(", ")})`,
    attributesText(node.attributes, options, indent),
    ` @${bareOrQuoted(node.name)}${origins}`,
    ...(node.epilogue ?? []).map((step) => epilogueText(step, options, indent)),
    node.epilogue?.length === 0 ? " then nothing" : "",
  ].join("");
}

function epilogueText(step: EpilogueStep, options: PrintOptions, indent: string): string {
  const operands = step.operands.map((operand) => (operand === null ? "_" : `#${operand}`));
  const origins = step.origins.length === 0 ? "" : originsText(step.origins);
  return ` then ${word(step.op)}(${operands.join(", ")})${attributesText(step.attributes, options, indent)}${origins}`;
}

function originsText(origins: readonly string[]): string {
  return ` from [${origins.map((origin) => JSON.stringify(origin)).join(", ")}]`;
}

function attributesText(attributes: Attributes, options: PrintOptions, indent: string): string {
  const entries = Object.entries(attributes);
  if (entries.length === 0) return "";
  return ` {${entries.map(([key, attribute]) => `${word(key)} = ${attributeText(attribute, options, indent)}`).join(", ")}}`;
}

function attributeText(attribute: Attribute, options: PrintOptions, indent: string): string {
  const list = (items: readonly string[]) => (items.length === 0 ? `${attribute.type}[]` : `[${items.join(", ")}]`);
  switch (attribute.type) {
    case "int":
      return String(attribute.value);
    case "float":
      return floatText(attribute.value);
    case "string":
      return JSON.stringify(attribute.value);
    case "ints":
      return list(attribute.value.map(String));
    case "floats":
      return list(attribute.value.map(floatText));
    case "strings":
      return list(attribute.value.map((item) => JSON.stringify(item)));
    case "tensor":
      return `${printType({ dtype: attribute.value.dtype, shape: attribute.value.shape })} ${tensorElements(attribute.value, options)}`;
    case "graph":
      return `graph ${graphBody(attribute.value, options, indent)}`;
  }
}

/** `float32[N, 3]`, `float32[]` for a scalar, `float32[*]` where the rank is unknown. */
export function printType(type: TensorType): string {
  return `${type.dtype}[${type.shape === undefined ? "*" : type.shape.map(dimText).join(", ")}]`;
}

function dimText(dim: Dim): string {
  return typeof dim === "number" ? String(dim) : word(dim);
}

function typedName(name: string, graph: Graph): string {
  const type = graph.types.get(name);
  return type === undefined ? valueName(name) : `${valueName(name)}: ${printType(type)}`;
}

function valueName(name: string): string {
  return `%${bareOrQuoted(name)}`;
}

function bareOrQuoted(name: string): string {
  return /^[\w./$-]+$/.test(name) ? name : JSON.stringify(name);
}

/** A name where a bare one must look like an identifier. */
function word(name: string): string {
  return /^[A-Za-z_][\w.]*$/.test(name) ? name : JSON.stringify(name);
}

function plainNumber(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return Object.is(value, -0) ? "-0" : String(value);
}

/** A float attribute's text: always told from an int by a point, an exponent, a suffix or a name. */
function floatText(value: number): string {
  const exact = plainNumber(value);
  const short = shortestFloat32(value);
  if (short.length < exact.length) return `${short}f`;
  return /^-?\d+$/.test(exact) ? `${exact}.0` : exact;
}

/** The shortest decimal that rounds to the same FP32 value; the full decimal of a number that FP32 does not hold. */
function shortestFloat32(value: number): string {
  if (!Number.isFinite(value) || Math.fround(value) !== value || Object.is(value, -0)) return plainNumber(value);
  for (let digits = 1; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return String(candidate);
  }
  return String(Number(value.toPrecision(9)));
}

function tensorElements(tensor: Tensor, options: PrintOptions): string {
  const { data } = tensor;
  if (options.elideConstants && data.length > elidedElements) return `<${data.length} elements>`;
  if (Array.isArray(data)) return `[${data.map((item) => JSON.stringify(item)).join(", ")}]`;
  if (data.length <= inlineElements && !hasUnusualNan(tensor)) {
    const elements: readonly (number | bigint)[] = Array.from<number | bigint>(data);
    const texts = elements.map((element) => elementText(tensor.dtype, element));
    if (!texts.includes(undefined)) return `[${texts.join(", ")}]`;
  }
  return `base64"${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64")}"`;
}

function elementText(dtype: DType, element: number | bigint): string | undefined {
  if (typeof element === "bigint") return String(element);
  switch (dtype) {
    case "float32":
    case "complex64":
      return shortestFloat32(element);
    case "float16":
      return shortestFloat32(fromFloat16Bits(element));
    case "bfloat16":
      return shortestFloat32(fromBfloat16Bits(element));
    case "bool":
      return element === 0 ? "false" : element === 1 ? "true" : undefined;
    default:
      return dtype.startsWith("float8") || dtype.startsWith("float4") ? `0x${element.toString(16)}` : plainNumber(element);
  }
}

/** Whether a NaN has other bits than the one that parsing makes. */
function hasUnusualNan({ dtype, data }: Tensor): boolean {
  if (data instanceof Float32Array) {
    const bits = new Uint32Array(data.slice().buffer);
    return data.some((value, index) => Number.isNaN(value) && bits[index] !== 0x7fc00000);
  }
  if (data instanceof Float64Array) {
    const bits = new BigUint64Array(data.slice().buffer);
    return data.some((value, index) => Number.isNaN(value) && bits[index] !== 0x7ff8000000000000n);
  }
  if (!(data instanceof Uint16Array)) return false;
  if (dtype === "float16") return data.some((bits) => (bits & 0x7fff) > 0x7c00 && bits !== 0x7e00);
  return dtype === "bfloat16" && data.some((bits) => (bits & 0x7fff) > 0x7f80 && bits !== 0x7fc0);
}
