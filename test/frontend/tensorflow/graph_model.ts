/** TF.js graph models (a GraphDef in protobuf-JSON, weights in shards) as SavedModels. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { schema } from "../../../src/frontend/tensorflow/read/schema.js";

interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: "float32" | "int32" | "bool";
  readonly quantization?: { readonly dtype: "uint8" | "uint16" | "float16"; readonly scale?: number; readonly min?: number };
}

interface Json {
  readonly [key: string]: unknown;
}

interface TensorInfo extends Json {
  readonly name: string;
}

interface GraphNode extends Json {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr: Readonly<Record<string, { readonly type?: string; readonly shape?: Json }>>;
}

interface GraphModel {
  readonly modelTopology: { readonly node: readonly GraphNode[]; readonly library?: Json };
  readonly signature?: { readonly inputs?: Readonly<Record<string, TensorInfo>>; readonly outputs?: Readonly<Record<string, TensorInfo>> };
  readonly weightsManifest: readonly { readonly paths: readonly string[]; readonly weights: readonly Weight[] }[];
}

const types = {
  float32: { name: "DT_FLOAT", bytes: 4 },
  int32: { name: "DT_INT32", bytes: 4 },
  bool: { name: "DT_BOOL", bytes: 1 },
} as const;

function halfToFloat(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** The bytes of a weight as TensorFlow has it, and how many it takes in its shard. */
function weightBytes({ shape, dtype, quantization }: Weight, shard: Buffer, start: number): { content: Buffer; taken: number } {
  const count = shape.reduce((product, extent) => product * extent, 1);
  if (quantization === undefined) {
    const taken = count * types[dtype].bytes;
    return { content: shard.subarray(start, start + taken), taken };
  }
  const { dtype: stored, scale = 1, min = 0 } = quantization;
  const size = stored === "uint8" ? 1 : 2;
  const content = Buffer.alloc(4 * count);
  for (let index = 0; index < count; index++) {
    const raw = size === 1 ? shard[start + index] : shard.readUInt16LE(start + 2 * index);
    const value = stored === "float16" ? halfToFloat(raw) : raw * scale + min;
    if (dtype === "float32") content.writeFloatLE(value, 4 * index);
    else content.writeInt32LE(Math.round(value), 4 * index);
  }
  return { content, taken: count * size };
}

/** By name, as TensorProto fields. */
function weightsOf(model: GraphModel, folder: string): Map<string, Json> {
  const tensors = new Map<string, Json>();
  for (const { paths, weights } of model.weightsManifest) {
    const shard = Buffer.concat(paths.map((path) => readFileSync(join(folder, path))));
    let start = 0;
    for (const weight of weights) {
      const { content, taken } = weightBytes(weight, shard, start);
      start += taken;
      const dim = weight.shape.map((size) => ({ size }));
      tensors.set(weight.name, { dtype: types[weight.dtype].name, tensor_shape: { dim }, tensor_content: content });
    }
  }
  return tensors;
}

/** JSON's lowerCamelCase field names as the schema has them; keys of maps (attributes, inputs) are the model's own. */
function fieldNames(value: unknown, isMap = false): unknown {
  if (Array.isArray(value)) return value.map((item) => fieldNames(item));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => {
    const name = isMap ? key : key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return [name, fieldNames(item, !isMap && ["attr", "inputs", "outputs", "ret"].includes(key))];
  });
  return Object.fromEntries(entries);
}

/** Without a signature that feeds every placeholder: all placeholders, and all nodes that nothing reads. */
function signatureOf({ signature, modelTopology: { node } }: GraphModel): { inputs: Json; outputs: Json } {
  const { inputs = {}, outputs = {} } = signature ?? {};
  const fed = new Set(Object.values(inputs).map((info) => info.name.replace(/:0$/, "")));
  const placeholders = node.filter(({ op }) => op === "Placeholder");
  const isFed = placeholders.every(({ name }) => fed.has(name));
  const read = new Set(node.flatMap(({ input = [] }) => input.map((name) => name.replace(/^\^|:\d+$/g, ""))));
  const ends = node.filter(({ name, op }) => !read.has(name) && op !== "Placeholder" && op !== "Const");
  const type = (each: GraphNode) => ({
    dtype: each.attr.dtype?.type ?? "DT_FLOAT",
    tensor_shape: fieldNames(each.attr.shape?.shape ?? { unknownRank: true }),
  });
  return {
    inputs: isFed
      ? fieldMap(inputs)
      : Object.fromEntries(placeholders.map((each) => [each.name, { name: `${each.name}:0`, ...type(each) }])),
    outputs:
      Object.keys(outputs).length > 0
        ? fieldMap(outputs)
        : Object.fromEntries(ends.map(({ name }) => [name, { name: `${name}:0`, dtype: "DT_FLOAT" }])),
  };
}

const fieldMap = (map: Readonly<Record<string, TensorInfo>>): Json =>
  Object.fromEntries(Object.entries(map).map(([key, info]) => [key, fieldNames(info)]));

/** The bytes of a saved_model.pb with the weights as constants, and one signature. */
export function graphModelAsSavedModel(path: string): Uint8Array {
  // TF.js has no doubles: it computes in FP32 where the graph says so.
  const model: GraphModel = JSON.parse(readFileSync(path, "utf8").replaceAll('"DT_DOUBLE"', '"DT_FLOAT"'));
  const weights = weightsOf(model, dirname(path));
  const node = model.modelTopology.node.map((each) => {
    const tensor = each.op === "Const" ? weights.get(each.name) : undefined;
    const named = fieldNames(each);
    if (tensor === undefined || typeof named !== "object") return named;
    return { ...named, attr: { dtype: { type: tensor.dtype }, value: { tensor } } };
  });
  const { inputs, outputs } = signatureOf(model);
  const library = fieldNames(model.modelTopology.library ?? {});
  const savedModel = schema.lookupType("SavedModel");
  const message = savedModel.fromObject({
    saved_model_schema_version: 1,
    meta_graphs: [
      {
        meta_info_def: { tags: ["serve"] },
        graph_def: { node, library },
        signature_def: {
          serving_default: {
            inputs,
            outputs,
            method_name: "tensorflow/serving/predict",
          },
        },
      },
    ],
  });
  return savedModel.encode(message).finish();
}
