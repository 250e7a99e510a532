/**
 * Every operation that computes an output element from the same element of each input: one emitter, parameterised by the formula.
 * Each operand is a base address and a table of byte offsets, one a free position; lanes follow each other in memory. Scalar operands are rows of
 * lanes (an immediate is a row of equal lanes).
 */
import type { DeviceType } from "../../../program/program.js";
import { convert, type LaneClass } from "../dtype.js";
import { add, type FunctionBuilder, i32, type Local, loadI32, loadSplat, loadVector, scalar, shared, type V128 } from "../emitter.js";
import { forLanes, groupBytes, kernelParameters, kernelType, vectorBytes } from "./common.js";

export interface PointwiseFormula {
  /** Tells formulas apart: equal keys, equal kernels. */
  readonly key: string;
  readonly inputs: number;
  /** Inputs lie in one partition, whose elements every lane takes. */
  readonly isRepeated?: boolean;
  /** Takes so many instructions that its code is not to be repeated for the vectors of a group. */
  readonly isLong?: boolean;
  readonly scalars: number;
  readonly out: DeviceType;
  /** How the formula's value is to be read. */
  readonly result: LaneClass;
  value(f: FunctionBuilder, inputs: readonly V128[], scalars: readonly V128[]): V128;
}

/** Words of the arguments: these, then (base, table) of each input, then the row of each scalar. */
export const pointwiseArguments = { tableBytes: 0, laneBytes: 1, tailLanes: 2, outBase: 3, outTable: 4, operands: 5 } as const;

export function emitPointwise(formula: PointwiseFormula): FunctionBuilder {
  return shared(`pointwise ${formula.key}`, kernelType, (f) => {
    const p = kernelParameters(f);
    const argument = (index: number) => f.let(loadI32(p.arguments, index * 4));
    const tableBytes = argument(pointwiseArguments.tableBytes);
    const laneBytes = argument(pointwiseArguments.laneBytes);
    const tailLanes = argument(pointwiseArguments.tailLanes);
    const operand = (index: number) => ({ base: argument(index), table: argument(index + 1), address: f.local("i32") });
    const out = operand(pointwiseArguments.outBase);
    const inputs = Array.from({ length: formula.inputs }, (_, index) => operand(pointwiseArguments.operands + 2 * index));
    const scalars = Array.from({ length: formula.scalars }, (_, index) =>
      argument(pointwiseArguments.operands + 2 * formula.inputs + index),
    );
    const tailMine = f.let(
      scalar(
        "i32.and",
        scalar("i32.ne", tailLanes, i32(0)),
        scalar("i32.eq", scalar("i32.rem_u", scalar("i32.div_u", laneBytes, i32(groupBytes)), p.threads), p.thread),
      ),
    );
    const splats = inputs.map(() => f.local("v128"));
    /** Of the vector at `offset` bytes from the lane. */
    const value = (lane: Local<"i32">, offset: number) => {
      const operands = inputs.map((input, index) => (formula.isRepeated ? splats[index] : loadVector(add(input.address, lane), offset)));
      const rows = scalars.map((row) => loadVector(add(row, lane), offset));
      return convert(f, formula.value(f, operands, rows), formula.result, formula.out);
    };
    const position = f.local("i32");
    const lane = f.local("i32");
    f.for(position, 0, tableBytes, 4, () => {
      for (const each of [out, ...inputs]) f.set(each.address, add(each.base, loadI32(add(each.table, position))));
      if (formula.isRepeated) for (const [index, input] of inputs.entries()) f.set(splats[index], loadSplat(input.address));
      forLanes(f, p, lane, laneBytes, !formula.isLong, (vectors) => {
        for (let offset = 0; offset < vectors * vectorBytes; offset += vectorBytes) {
          f.storeVector(add(out.address, lane), value(lane, offset), offset);
        }
      });
      f.if(tailMine, () => f.storePartial(add(out.address, laneBytes), f.let(value(laneBytes, 0)), tailLanes));
    });
  });
}
