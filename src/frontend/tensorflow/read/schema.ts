/**
 * TensorFlow's protobuf messages: of each, the fields that are read. Everything else in a file is skipped, so files of any version of
 * TensorFlow read alike.
 */
import protobuf from "protobufjs";

const source = `
syntax = "proto3";
enum DataType {
  DT_INVALID = 0; DT_FLOAT = 1; DT_DOUBLE = 2; DT_INT32 = 3; DT_UINT8 = 4; DT_INT16 = 5; DT_INT8 = 6; DT_STRING = 7; DT_COMPLEX64 = 8;
  DT_INT64 = 9; DT_BOOL = 10; DT_QINT8 = 11; DT_QUINT8 = 12; DT_QINT32 = 13; DT_BFLOAT16 = 14; DT_QINT16 = 15; DT_QUINT16 = 16;
  DT_UINT16 = 17; DT_COMPLEX128 = 18; DT_HALF = 19; DT_RESOURCE = 20; DT_VARIANT = 21; DT_UINT32 = 22; DT_UINT64 = 23;
  DT_FLOAT8_E5M2 = 24; DT_FLOAT8_E4M3FN = 25; DT_INT4 = 29; DT_UINT4 = 30;
  DT_FLOAT_REF = 101; DT_DOUBLE_REF = 102; DT_INT32_REF = 103; DT_UINT8_REF = 104; DT_INT16_REF = 105; DT_INT8_REF = 106;
  DT_STRING_REF = 107; DT_COMPLEX64_REF = 108; DT_INT64_REF = 109; DT_BOOL_REF = 110; DT_QINT8_REF = 111; DT_QUINT8_REF = 112;
  DT_QINT32_REF = 113; DT_BFLOAT16_REF = 114; DT_QINT16_REF = 115; DT_QUINT16_REF = 116; DT_UINT16_REF = 117; DT_COMPLEX128_REF = 118;
  DT_HALF_REF = 119; DT_RESOURCE_REF = 120; DT_VARIANT_REF = 121; DT_UINT32_REF = 122; DT_UINT64_REF = 123;
}
message SavedModel { int64 saved_model_schema_version = 1; repeated MetaGraphDef meta_graphs = 2; }
message MetaGraphDef {
  MetaInfoDef meta_info_def = 1; GraphDef graph_def = 2; SaverDef saver_def = 3; map<string, SignatureDef> signature_def = 5;
  SavedObjectGraph object_graph_def = 7;
}
message MetaInfoDef { OpList stripped_op_list = 2; repeated string tags = 4; }
message SaverDef { string restore_op_name = 3; }
message SignatureDef { map<string, TensorInfo> inputs = 1; map<string, TensorInfo> outputs = 2; string method_name = 3; }
message TensorInfo { string name = 1; DataType dtype = 2; TensorShapeProto tensor_shape = 3; }

message GraphDef { repeated NodeDef node = 1; FunctionDefLibrary library = 2; }
message NodeDef { string name = 1; string op = 2; repeated string input = 3; map<string, AttrValue> attr = 5; }
message FunctionDefLibrary { repeated FunctionDef function = 1; }
message FunctionDef {
  OpDef signature = 1; repeated NodeDef node_def = 3; map<string, string> ret = 4; map<string, AttrValue> attr = 5;
  map<string, string> control_ret = 6; map<uint32, ArgAttrs> arg_attr = 7;
}
message ArgAttrs { map<string, AttrValue> attr = 1; }
message OpList { repeated OpDef op = 1; }
message OpDef { string name = 1; repeated ArgDef input_arg = 2; repeated ArgDef output_arg = 3; repeated AttrDef attr = 4; }
message ArgDef { string name = 1; DataType type = 3; string type_attr = 4; string number_attr = 5; string type_list_attr = 6; }
message AttrDef { string name = 1; AttrValue default_value = 3; }
message AttrValue {
  oneof value {
    bytes s = 2; int64 i = 3; float f = 4; bool b = 5; DataType type = 6; TensorShapeProto shape = 7; TensorProto tensor = 8;
    ListValue list = 1; NameAttrList func = 10; string placeholder = 9;
  }
}
message ListValue {
  repeated bytes s = 2; repeated int64 i = 3; repeated float f = 4; repeated bool b = 5; repeated DataType type = 6;
  repeated TensorShapeProto shape = 7; repeated TensorProto tensor = 8; repeated NameAttrList func = 9;
}
message NameAttrList { string name = 1; map<string, AttrValue> attr = 2; }
message TensorShapeProto { repeated Dim dim = 2; bool unknown_rank = 3; }
message Dim { int64 size = 1; }
message TensorProto {
  DataType dtype = 1; TensorShapeProto tensor_shape = 2; bytes tensor_content = 4; repeated float float_val = 5;
  repeated double double_val = 6; repeated int32 int_val = 7; repeated bytes string_val = 8; repeated float scomplex_val = 9;
  repeated int64 int64_val = 10; repeated bool bool_val = 11; repeated double dcomplex_val = 12; repeated int32 half_val = 13;
  repeated uint32 uint32_val = 16; repeated uint64 uint64_val = 17; bytes float8_val = 18;
}

message BundleHeaderProto { int32 num_shards = 1; int32 endianness = 2; VersionDef version = 3; }
message VersionDef { int32 producer = 1; int32 min_consumer = 2; }
message BundleEntryProto {
  DataType dtype = 1; TensorShapeProto shape = 2; int32 shard_id = 3; int64 offset = 4; int64 size = 5; fixed32 crc32c = 6;
  repeated TensorSliceProto slices = 7;
}
message TensorSliceProto { repeated Extent extent = 1; }
message Extent { int64 start = 1; int64 length = 2; }

message SavedObjectGraph { repeated SavedObject nodes = 1; map<string, SavedConcreteFunction> concrete_functions = 2; }
message SavedObject { repeated ObjectReference children = 1; }
message SavedConcreteFunction { repeated int32 bound_inputs = 2; }
message TrackableObjectGraph { repeated TrackableObject nodes = 1; }
message TrackableObject { repeated ObjectReference children = 1; repeated SerializedTensor attributes = 2; }
message ObjectReference { int32 node_id = 1; string local_name = 2; }
message SerializedTensor { string name = 1; string full_name = 2; string checkpoint_key = 3; }
`;

