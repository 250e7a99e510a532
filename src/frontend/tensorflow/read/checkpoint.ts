/** The values of variables: which key of the checkpoint holds which variable, by the model's own restore function or its object graph. */
import { join } from "node:path";
import { userError } from "../../../diagnostics/diagnostic.js";
import type { Tensor } from "../../../graph/tensor.js";
import { reasonOf } from "../../files.js";
import type { Variable } from "./builder.js";
import { type Bundle, openBundle } from "./bundle.js";
import { boxOfText } from "./partitions.js";
import { decode, type MetaGraphDef, type ObjectReference, type TrackableObjectGraph } from "./schema.js";
import { type Library, parseTensorName, type SourceGraph } from "./source.js";
import { shapeOf, tensorOf, typeOf } from "./tensor.js";
import { assignments, nameOf, type Origin, originOf } from "./trace.js";

/** Where a variable's value is. */
interface Place {
  readonly key: string;
  /** The part of a tensor that is restored, as TensorFlow writes it; empty for the whole. */
  readonly slice: string;
}

export interface Checkpointed {
  /** The SavedModel's folder. */
  readonly folder: string;
  readonly meta: MetaGraphDef;
  /** The meta graph's own graph, as the file has it. */
  readonly graph: SourceGraph;
  readonly library: Library;
}

/**
 * Reads variables of a SavedModel; adds each file that it reads to `seen`. A call throws a UserError where the variable has no value:
 * NCC0138 to NCC0145.
 */
export function variableReader(model: Checkpointed, seen: Set<string>): (variable: Variable) => Tensor {
  const prefix = join(model.folder, "variables", "variables");
  let opened: { bundle: Bundle; places: ReadonlyMap<string, Place> } | undefined;
  return (variable) => {
    if (opened === undefined) {
      const bundle = openBundle(prefix, seen);
      if (bundle === undefined) throw userError("NCC0138", { path: model.folder, variable: variable.name, file: `${prefix}.index` });
      opened = { bundle, places: placesOf(model, bundle) };
    }
    const { bundle, places } = opened;
    const { key, slice } = places.get(variable.name) ?? namesake(variable, bundle);
    const tensor = bundle.tensor(key, variable.name, slice === "" ? undefined : (shape) => boxOfText(slice, shape));
    checkType(variable, tensor);
    return tensor;
  };
}

function placesOf({ meta, graph, library }: Checkpointed, bundle: Bundle): ReadonlyMap<string, Place> {
  const restoreOp = meta.saver_def?.restore_op_name ?? "";
  const restored = restoreOp === "" ? new Map<string, Place>() : restoredPlaces(graph, library, restoreOp);
  return restored.size > 0 ? restored : trackedPlaces(meta, graph, library, bundle);
}

/** As the model restores itself: tensor i of RestoreV2 is assigned to a variable. */
function restoredPlaces(graph: SourceGraph, library: Library, restoreOp: string): Map<string, Place> {
  const places = new Map<string, Place>();
  const { node } = parseTensorName(restoreOp);
  for (const { variable, value } of assignments({ graph }, [node], library)) {
    if (value?.node.op !== "RestoreV2") continue;
    const [, names, slices] = value.node.inputs.map((input) => stringsOf(originOf(value.frame, input, library)));
    const key = names?.[value.output];
    if (key !== undefined) places.set(nameOf(variable), { key, slice: slices?.[value.output] ?? "" });
  }
  return places;
}

function stringsOf(origin: Origin | undefined): readonly string[] | undefined {
  const value = origin?.node.op === "Const" && Object.hasOwn(origin.node.attributes, "value") ? origin.node.attributes.value : undefined;
  if (origin === undefined || value?.value !== "tensor") return undefined;
  const { data } = tensorOf(value.tensor, origin.node.name);
  return Array.isArray(data) ? data : undefined;
}

const objectGraphKey = "_CHECKPOINTABLE_OBJECT_GRAPH";
const valueAttribute = "VARIABLE_VALUE";

