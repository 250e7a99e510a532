/** TensorFlow model files as flat graphs. */
import { dirname, join } from "node:path";
import { UserError, userError } from "../../../diagnostics/diagnostic.js";
import type { DType } from "../../../graph/tensor.js";
import { savedModelFiles, tensorFlowKind } from "../../detect.js";
import { modelStats, readWhole, reasonOf, statsOf } from "../../files.js";
import type { FlatGraph, FlatShape } from "../flat.js";
import type { Port } from "./builder.js";
import { variableReader } from "./checkpoint.js";
import { cutGraph, declaredPort, lastTensors, neededNodes, placeholders } from "./cut.js";
import { Flattener, type FlattenOptions } from "./flatten.js";
import { decode, type GraphDef, type MessageName, type Messages } from "./schema.js";
import { chooseMetaGraph, chooseSignature, runnableSignatures, type Signature } from "./signature.js";
import { graphNodes, type Library, libraryOf, parseTensorName, type SourceGraph, type SourceNode } from "./source.js";
import { structured } from "./structure.js";
import { parseText } from "./text.js";
import { assignments, nameOf } from "./trace.js";

export interface ReadOptions {
  /** The signature to read; `serving_default` unless given. A frozen graph has none. */
  readonly signature?: string;
  /** The meta graph to read, by its tags, comma-separated; the one that has `serve` unless given. */
  readonly tagSet?: string;
  /** Tensors to cut the graph at and to end it with, by name (`x:0`), in place of the signature's: a frozen graph names none itself. */
  readonly inputs?: ReadonlyMap<string, { readonly dtype: DType; readonly shape: FlatShape }>;
  readonly outputs?: readonly string[];
}

export interface TensorFlowModel {
  readonly graph: FlatGraph;
  /** Every file that was read, the model's own first. */
  readonly files: readonly string[];
  /** Names of the signatures that the model has; none for a frozen graph. */
  readonly signatures: readonly string[];
}

/** A protobuf message can't be larger. */
const largestMessage = 2 ** 31;

/**
 * Reads a SavedModel (its folder, or its saved_model.pb or .pbtxt) or a frozen GraphDef (.pb or .pbtxt).
 * Throws a UserError on anything that is not a usable model.
 */
export async function readTensorFlow(path: string, options: ReadOptions = {}): Promise<TensorFlowModel> {
  const file = openFile(path);
  return file.kind === "SavedModel" ? readSavedModel(file, options) : readGraphDef(file, options);
}

interface ModelFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly isText: boolean;
  readonly kind: "SavedModel" | "GraphDef";
}

function openFile(given: string): ModelFile {
  const isFolder = statsOf(given)?.isDirectory() ?? false;
  const path = isFolder ? savedModelFiles.map((name) => join(given, name)).find((name) => statsOf(name)) : given;
  if (path === undefined) throw userError("NCC0131", { path: given });
  const { size } = modelStats(path);
  if (size > largestMessage) throw userError("NCC0133", { path, bytes: size });
  const bytes = readWhole(path, size);
  const isText = path.endsWith(".pbtxt");
  const isSavedModel = isFolder || savedModelFiles.some((name) => path.endsWith(name)) || looksLikeSavedModel(bytes, isText);
  return { path, bytes, isText, kind: isSavedModel ? "SavedModel" : "GraphDef" };
}

function looksLikeSavedModel(bytes: Uint8Array, isText: boolean): boolean {
  if (!isText) return tensorFlowKind(bytes, bytes.length) === "a SavedModel";
  return /^\s*(saved_model_schema_version|meta_graphs)\b/.test(Buffer.from(bytes.subarray(0, 1000)).toString("latin1"));
}

function parse<N extends MessageName>({ path, bytes, isText }: ModelFile, name: N): Messages[N] {
  try {
    return isText ? parseText(name, bytes) : decode(name, bytes);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw userError("NCC0132", { path, reason: `${reasonOf(error)}; is it cut short or damaged?` });
  }
}

interface Source {
  readonly path: string;
  readonly proto: GraphDef;
  /** For messages: what names the tensors. */
  readonly user: string;
  readonly signature: string;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** The value of a variable of this graph. */
  readonly variables: (graph: SourceGraph, library: Library) => FlattenOptions["valueOf"];
}

