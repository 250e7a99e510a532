/** Convolutions, as sums over taps of matmuls on shifted windows of the input. */
import type { Node } from "../graph/graph.js";
import type { Lowering } from "../operators/record.js";
import { type Context, mainUse } from "./context.js";
import { lowerGrid, weightSource } from "./contraction.js";
import { lowerDepthwise } from "./depthwise.js";
import { convolutionGrid } from "./grid.js";
import { lowerPackedConvolution, packsRows } from "./packed.js";
import { lowerTransposed } from "./transposed.js";

export function lowerConvolution(context: Context, node: Node, lowering: Extract<Lowering, { kind: "convolution" }>): void {
  const geometry = lowering.geometry(mainUse(context, node));
  const weights = context.graph.constants.get(node.inputs[1]);
  if (!weights) throw new Error(`${node.name}: weights are not constant`);
  if (lowering.transposed) return lowerTransposed(context, node, geometry, weights);
  const x = context.values.value(node.inputs[0]);
  const out = context.values.value(node.outputs[0]);
  const outputs = out.shape[1];
  const grid = convolutionGrid(geometry, out.shape.slice(2), x.shape.slice(2));
  if (geometry.groups === x.shape[1] && outputs === x.shape[1]) return lowerDepthwise(context, node, grid, weights);
  if (packsRows(geometry, x.shape) && !context.values.isOnChip(x, 1)) return lowerPackedConvolution(context, node, geometry, grid, weights);
  lowerGrid({ context, node, x, grid, source: weightSource(weights, x, geometry, grid, outputs, false) });
}
