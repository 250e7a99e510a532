/** The graph IR as an ONNX model. */
import type { onnx as Onnx } from "onnx-proto";
import { withoutEpilogues } from "../../graph/epilogue.js";
import { type Attribute, type Attributes, type Graph, type Node, PINNED_OPSET, type TensorType } from "../../graph/graph.js";
import { onnx, readerOf } from "./proto.js";
import { elementTypeCodes, tensorToProto } from "./tensor.js";

/** The newest that onnxruntime-node 1.30 loads is 13; 11 has every element type up to float4e2m1, 13 the 2-bit ones. */
const IR_VERSION = 13;

/** Versions of the domains other than ONNX's own. */
const domainVersions: Readonly<Record<string, number>> = { "ai.onnx.ml": 5, "ai.onnx.preview.training": 1 };

export interface WriteOptions {
  /**
   * The opset that the file declares; the pinned one unless given. An operator's form at the pinned opset is its form at an older one
   * too if nothing but its element types changed since: then a runtime that lacks the newest kernel can take the older.
   */
  readonly opset?: number;
}

/**
 * A ModelProto at the pinned opset, as bytes: the same graph gives the same. Epilogues become nodes. Constants are copied once, into
 * the result.
 */
export function writeOnnx(graph: Graph, options: WriteOptions = {}): Uint8Array {
  const domains = new Set<string>();
  const proto = graphToProto(withoutEpilogues(graph), true, domains);
  const opsetImport = [
    { domain: "", version: options.opset ?? PINNED_OPSET },
    ...[...domains].sort().map((domain) => ({ domain, version: domainVersions[domain] ?? 1 })),
  ];
  return onnx.ModelProto.encode({ irVersion: IR_VERSION, producerName: "neuronc", opsetImport, graph: proto }).finish();
}

/** ModelProto's field of the opsets, as the wire has it: number 8, length-delimited. */
const OPSET_IMPORT_TAG = (8 << 3) | 2;

/** A model's bytes with another opset declared. All but the declaration is copied as it stands: decoding leaves tensors in the file. */
export function withOpset(model: Uint8Array, opset: number): Uint8Array {
  const reader = readerOf(model);
  const pieces: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.uint32();
    if (tag !== OPSET_IMPORT_TAG) {
      reader.skipType(tag & 7);
      pieces.push(model.subarray(start, reader.pos));
      continue;
    }
    const entry = onnx.OperatorSetIdProto.decode(reader.bytes());
    if (!entry.domain) entry.version = opset;
    pieces.push(onnx.ModelProto.encode({ opsetImport: [entry] }).finish());
  }
  return Buffer.concat(pieces);
}

/**
 * A body's outputs have to be made by its nodes, so one that is a constant, or that a subgraph takes from its inputs or from outside,
 * goes through an Identity. A constant that is an output gets another name for its value.
 */
function graphToProto(graph: Graph, isMain: boolean, domains: Set<string>): Onnx.IGraphProto {
  const names = new Names(graph);
  const produced = new Set(graph.nodes.flatMap((node) => node.outputs));
  const initializers = new Map(graph.constants);
  const identities: Onnx.INodeProto[] = [];
  const outputs = graph.outputs.map((output) => {
    if (produced.has(output) || (isMain && !graph.constants.has(output))) return output;
    const tensor = initializers.get(output);
    const source = tensor === undefined || !isMain ? output : names.fresh(`${output}_value`);
    const name = isMain ? output : names.fresh(`${output}_result`);
    if (tensor !== undefined && isMain) {
      initializers.delete(output);
      initializers.set(source, tensor);
    }
    identities.push({ name: `${name}_identity`, opType: "Identity", input: [source], output: [name] });
    produced.add(name);
    return name;
  });
  const typeOf = (value: string) => graph.types.get(value);
  return {
    name: graph.name === "" ? "graph" : graph.name,
    initializer: [...initializers].map(([name, tensor]) => tensorToProto(name, tensor)),
    node: [...identities, ...graph.nodes.flatMap((node) => nodeToProtos(node, names, domains))],
    input: graph.inputs.map((input) => valueInfo(input, typeOf(input))),
    output: outputs.map((output, index) => valueInfo(output, typeOf(graph.outputs[index]))),
  };
}

class Names {
  private readonly used: Set<string>;

  constructor(graph: Graph) {
    this.used = new Set([...graph.inputs, ...graph.constants.keys(), ...graph.nodes.flatMap((node) => [...node.inputs, ...node.outputs])]);
  }

  fresh(base: string): string {
    let name = base;
    for (let index = 1; this.used.has(name); index++) name = `${base}_${index}`;
    this.used.add(name);
    return name;
  }
}

function valueInfo(name: string, type: TensorType | undefined): Onnx.IValueInfoProto {
  if (type === undefined) return { name };
  const dim = type.shape?.map((extent) => (typeof extent === "number" ? { dimValue: extent } : { dimParam: extent }));
  return { name, type: { tensorType: { elemType: elementTypeCodes[type.dtype], ...(dim === undefined ? {} : { shape: { dim } }) } } };
}

function nodeToProtos(node: Node, names: Names, domains: Set<string>): Onnx.INodeProto[] {
  const { name, op: opType, domain, inputs, outputs, attributes } = node;
  if (domain !== "") domains.add(domain);
  return operatorProtos(
    { name, opType, domain, input: [...inputs], output: [...outputs], attribute: attributesToProtos(attributes, domains) },
    names,
  );
}

/** The operator itself, or, for Swish, which is newer than the pinned opset: x sigmoid(x). Another alpha than 1 is left to the reader. */
function operatorProtos(proto: Onnx.INodeProto & { input: string[]; output: string[] }, names: Names): Onnx.INodeProto[] {
  const alpha = proto.attribute?.find((attribute) => attribute.name === "alpha")?.f ?? 1;
  if (proto.opType !== "Swish" || proto.domain || alpha !== 1) return [proto];
  const gate = names.fresh(`${proto.output[0]}_gate`);
  return [
    { name: `${proto.name}_gate`, opType: "Sigmoid", input: proto.input, output: [gate] },
    { name: proto.name, opType: "Mul", input: [proto.input[0], gate], output: proto.output },
  ];
}

function attributesToProtos(attributes: Attributes, domains: Set<string>): Onnx.IAttributeProto[] {
  return Object.entries(attributes).map(([name, attribute]) => ({ name, ...attributeToProto(attribute, domains) }));
}

function attributeToProto(attribute: Attribute, domains: Set<string>): Onnx.IAttributeProto {
  const kinds = onnx.AttributeProto.AttributeType;
  switch (attribute.type) {
    case "int":
      return { type: kinds.INT, i: int64(attribute.value) };
    case "float":
      return { type: kinds.FLOAT, f: attribute.value };
    case "string":
      return { type: kinds.STRING, s: Buffer.from(attribute.value, "utf8") };
    case "ints":
      return { type: kinds.INTS, ints: attribute.value.map(int64) };
    case "floats":
      return { type: kinds.FLOATS, floats: [...attribute.value] };
    case "strings":
      return { type: kinds.STRINGS, strings: attribute.value.map((item) => Buffer.from(item, "utf8")) };
    case "tensor":
      return { type: kinds.TENSOR, t: tensorToProto("", attribute.value) };
    case "graph":
      return { type: kinds.GRAPH, g: graphToProto(attribute.value, false, domains) };
  }
}

/** In int64's range: its greatest value, as a number, is one too large. */
function int64(value: number): number {
  return Math.min(value, 2 ** 63 - 1024);
}
