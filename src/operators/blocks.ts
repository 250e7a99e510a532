/** Blocks of pixels and channels, moved into each other. */
import { type Dim, intAttribute, stringAttribute } from "../graph/graph.js";
import { type MovementForm, movementRecord, typed } from "./movement.js";
import { transposed } from "./pieces.js";
import type { Movement, OperatorRecord, OperatorUse } from "./record.js";
import {
  attributeFault,
  extent,
  inputFault,
  int,
  productOf,
  required,
  requireRank,
  requireWord,
  type Shape,
  shapeOf,
  staticShape,
  text,
} from "./shapes.js";

function blockSize(use: OperatorUse): number {
  requireRank(use, 0, 4, 4);
  const block = intAttribute(use.attributes, "blocksize", 0);
  if (!Number.isInteger(block) || block < 1 || block > 2 ** 20) throw attributeFault(use, "blocksize", block, "use 1 or more");
  return block;
}

function divided(use: OperatorUse, dim: Dim, divisor: number, axis: number): Dim {
  return extent([dim], ([size]) => {
    if (size % divisor !== 0) throw inputFault(use, 0, `of an extent on axis ${axis} that ${divisor} divides`);
    return size / divisor;
  });
}

/** Whether channels count by the place in the block first (depth-column-row), or last. */
const blockOrders = ["DCR", "CRD"];

function depthToSpaceShape(use: OperatorUse): Shape | undefined {
  const block = blockSize(use);
  requireWord(use, "mode", blockOrders);
  const input = shapeOf(use, 0);
  return input && [input[0], divided(use, input[1], block * block, 1), productOf([input[2], block]), productOf([input[3], block])];
}

function spaceToDepthShape(use: OperatorUse): Shape | undefined {
  const block = blockSize(use);
  requireWord(use, "mode", blockOrders);
  const input = shapeOf(use, 0);
  return input && [input[0], productOf([input[1], block * block]), divided(use, input[2], block, 2), divided(use, input[3], block, 3)];
}

function depthToSpaceMovements(use: OperatorUse): Movement[] {
  const block = blockSize(use);
  const [batch, channels, height, width] = staticShape(use, 0);
  const depth = channels / (block * block);
  const piece =
    stringAttribute(use.attributes, "mode", "DCR") === "DCR"
      ? transposed(0, [batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2])
      : transposed(0, [batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3]);
  return [{ output: 0, pieces: [piece] }];
}

function spaceToDepthMovements(use: OperatorUse): Movement[] {
  const block = blockSize(use);
  const [batch, channels, height, width] = staticShape(use, 0);
  const order = stringAttribute(use.attributes, "mode", "DCR") === "DCR" ? [0, 3, 5, 1, 2, 4] : [0, 1, 3, 5, 2, 4];
  const piece = transposed(0, [batch, channels, height / block, block, width / block, block], order);
  return [{ output: 0, pieces: [piece] }];
}

const forms: readonly MovementForm[] = [
  {
    name: "DepthToSpace",
    since: 13,
    inputs: [1, 1],
    attributes: { blocksize: required(int()), mode: text("DCR") },
    summary: "blocks of channels as pixels",
    infer: (use) => typed(use, depthToSpaceShape(use)),
    items: "by axis",
    movements: depthToSpaceMovements,
  },
  {
    name: "SpaceToDepth",
    since: 13,
    inputs: [1, 1],
    attributes: { blocksize: required(int()), mode: text("DCR") },
    summary: "blocks of pixels as channels",
    infer: (use) => typed(use, spaceToDepthShape(use)),
    items: "by axis",
    movements: spaceToDepthMovements,
  },
];

export const blockRecords: readonly OperatorRecord[] = forms.map(movementRecord);
