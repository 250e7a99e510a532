/** Chooses what of a SavedModel is compiled: a meta graph by its tags, in it a signature by its name. */
import { userError } from "../../../diagnostics/diagnostic.js";
import { didYouMean } from "../../../diagnostics/suggest.js";
import type { Port } from "./builder.js";
import type { MetaGraphDef, SavedModel, SignatureDef, TensorInfo } from "./schema.js";
import { shapeOf, typeOf } from "./tensor.js";

const servingTag = "serve";
const servingSignature = "serving_default";
/** Signatures that set a model up and are not for inference. */
const setupSignatures: ReadonlySet<string> = new Set(["__saved_model_init_op", "__saved_model_train_op"]);

function tagsOf(graph: MetaGraphDef): readonly string[] {
  return graph.meta_info_def?.tags ?? [];
}

function tagText(graph: MetaGraphDef): string {
  return tagsOf(graph).join(",") || "(none)";
}

/** The meta graph with exactly the wanted tags; without any wanted, the one for serving. Errors: NCC0132, NCC0134, NCC0135. */
export function chooseMetaGraph(path: string, { meta_graphs: graphs }: SavedModel, tagSet: string | undefined): MetaGraphDef {
  if (graphs.length === 0) throw userError("NCC0132", { path, reason: "it has no meta graph; is it cut short?" });
  const tagSets = graphs.map(tagText).join("; ");
  if (tagSet === undefined) {
    const serving = graphs.filter((graph) => tagsOf(graph).includes(servingTag));
    const candidates = serving.length > 0 ? serving : graphs;
    if (candidates.length > 1) throw userError("NCC0135", { path, tagSets: candidates.map(tagText).join("; ") });
    return candidates[0];
  }
  const wanted = new Set(tagSet.split(",").map((tag) => tag.trim()));
  const found = graphs.filter((graph) => {
    const tags = new Set(tagsOf(graph));
    return tags.size === wanted.size && [...wanted].every((tag) => tags.has(tag));
  });
  if (found.length === 0) throw userError("NCC0134", { path, tagSet, hint: didYouMean(tagSet, graphs.map(tagText)), tagSets });
  return found[0];
}

/** The signatures that can be run, in order of their names. */
export function runnableSignatures(graph: MetaGraphDef): string[] {
  const names = Object.keys(graph.signature_def).filter((name) => !setupSignatures.has(name));
  return names.filter((name) => Object.keys(graph.signature_def[name].outputs).length > 0).sort();
}

export interface Signature {
  readonly name: string;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
}

/** The signature of this name; without one, serving_default, else the first. Errors: NCC0136, NCC0137, NCC0156. */
export function chooseSignature(path: string, graph: MetaGraphDef, wanted: string | undefined): Signature {
  const names = runnableSignatures(graph);
  if (wanted !== undefined && !names.includes(wanted)) {
    throw userError("NCC0136", { path, signature: wanted, hint: didYouMean(wanted, names), signatures: names.join(", ") || "none" });
  }
  const name = wanted ?? (names.includes(servingSignature) ? servingSignature : names[0]);
  if (name === undefined) throw userError("NCC0137", { path });
  const signature: SignatureDef = graph.signature_def[name];
  return { name, inputs: ports(name, "input", signature.inputs), outputs: ports(name, "output", signature.outputs) };
}

/** In order of the keys; of several keys for one tensor, the first. */
function ports(signature: string, kind: string, infos: Readonly<Record<string, TensorInfo>>): Port[] {
  const found = new Map<string, Port>();
  for (const key of Object.keys(infos).sort()) {
    const { name: tensor, dtype, tensor_shape: shape } = infos[key];
    if (tensor === "") throw userError("NCC0156", { kind, name: key, signature });
    const name = tensor.includes(":") ? tensor : `${tensor}:0`;
    if (!found.has(name)) found.set(name, { key, name, dtype: typeOf(dtype), shape: shapeOf(shape) });
  }
  return [...found.values()];
}
