/** Elementwise operators. */
import type { Node } from "../graph/graph.js";
import type { Lowering } from "../operators/record.js";
import { type Context, mainUse, writeBox } from "./context.js";
import { tileBoxes, withAxis } from "./view.js";

/** Elements a partition at a time. */
const CHUNK = 2048;

/** An elementwise operator, over boxes of the output. */
export function lowerPointwise(context: Context, node: Node, lowering: Extract<Lowering, { kind: "pointwise" }>): void {
  const out = context.values.value(node.outputs[0]);
  const main = lowering.formula(mainUse(context, node));
  const free = out.shape.filter((_, axis) => axis !== out.axis);
  for (const tile of context.values.tiles(out)) {
    for (const chunk of tileBoxes(free, Math.min(CHUNK, context.pieceElements))) {
      const box = withAxis(chunk, out.axis);
      writeBox(context, node, { main }, out.axis, tile.start, tile.count, box);
    }
    context.values.forgetFetched();
  }
}