/** By the object graphs of model and checkpoint, paired by path: functions say which objects are bound to their last inputs. */
function trackedPlaces(
  { object_graph_def: saved }: MetaGraphDef,
  graph: SourceGraph,
  library: Library,
  bundle: Bundle,
): Map<string, Place> {
  const places = new Map<string, Place>();
  if (saved === null || !bundle.keys.has(objectGraphKey)) return places;
  const keys = keysOfObjects(saved.nodes, trackedObjects(bundle));
  for (const node of graph.nodes.values()) {
    const called = Object.hasOwn(node.attributes, "f") ? node.attributes.f : undefined;
    const name = called?.value === "func" ? called.func.name : node.op;
    const bound = Object.hasOwn(saved.concrete_functions, name) ? saved.concrete_functions[name].bound_inputs : [];
    const first = node.inputs.length - bound.length;
    bound.forEach((object, index) => {
      const handle = node.inputs[first + index];
      const origin = handle === undefined ? undefined : originOf({ graph }, handle, library);
      const key = keys.get(object);
      if (origin !== undefined && key !== undefined) places.set(nameOf(origin), { key, slice: "" });
    });
  }
  return places;
}

function trackedObjects(bundle: Bundle): TrackableObjectGraph["nodes"] {
  try {
    return decode("TrackableObjectGraph", bundle.bytes(objectGraphKey)).nodes;
  } catch (error) {
    throw userError("NCC0143", { variable: objectGraphKey, reason: reasonOf(error) });
  }
}

/** The checkpoint's keys by the numbers that the model gives its objects. */
function keysOfObjects(
  saved: readonly { readonly children: readonly ObjectReference[] }[],
  tracked: TrackableObjectGraph["nodes"],
): Map<number, string> {
  const keys = new Map<number, string>();
  const pairs: [number, number][] = [[0, 0]];
  const seen = new Set<number>();
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [object, twin] = pair;
    if (seen.has(object) || saved[object] === undefined || tracked[twin] === undefined) continue;
    seen.add(object);
    const value = tracked[twin].attributes.find(({ name }) => name === valueAttribute);
    if (value !== undefined) keys.set(object, value.checkpoint_key);
    const twins = new Map(tracked[twin].children.map((child) => [child.local_name, child.node_id]));
    for (const { local_name, node_id } of saved[object].children) {
      const other = twins.get(local_name);
      if (other !== undefined) pairs.push([node_id, other]);
    }
  }
  return keys;
}

/** TensorFlow 1's checkpoints have the variables' own names for keys. */
function namesake({ name, node }: Variable, bundle: Bundle): Place {
  const shared = Object.hasOwn(node.attributes, "shared_name") ? node.attributes.shared_name : undefined;
  const names = [name, shared?.value === "s" ? Buffer.from(shared.s).toString("utf8") : ""];
  const key = names.find((item) => item !== "" && bundle.keys.has(item));
  if (key === undefined) throw userError("NCC0143", { variable: name, reason: "the checkpoint has no value for it" });
  return { key, slice: "" };
}

function checkType({ name, node }: Variable, tensor: Tensor): void {
  const { dtype, shape } = node.attributes;
  const declaredType = dtype?.value === "type" ? typeOf(dtype.type) : undefined;
  const declaredShape = shape?.value === "shape" ? shapeOf(shape.shape) : undefined;
  const sameShape =
    declaredShape === undefined ||
    (declaredShape.length === tensor.shape.length && declaredShape.every((extent, axis) => extent < 0 || extent === tensor.shape[axis]));
  if ((declaredType === undefined || declaredType === tensor.dtype) && sameShape) return;
  const declared = `${declaredType ?? tensor.dtype}[${declaredShape ?? ""}]`;
  throw userError("NCC0144", { variable: name, declared, stored: `${tensor.dtype}[${tensor.shape}]` });
}
