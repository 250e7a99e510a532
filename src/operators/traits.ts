/** What each kind of lowering means to the passes before it. A new kind is a new row: the compiler asks for it. */
import { intAttribute, type Node } from "../graph/graph.js";
import { isFloat } from "../graph/tensor.js";
import type { Lowering } from "./record.js";
import { dtypeCode, dtypeCodes } from "./shapes.js";

/** How an operator reads an input: as a 16-bit operand of the tensor engine, as elements to be moved, or converted on the way in. */
export type InputReading = "matmult" | "moved" | "converted";

export interface LoweringTraits {
  reading(index: number): InputReading;
  /** Whether pointwise operators after it can run on its result before that is stored. */
  readonly carriesEpilogue: boolean;
}

const contraction: LoweringTraits = { reading: (index) => (index < 2 ? "matmult" : "converted"), carriesEpilogue: true };
const elementwise: LoweringTraits = { reading: () => "converted", carriesEpilogue: true };

export const loweringTraits: Readonly<Record<Lowering["kind"], LoweringTraits>> = {
  convolution: contraction,
  matmul: contraction,
  pointwise: elementwise,
  pool: elementwise,
  reduce: elementwise,
  softmax: { reading: () => "converted", carriesEpilogue: false },
  movement: { reading: () => "moved", carriesEpilogue: false },
};

/** Whether the node, or a step of its epilogue, makes integers of its running value: a float that it reads then decides which. */
export function makesIntegers(node: Node): boolean {
  return [node, ...(node.epilogue ?? [])].some(({ op, attributes }) => {
    return op === "Cast" && !isFloat(dtypeCodes[intAttribute(attributes, "to", dtypeCode("float32"))] ?? "float32");
  });
}