function readSavedModel(file: ModelFile, options: ReadOptions): TensorFlowModel {
  const { path } = file;
  const meta = chooseMetaGraph(path, parse(file, "SavedModel"), options.tagSet);
  const proto = meta.graph_def;
  if (proto === null) throw userError("NCC0132", { path, reason: "its meta graph has no graph; is it cut short?" });
  const signature = chooseSignature(path, meta, options.signature);
  const { inputs, outputs } = portsOf(graphNodes(proto), options, signature);
  const seen = new Set<string>();
  const graph = flatten({
    path,
    proto,
    user: `signature ${signature.name}`,
    signature: signature.name,
    inputs,
    outputs,
    variables: (source, library) => variableReader({ folder: dirname(path), meta, graph: source, library }, seen),
  });
  return { graph, files: [path, ...[...seen].sort()], signatures: runnableSignatures(meta) };
}

function readGraphDef(file: ModelFile, options: ReadOptions): TensorFlowModel {
  const { path } = file;
  const proto = parse(file, "GraphDef");
  if (proto.node.length === 0) throw userError("NCC0132", { path, reason: "it has no nodes; is it cut short?" });
  const nodes = graphNodes(proto);
  const last = lastTensors(nodes);
  const wanted = options.outputs?.length ? options.outputs : last;
  if (wanted.length === 0) throw userError("NCC0155", { path });
  const port = (name: string) => declaredPort(nodes, name, ioConfig);
  const own = { inputs: placeholders(nodes).map(port), outputs: last.map(port) };
  const { inputs, outputs } = portsOf(nodes, { ...options, outputs: wanted }, own);
  const graph = flatten({
    path,
    proto,
    user: ioConfig,
    signature: "the graph",
    inputs,
    outputs,
    variables: () => (variable) => {
      throw userError("NCC0158", { node: variable.name, variable: variable.name });
    },
  });
  return { graph, files: [path], signatures: [] };
}

const ioConfig = "the io-config";

type Ports = Pick<Signature, "inputs" | "outputs">;

/**
 * What is fed and fetched: what the io-config names, by tensor or by key. Of the model's own inputs, those stay that are needed besides;
 * its own outputs stay where none are named.
 */
function portsOf(nodes: ReadonlyMap<string, SourceNode>, { inputs, outputs }: ReadOptions, own: Ports): Ports {
  if (!inputs?.size && !outputs?.length) return own;
  const find = (ports: readonly Port[], name: string) =>
    ports.find((port) => port.key === name || port.name === name || port.name === `${name}:0`) ?? declaredPort(nodes, name, ioConfig);
  const fetched = outputs?.length ? outputs.map((name) => find(own.outputs, name)) : own.outputs;
  const fed = [...(inputs ?? [])].map(([name, given]) => {
    const port = find(own.inputs, name);
    return { ...port, dtype: port.dtype ?? given.dtype, shape: port.shape ?? given.shape };
  });
  const names = new Set(fed.map(({ name }) => name));
  const needed = neededNodes(nodes, fetched, names);
  const open = own.inputs.filter(({ name }) => !names.has(name) && needed.has(parseTensorName(name).node));
  return { inputs: [...fed, ...open], outputs: fetched };
}

/** The flat graph between a source's inputs and outputs. */
function flatten({ proto, user, signature, inputs, outputs, variables }: Source): FlatGraph {
  const text = inputs.find(({ dtype }) => dtype === "string");
  if (text !== undefined) throw userError("NCC0149", { name: text.name });
  const library = libraryOf(proto);
  const whole: SourceGraph = { name: "the graph", nodes: graphNodes(proto), arguments: [], results: [], effects: [] };
  const nodes = structured(whole.nodes, library, whole.name);
  for (const [name, body] of [...library]) library.set(name, { ...body, nodes: structured(body.nodes, library, name) });
  const graph = cutGraph(signature, nodes, inputs, outputs, user);
  const flattener = new Flattener({ library, signature, valueOf: variables(whole, library) });
  const place = { prefix: "", attributes: {}, callers: [] };
  const flat = flattener.flatten(graph, [], inputs, outputs, place);
  const roots = graph.results.map(({ value }) => value.node);
  for (const { variable, op, name } of assignments({ graph }, roots, library)) {
    if (flattener.frozen.has(nameOf(variable))) throw userError("NCC0148", { node: name, op, variable: nameOf(variable) });
  }
  return flat;
}
