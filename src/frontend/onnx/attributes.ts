/** ONNX's AttributeProto as the IR's Attribute. */
import type { onnx as Onnx } from "onnx-proto";
import { userError } from "../../diagnostics/diagnostic.js";
import type { Attribute, Graph } from "../../graph/graph.js";
import type { Tensor } from "../../graph/tensor.js";

/** How the parts of an attribute that are not numbers or text are converted. */
export interface AttributeParts {
  readonly tensor: (proto: Onnx.ITensorProto, label: string) => Tensor;
  readonly sparse: (proto: Onnx.ISparseTensorProto, label: string) => Tensor;
  readonly graph: (proto: Onnx.IGraphProto, label: string) => Graph;
}

/** AttributeProto.AttributeType by its name in messages. */
const kinds = ["undefined", "float", "int", "string", "tensor", "graph", "floats", "ints", "strings", "tensors", "graphs"];
kinds.push("sparse tensor", "sparse tensors", "type", "types");

const decoder = new TextDecoder();

/** The kind of an attribute that does not say it (IR versions 1 and 2 need not): the field that is filled. */
function inferredKind(proto: Onnx.IAttributeProto): string {
  if (proto.t) return "tensor";
  if (proto.g) return "graph";
  if (proto.floats?.length) return "floats";
  if (proto.ints?.length) return "ints";
  if (proto.strings?.length) return "strings";
  if (Object.hasOwn(proto, "s")) return "string";
  return Object.hasOwn(proto, "f") ? "float" : "int";
}

/** Throws a UserError, naming `node`, on a kind that no operator of the default domain takes. */
export function convertAttribute(proto: Onnx.IAttributeProto, node: string, parts: AttributeParts): Attribute {
  const kind = proto.type ? (kinds[proto.type] ?? `number ${proto.type}`) : inferredKind(proto);
  const label = `${node}: attribute ${proto.name}`;
  switch (kind) {
    case "float":
      return { type: "float", value: proto.f ?? 0 };
    case "int":
      return { type: "int", value: Number(proto.i ?? 0) };
    case "string":
      return { type: "string", value: decoder.decode(proto.s ?? new Uint8Array()) };
    case "floats":
      return { type: "floats", value: proto.floats ?? [] };
    case "ints":
      return { type: "ints", value: (proto.ints ?? []).map(Number) };
    case "strings":
      return { type: "strings", value: (proto.strings ?? []).map((text) => decoder.decode(text)) };
    case "tensor":
      return { type: "tensor", value: parts.tensor(proto.t ?? {}, label) };
    case "sparse tensor":
      return { type: "tensor", value: parts.sparse(proto.sparseTensor ?? {}, label) };
    case "graph":
      return { type: "graph", value: parts.graph(proto.g ?? {}, label) };
    default:
      throw userError("NCC0213", { node, attribute: proto.name ?? "", kind });
  }
}

/** The value of a Constant node's attribute. */
export function constantTensor(attribute: Attribute): Tensor | undefined {
  switch (attribute.type) {
    case "tensor":
      return attribute.value;
    case "int":
      return { dtype: "int64", shape: [], data: BigInt64Array.of(BigInt(attribute.value)) };
    case "float":
      return { dtype: "float32", shape: [], data: Float32Array.of(attribute.value) };
    case "string":
      return { dtype: "string", shape: [], data: [attribute.value] };
    case "ints":
      return { dtype: "int64", shape: [attribute.value.length], data: BigInt64Array.from(attribute.value, (value) => BigInt(value)) };
    case "floats":
      return { dtype: "float32", shape: [attribute.value.length], data: Float32Array.from(attribute.value) };
    case "strings":
      return { dtype: "string", shape: [attribute.value.length], data: [...attribute.value] };
    case "graph":
      return undefined;
  }
}