/** The messages by name; the text form is read by the same description as the binary. */
export const schema = protobuf.parse(source, { keepCase: true }).root.resolveAll();

/** A 64-bit integer as protobufjs has it: a number where it fits no wider type, else a Long. Both print in decimal. */
export type Wide = number | { toString(): string };
type Many<T> = readonly T[];
type ByName<T> = Readonly<Record<string, T>>;

/** The messages as decoded. Fields that a file leaves out hold protobuf's defaults; messages that it leaves out are null. */
export interface SavedModel {
  readonly meta_graphs: Many<MetaGraphDef>;
}
export interface MetaGraphDef {
  readonly meta_info_def: { readonly stripped_op_list: { readonly op: Many<OpDef> } | null; readonly tags: Many<string> } | null;
  readonly graph_def: GraphDef | null;
  readonly saver_def: { readonly restore_op_name: string } | null;
  readonly signature_def: ByName<SignatureDef>;
  readonly object_graph_def: SavedObjectGraph | null;
}
export interface SignatureDef {
  readonly inputs: ByName<TensorInfo>;
  readonly outputs: ByName<TensorInfo>;
}
export interface TensorInfo {
  readonly name: string;
  readonly dtype: number;
  readonly tensor_shape: TensorShapeProto | null;
}
export interface GraphDef {
  readonly node: Many<NodeDef>;
  readonly library: { readonly function: Many<FunctionDef> } | null;
}
export interface NodeDef {
  readonly name: string;
  readonly op: string;
  readonly input: Many<string>;
  readonly attr: ByName<AttrValue>;
}
export interface FunctionDef {
  readonly signature: OpDef | null;
  readonly node_def: Many<NodeDef>;
  readonly ret: ByName<string>;
  readonly control_ret: ByName<string>;
  readonly arg_attr: ByName<{ readonly attr: ByName<AttrValue> }>;
}
export interface OpDef {
  readonly name: string;
  readonly input_arg: Many<ArgDef>;
  readonly output_arg: Many<ArgDef>;
  readonly attr: Many<{ readonly name: string; readonly default_value: AttrValue | null }>;
}
export interface ArgDef {
  readonly name: string;
  readonly type: number;
  readonly type_attr: string;
  readonly number_attr: string;
  readonly type_list_attr: string;
}
/** One of these is its value; `value` names which. */
export interface AttrValue {
  readonly value?: "s" | "i" | "f" | "b" | "type" | "shape" | "tensor" | "list" | "func" | "placeholder";
  readonly s: Uint8Array;
  readonly i: Wide;
  readonly f: number;
  readonly b: boolean;
  readonly type: number;
  readonly shape: TensorShapeProto;
  readonly tensor: TensorProto;
  readonly list: ListValue;
  readonly func: NameAttrList;
  readonly placeholder: string;
}
export interface ListValue {
  readonly s: Many<Uint8Array>;
  readonly i: Many<Wide>;
  readonly f: Many<number>;
  readonly b: Many<boolean>;
  readonly type: Many<number>;
  readonly shape: Many<TensorShapeProto>;
  readonly func: Many<NameAttrList>;
}
export interface NameAttrList {
  readonly name: string;
  readonly attr: ByName<AttrValue>;
}
export interface TensorShapeProto {
  readonly dim: Many<{ readonly size: Wide }>;
  readonly unknown_rank: boolean;
}
export interface TensorProto {
  readonly dtype: number;
  readonly tensor_shape: TensorShapeProto | null;
  readonly tensor_content: Uint8Array;
  readonly float_val: Many<number>;
  readonly double_val: Many<number>;
  readonly int_val: Many<number>;
  readonly string_val: Many<Uint8Array>;
  readonly scomplex_val: Many<number>;
  readonly int64_val: Many<Wide>;
  readonly bool_val: Many<boolean>;
  readonly dcomplex_val: Many<number>;
  readonly half_val: Many<number>;
  readonly uint32_val: Many<number>;
  readonly uint64_val: Many<Wide>;
  readonly float8_val: Uint8Array;
}
export interface BundleHeader {
  readonly num_shards: number;
  readonly endianness: number;
}
export interface BundleEntry {
  readonly dtype: number;
  readonly shape: TensorShapeProto | null;
  readonly shard_id: number;
  readonly offset: Wide;
  readonly size: Wide;
  readonly crc32c: number;
  readonly slices: Many<TensorSliceProto>;
}
/** An extent without a length is the whole axis. */
export interface TensorSliceProto {
  readonly extent: Many<{ readonly start: Wide; readonly length: Wide }>;
}
export interface SavedObjectGraph {
  readonly nodes: Many<{ readonly children: Many<ObjectReference> }>;
  readonly concrete_functions: ByName<{ readonly bound_inputs: Many<number> }>;
}
export interface ObjectReference {
  readonly node_id: number;
  readonly local_name: string;
}
export interface TrackableObjectGraph {
  readonly nodes: Many<{
    readonly children: Many<ObjectReference>;
    readonly attributes: Many<{ readonly name: string; readonly checkpoint_key: string }>;
  }>;
}

