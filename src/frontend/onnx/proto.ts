/**
 * ONNX's protobuf messages: onnx-proto's, with what newer IR versions added and with the checks that its generated decoders lack.
 *
 * onnx-proto's decoders call each other through its exported classes, so wrapping a class's `decode` reaches every nested message.
 * The wrapper bounds all reads by the message's own length, bounds nesting, and decodes the fields that onnx-proto does not know.
 * TensorProto's element fields are left where they are in the file's buffer: as JavaScript arrays they would take 8 to 40 bytes each.
 */
import { createRequire } from "node:module";
import type { onnx as Onnx } from "onnx-proto";
import onnxProto from "onnx-proto";

declare module "onnx-proto" {
  namespace onnx {
    interface INodeProto {
      /** IR 10: which of the functions of this name. */
      overload?: string | null;
    }
    interface IFunctionProto {
      overload?: string | null;
      /** IR 9: attributes with defaults. */
      attributeProto?: onnx.IAttributeProto[] | null;
    }
    interface ITensorProto {
      payload?: Payload[] | null;
    }
  }
}

export const { onnx } = onnxProto;

/** Elements of a tensor as they stand in the file. */
export interface Payload {
  readonly field: number;
  /** `whole`: the field's content. `entries`: one or more (tag, value) pairs of the field. */
  readonly form: "whole" | "entries";
  readonly bytes: Uint8Array;
  /** Bytes before `bytes` in the same buffer that belong to the same message and have been decoded. */
  readonly slack: number;
}

/** Field numbers of TensorProto's elements. */
export const tensorField = { float: 4, int32: 5, string: 6, int64: 7, raw: 9, double: 10, uint64: 11 } as const;
const payloadFields: ReadonlySet<number> = new Set(Object.values(tensorField));

export type Reader = Exclude<Parameters<typeof onnx.ModelProto.decode>[0], Uint8Array>;

interface MessageType<M> {
  decode(reader: Reader | Uint8Array, length?: number): M;
}

const deepestNesting = 100;
let nesting = 0;

/** Runs `decode` on the message that `reader` is at, with nothing beyond the message's end in reach. */
function bounded<M>(reader: Reader, length: number | undefined, decode: (end: number) => M): M {
  const fileEnd = reader.len;
  const end = length === undefined ? fileEnd : reader.pos + length;
  if (end > fileEnd) throw new RangeError(`a message of ${length} bytes at byte ${reader.pos} exceeds what holds it`);
  if (nesting >= deepestNesting) throw new RangeError(`messages are nested deeper than ${deepestNesting}`);
  nesting++;
  reader.len = end;
  try {
    const message = decode(end);
    if (reader.pos !== end) throw new RangeError(`a message that should end at byte ${end} ends at ${reader.pos}`);
    return message;
  } finally {
    reader.len = fileEnd;
    nesting--;
  }
}

/** Field decoders by field number, for fields that onnx-proto does not know. */
type AddedFields<M> = Readonly<Record<number, (message: M, reader: Reader) => void>>;

function extend<M>(type: MessageType<M>, added?: AddedFields<M>): void {
  const original = type.decode;
  type.decode = (reader, length) => {
    if (reader instanceof Uint8Array) return original.call(type, reader, length);
    return bounded(reader, length, (end) => {
      const start = reader.pos;
      const message = original.call(type, reader, end - start);
      if (added !== undefined) {
        reader.pos = start;
        while (reader.pos < end) {
          const tag = reader.uint32();
          const field = (tag & 7) === 2 ? added[tag >>> 3] : undefined;
          if (field) field(message, reader);
          else reader.skipType(tag & 7);
        }
      }
      return message;
    });
  };
}

for (const type of [onnx.GraphProto, onnx.ValueInfoProto, onnx.SparseTensorProto, onnx.TrainingInfoProto, onnx.TypeProto])
  extend<object>(type);
for (const type of [onnx.AttributeProto, onnx.TensorShapeProto, onnx.OperatorSetIdProto, onnx.TensorAnnotation]) extend<object>(type);
for (const type of [onnx.TypeProto.Tensor, onnx.TypeProto.Sequence, onnx.TypeProto.Map, onnx.TypeProto.Optional]) extend<object>(type);
for (const type of [onnx.StringStringEntryProto, onnx.TensorShapeProto.Dimension, onnx.TypeProto.SparseTensor]) extend<object>(type);

extend<Onnx.INodeProto>(onnx.NodeProto, {
  8: (node, reader) => {
    node.overload = reader.string();
  },
});

extend<Onnx.IFunctionProto>(onnx.FunctionProto, {
  11: (definition, reader) => {
    definition.attributeProto = [...(definition.attributeProto ?? []), onnx.AttributeProto.decode(reader, reader.uint32())];
  },
  13: (definition, reader) => {
    definition.overload = reader.string();
  },
});

const decodeTensorFields = onnx.TensorProto.decode;

/** As onnx-proto decodes it, but for the element fields: these become `payload`. */
onnx.TensorProto.decode = (reader, length) => {
  if (reader instanceof Uint8Array) return decodeTensor(readerOf(reader), undefined);
  return decodeTensor(reader, length);
};

function decodeTensor(reader: Reader, length: number | undefined): Onnx.TensorProto {
  return bounded(reader, length, (end) => {
    const messageStart = reader.pos;
    const other: Uint8Array[] = [];
    const payload: Payload[] = [];
    while (reader.pos < end) {
      const start = reader.pos;
      const tag = reader.uint32();
      const field = tag >>> 3;
      const wholes = field !== tensorField.string && (tag & 7) === 2;
      if (!payloadFields.has(field)) {
        reader.skipType(tag & 7);
        other.push(reader.buf.subarray(start, reader.pos));
      } else if (wholes) {
        const bytes = reader.bytes();
        payload.push({ field, form: "whole", bytes, slack: reader.pos - bytes.length - messageStart });
      } else {
        reader.skipType(tag & 7);
        const last = payload.at(-1);
        const merges = last?.field === field && last.form === "entries";
        const first = merges ? start - last.bytes.length : start;
        if (merges) payload.pop();
        payload.push({ field, form: "entries", bytes: reader.buf.subarray(first, reader.pos), slack: first - messageStart });
      }
    }
    const message = decodeTensorFields.call(onnx.TensorProto, Buffer.concat(other));
    return Object.assign(message, { payload });
  });
}

/** The version of protobufjs that onnx-proto's decoders know readers by: it may be nested in onnx-proto's own folder. */
const protobuf: { readonly Reader: { create(bytes: Uint8Array): Reader } } = createRequire(
  createRequire(import.meta.url).resolve("onnx-proto"),
)("protobufjs/minimal");

/** A reader of the bytes; a plain Uint8Array, since what it reads are views of the same kind. */
export function readerOf(bytes: Uint8Array): Reader {
  return protobuf.Reader.create(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** Decodes the model in `bytes`. Throws an Error on what is no protobuf of this kind. Tensors refer to `bytes`. */
export function decodeModel(bytes: Uint8Array): Onnx.IModelProto {
  return onnx.ModelProto.decode(readerOf(bytes));
}
