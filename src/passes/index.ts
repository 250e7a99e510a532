/** Normalise: shapes bound and inferred, constants folded, composites decomposed, pointwise operators fused. */
import type { Graph } from "../graph/graph.js";
import { absorb } from "./absorb.js";
import { bind } from "./bind.js";
import { clean } from "./clean.js";
import { decompose } from "./decompose.js";
import { narrowDoubles } from "./doubles.js";
import { fold } from "./fold.js";
import { fuse } from "./fuse.js";
import { cancelTransposes } from "./layout/index.js";
import { simplify } from "./movement.js";
import { type PassName, passNames } from "./names.js";
import type { NormaliseOptions, Pass } from "./options.js";
import { scalesBehind } from "./quantised.js";

export { parseIoConfig } from "./io_config.js";
export type { BindOptions, Decomposition, Evaluate, IoConfig, NormaliseOptions, OperatorRules, Pass } from "./options.js";
export { applyPrecision, fastMathWords, fp32CastWords, type Half, type Precision, parsePrecision, relayoutOf } from "./precision.js";
export { saturateInfinity } from "./saturate.js";
export { asWords } from "./words.js";

const runs: Readonly<Record<PassName, Pass>> = {
  bind,
  infer: (graph, { operators }) => operators.inferTypes(graph),
  quantised: scalesBehind,
  fold,
  doubles: narrowDoubles,
  clean,
  decompose,
  layout: cancelTransposes,
  simplify,
  absorb,
  merge: clean,
  fuse,
};

/** The passes in their order. `--print-ir-after normalise:NAME` shows what one made. */
export const passes: readonly { readonly name: PassName; readonly run: Pass }[] = passNames.map((name) => ({ name, run: runs[name] }));

/**
 * The imported graph, ready for the check. Afterwards the inputs' types are static, and every other value's, save what follows
 * from a shape that depends on data. Inputs and outputs keep their names. Throws UserError for faults in the model or the flags.
 */
export async function normalise(graph: Graph, options: NormaliseOptions): Promise<Graph> {
  let current = graph;
  for (const { name, run } of passes) {
    current = await run(current, options);
    options.observe?.(name, current);
  }
  return current;
}
