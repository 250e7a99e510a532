/** What `neuron-check-model` says of a model that is not compiled. */

import { UserError } from "../diagnostics/diagnostic.js";
import { type ImportedModel, importModel, listOperators } from "../frontend/index.js";
import { resolveName } from "../graph/names.js";
import { describeReason } from "../operators/index.js";
import type { Reason } from "../operators/record.js";
import type { Framework } from "../options/framework.js";
import { sourceOperators } from "../partition/index.js";
import { bindOptions, checkedModel, importOptions } from "./checked.js";
import type { CompileOptions } from "./options.js";
import { supportedOperators } from "./supported.js";

export interface ModelCheck {
  readonly framework: Framework;
  readonly operators: readonly { readonly name: string; readonly type: string; readonly supported: boolean; readonly reason?: string }[];
  /** What the verdict rests on, where that is not the model alone. */
  readonly note?: string;
}

/**
 * Which of a model's operators can run on a NeuronCore. Open first dimensions without a batch size count as 1; where other
 * dimensions stay open, operators are judged by their type.
 */
export async function checkModel(path: string, options: CompileOptions = {}): Promise<ModelCheck> {
  let imported: ImportedModel;
  try {
    imported = await importModel(path, importOptions(options));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    // Throws the same again where it is not the conversion of some operators that failed.
    return checkTypes(await listOperators(path, importOptions(options)), `the model can't be compiled as it is: ${error.message}`);
  }
  const types = imported.graph.inputs.map((name) => ({ name, type: imported.graph.types.get(name) }));
  const bind = bindOptions(options);
  const names = [bind.inputShapes, bind.inputValues, bind.ioConfig?.inputs].flatMap((values) => [...(values?.keys() ?? [])]);
  const given = new Set(names.map((name) => resolveName(name, imported.graph.inputs, imported.aliases) ?? name));
  const open = types.filter(({ name, type }) => !given.has(name) && type?.shape?.every((extent) => typeof extent === "number") !== true);
  const onlyBatch = open.every(({ type }) => type?.shape?.every((extent, axis) => typeof extent === "number" || axis === 0));
  if (!onlyBatch) {
    const names = open.map(({ name }) => name).join(", ");
    return checkTypes(imported, `inputs ${names} have open dimensions. Give --input-shape for a full check.`);
  }
  const batchSize = options.batchSize ?? (open.length > 0 ? 1 : undefined);
  const { graph, source, verdicts } = await checkedModel(path, {}, { ...bind, batchSize }, imported);
  const reasons = new Map<string, Reason>();
  for (const node of graph.nodes) {
    const reason = verdicts.get(node.name);
    if (reason) for (const name of sourceOperators(node)) reasons.set(name, reason);
  }
  const operators = source.map(({ name, type }) => {
    const reason = reasons.get(name);
    return { name, type, supported: reason === undefined, ...(reason ? { reason: describeReason(reason) } : {}) };
  });
  const note = open.length > 0 && options.batchSize === undefined ? { note: "Open batch dimensions were taken as 1." } : {};
  return { framework: imported.framework, operators, ...note };
}

async function checkTypes(
  { framework, operators: source }: Pick<ImportedModel, "framework" | "operators">,
  because: string,
): Promise<ModelCheck> {
  const supported = new Set(await supportedOperators(framework));
  const operators = source.map(({ name, type }) => ({
    name,
    type,
    supported: supported.has(type),
    ...(supported.has(type) ? {} : { reason: "no NeuronCore form of this operator" }),
  }));
  return { framework, operators, note: `Operators were judged by their type alone: ${because}` };
}
