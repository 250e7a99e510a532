/** Small ONNX files, written message by message so that they can be of any opset or broken in any way. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { onnx as Onnx } from "onnx-proto";
import ort from "onnxruntime-node";
import { UserError } from "../../src/diagnostics/diagnostic.js";
import { importOnnx } from "../../src/frontend/index.js";
import { onnx } from "../../src/frontend/onnx/proto.js";
import { elementTypeCodes, tensorToProto } from "../../src/frontend/onnx/tensor.js";
import type { Graph } from "../../src/graph/graph.js";
import { type DType, floatTensor, int64Tensor } from "../../src/graph/tensor.js";

export const folder = mkdtempSync(join(tmpdir(), "neuronc-frontend-"));

export function value(name: string, dtype: DType = "float32", shape?: readonly (number | string)[]): Onnx.IValueInfoProto {
  const dim = shape?.map((extent) => (typeof extent === "number" ? { dimValue: extent } : { dimParam: extent }));
  return { name, type: { tensorType: { elemType: elementTypeCodes[dtype], ...(dim === undefined ? {} : { shape: { dim } }) } } };
}

type AttributeValue = number | string | readonly number[] | readonly string[] | Onnx.IAttributeProto;

/** Floats are given as `{f}` or `{floats}`; plain numbers are ints. */
export function attribute(name: string, given: AttributeValue): Onnx.IAttributeProto {
  const kinds = onnx.AttributeProto.AttributeType;
  if (typeof given === "number") return { name, type: kinds.INT, i: given };
  if (typeof given === "string") return { name, type: kinds.STRING, s: Buffer.from(given) };
  if (!Array.isArray(given)) return { name, ...given };
  if (given.every((item) => typeof item === "number")) return { name, type: kinds.INTS, ints: [...given] };
  return { name, type: kinds.STRINGS, strings: given.map((item) => Buffer.from(String(item))) };
}

export const float = (f: number): Onnx.IAttributeProto => ({ type: onnx.AttributeProto.AttributeType.FLOAT, f });
export const floats = (...items: number[]): Onnx.IAttributeProto => ({ type: onnx.AttributeProto.AttributeType.FLOATS, floats: items });
export const body = (g: Onnx.IGraphProto): Onnx.IAttributeProto => ({ type: onnx.AttributeProto.AttributeType.GRAPH, g });
export const reference = (name: string, type: Onnx.AttributeProto.AttributeType): Onnx.IAttributeProto => ({ refAttrName: name, type });

export function node(
  op: string,
  input: string[],
  output: string[],
  attributes: Record<string, AttributeValue> = {},
  name = "",
): Onnx.INodeProto {
  return { opType: op, input, output, name, attribute: Object.entries(attributes).map(([key, given]) => attribute(key, given)) };
}

export const floatInit = (name: string, shape: number[], data: number[]) => tensorToProto(name, floatTensor(shape, data));
export const intInit = (name: string, shape: number[], data: number[]) => tensorToProto(name, int64Tensor(shape, data));

export function model(opset: number, graph: Onnx.IGraphProto, more: Onnx.IModelProto = {}): Uint8Array {
  return onnx.ModelProto.encode({
    irVersion: 8,
    opsetImport: [{ domain: "", version: opset }],
    graph: { name: "g", ...graph },
    ...more,
  }).finish();
}

export function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** A model that passes x through Identity, for what is wrong about something else. */
export function identityModel(graph: Onnx.IGraphProto = {}, more: Onnx.IModelProto = {}): Uint8Array {
  const plain = { node: [node("Identity", ["x"], ["y"])], input: [value("x", "float32", [2])], output: [value("y")] };
  return model(17, { ...plain, ...graph }, more);
}

let files = 0;

export async function importBytes(bytes: Uint8Array | string): Promise<Graph> {
  return (await importOnnx(file(`model${files++}.onnx`, bytes))).graph;
}

/** The diagnostic that the import of a file ends with. */
export async function failure(path: string): Promise<string> {
  try {
    await importOnnx(path);
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  throw new Error("the import succeeded");
}

/** What ONNX Runtime computes: without optimisation, so that the same operators compute the same bits. */
export async function runOnnx(source: Uint8Array | string, feeds: readonly ort.Tensor[]): Promise<ort.Tensor[]> {
  const options = { logSeverityLevel: 4, intraOpNumThreads: 1, graphOptimizationLevel: "disabled" } as const;
  const session =
    typeof source === "string" ? await ort.InferenceSession.create(source, options) : await ort.InferenceSession.create(source, options);
  const outputs = await session.run(
    Object.fromEntries(session.inputNames.slice(0, feeds.length).map((name, index) => [name, feeds[index]])),
  );
  const results = session.outputNames.map((name) => outputs[name]);
  await session.release();
  return results;
}

export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export function randomFloats(shape: readonly number[], seed = 1): ort.Tensor {
  const next = random(seed);
  const count = shape.reduce((product, extent) => product * extent, 1);
  const data = Float32Array.from({ length: count }, () => next() * 4 - 2);
  return new ort.Tensor("float32", data, shape);
}
