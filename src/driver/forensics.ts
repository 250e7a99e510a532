/** Where a compiled model leaves the original: every tensor that both have, compared one by one. */

import type { ImportedModel } from "../frontend/index.js";
import type { Graph } from "../graph/graph.js";
import { elementCount, numberAt, type Tensor } from "../graph/tensor.js";
import type { Artifact, Manifest } from "../neff/artifact.js";
import { type Exactness, isWithinFp32, loosest, NETWORK_LOSS } from "../operators/exactness.js";
import { exactnessOf } from "../operators/index.js";
import { parsePrecision } from "../passes/index.js";
import { type Comparison, compareTensors } from "../runtime/compare.js";
import { compileModel } from "./compile.js";
import { artifactOptions } from "./options.js";
import { loadModel, referenceInputs } from "./run.js";

/** A tensor inside, in the order of the original model. */
export interface TensorComparison extends Comparison {
  /** The loosest class among the operators that it comes from, in the compile's precision. */
  readonly exactness: Exactness;
  /** Whether it is as near to the original as its class says. */
  readonly within: boolean;
}

/**
 * Compiles the original again, as it was but for every value of the programs being an output, and runs both. Tensors that one side does not have
 * (fused, folded, made by a decomposition) are left out. Errors: those of the compile and of the run.
 */
export async function compareInside(
  path: string,
  model: ImportedModel,
  original: Artifact,
  inputs: ReadonlyMap<string, Tensor>,
): Promise<TensorComparison[]> {
  const { graph } = model;
  const { artifact } = await compileModel(path, { ...artifactOptions(original), everyValue: true });
  const compiled = await loadModel(artifact);
  try {
    const values = await compiled.run(inputs);
    const made = graph.nodes.flatMap((node) => node.outputs).filter((name) => values.has(name));
    const { runGraph } = await import("../host/index.js");
    const reference = await runGraph({ ...graph, outputs: made }, referenceInputs(model, original, inputs));
    const exactness = exactnessOfValues(graph, original.manifest);
    return made.map((name) => judged(name, values.get(name)!, reference.get(name)!, exactness.get(name) ?? "fp32"));
  } finally {
    await compiled.dispose();
  }
}

/** The class of each value: that of its operator, or of what it reads if that is looser. Where tensors are held in 16 bits, all are rounded. */
function exactnessOfValues(graph: Graph, { options }: Manifest): Map<string, Exactness> {
  const precision = parsePrecision(options.fastMath, options.fp32Cast);
  const rounds = precision.tensors !== "float32" || precision.relayout === "fast";
  const found = new Map<string, Exactness>();
  for (const node of graph.nodes) {
    const own = rounds ? "rounded" : exactnessOf(node);
    const whole = loosest([own, ...node.inputs.map((input) => found.get(input) ?? "exact")]);
    for (const output of node.outputs) found.set(output, whole);
  }
  return found;
}

function judged(name: string, value: Tensor, reference: Tensor, exactness: Exactness): TensorComparison {
  const comparison = compareTensors(name, value, reference);
  const near = {
    exact: () => comparison.maxAbs === 0,
    fp32: () => isNear(value, reference),
    rounded: () => 1 - comparison.cosine <= NETWORK_LOSS,
  };
  return { ...comparison, exactness, within: near[exactness]() };
}

function isNear(value: Tensor, reference: Tensor): boolean {
  if (Array.isArray(value.data)) return compareTensors("", value, reference).maxAbs === 0;
  for (let index = 0; index < elementCount(value.shape); index++) {
    if (!isWithinFp32(numberAt(value, index), numberAt(reference, index))) return false;
  }
  return true;
}
