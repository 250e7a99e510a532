/** ONNX files as graphs. */
import type { onnx as Onnx } from "onnx-proto";
import { UserError, userError } from "../../diagnostics/diagnostic.js";
import type { ImportedModel } from "../model.js";
import { convertModel, opsetsOf } from "./convert.js";
import { externalDataOf, notOnnx, readModelFile } from "./files.js";
import { decodeModel } from "./proto.js";

const oldestIr = 3;
const newestIr = 14;
const oldestOpset = 1;
/** Operators that opsets after the pinned one changed have the same form there, as far as the pinned one has them. */
const newestOpset = 28;

/**
 * The graph of an ONNX file, at the pinned opset. Its large constants are views of one buffer that holds the file (external data: of
 * one buffer each), so import takes little more memory than the file. Throws a UserError on anything that is not a usable model.
 */
export async function importOnnx(path: string): Promise<ImportedModel> {
  const bytes = readModelFile(path);
  const model = decode(path, bytes);
  const external = new Set<string>();
  const graph = convertModel(model, externalDataOf(path, external));
  const operators = graph.nodes.map(({ name, op }) => ({ name, type: op }));
  return { framework: "ONNX", graph, operators, files: [path, ...[...external].sort()] };
}

function decode(path: string, bytes: Uint8Array): Onnx.IModelProto {
  let model: Onnx.IModelProto;
  try {
    model = decodeModel(bytes);
  } catch (error) {
    if (error instanceof UserError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw notOnnx(path, bytes, `${reason.split("\n")[0]}; is it cut short or damaged?`);
  }
  const ir = Number(model.irVersion ?? 0);
  if (!Object.hasOwn(model, "irVersion")) throw notOnnx(path, bytes, "it has no IR version");
  if (!model.graph && (model.functions ?? []).length === 0 && opsetsOf(model.opsetImport).size === 0) {
    throw notOnnx(path, bytes, "it has no graph; is it cut short?");
  }
  if (ir < oldestIr || ir > newestIr) throw userError("NCC0111", { path, version: ir, oldest: oldestIr, newest: newestIr });
  if (!model.graph) throw userError("NCC0110", { path });
  const opset = opsetsOf(model.opsetImport).get("");
  if (opset === undefined && model.graph.node?.some((node) => !node.domain || node.domain === "ai.onnx")) {
    throw userError("NCC0112", { path, oldest: oldestOpset, newest: newestOpset });
  }
  for (const imports of [model.opsetImport, ...(model.functions ?? []).map((item) => item.opsetImport)]) {
    const version = opsetsOf(imports).get("");
    if (version !== undefined && (version < oldestOpset || version > newestOpset)) {
      throw userError("NCC0113", { path, version, oldest: oldestOpset, newest: newestOpset });
    }
  }
  return model;
}