/** The messages that files and fields hold whole. */
export interface Messages {
  SavedModel: SavedModel;
  GraphDef: GraphDef;
  BundleHeaderProto: BundleHeader;
  BundleEntryProto: BundleEntry;
  TrackableObjectGraph: TrackableObjectGraph;
  AttrValue: AttrValue;
}
export type MessageName = keyof Messages;

/** A decoded message is of the interface that stands for its name: both are written above, field by field. */
export function isMessage<N extends MessageName>(name: N, value: object): value is Messages[N] {
  return value instanceof schema.lookupType(name).ctor;
}

/** Decodes binary protobuf. `bytes` fields are views of `bytes`. Throws an Error on what is no such message. */
export function decode<N extends MessageName>(name: N, bytes: Uint8Array): Messages[N] {
  const message = schema.lookupType(name).decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (!isMessage(name, message)) throw new Error(`decoded no ${name}`);
  return message;
}

const noList: ListValue = { s: [], i: [], f: [], b: [], type: [], shape: [], func: [] };

/** An attribute made here: a list of element types, or a function's name. */
export function madeAttribute(content: { readonly types: readonly number[] } | { readonly function: string }): AttrValue {
  const value =
    "types" in content
      ? { list: { ...noList, type: content.types } }
      : { func: { name: content.function, attr: {} } satisfies NameAttrList };
  const message = schema.lookupType("AttrValue").create(value);
  if (!isMessage("AttrValue", message)) throw new Error("made no AttrValue");
  return message;
}
