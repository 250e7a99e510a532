/** Reduction over the last free positions, one after the other in ascending order, starting from the first. */
import type { DeviceType, ReduceOp } from "../../../program/program.js";
import { binary } from "../alu.js";
import { convert, type LaneClass } from "../dtype.js";
import { add, type FunctionBuilder, i32, type Local, loadI32, loadVector, scalar, shared } from "../emitter.js";
import { forLanes, groupBytes, kernelParameters, kernelType, vectorBytes } from "./common.js";

export const reduceArguments = {
  tableBytes: 0,
  laneBytes: 1,
  tailLanes: 2,
  outBase: 3,
  outTable: 4,
  inBase: 5,
  inTable: 6,
  stepTable: 7,
  stepBytes: 8,
} as const;

export function emitReduce(op: ReduceOp, from: LaneClass, out: DeviceType): FunctionBuilder {
  return shared(`reduce ${op} ${from} ${out}`, kernelType, (f) => {
    const p = kernelParameters(f);
    const argument = (index: number) => f.let(loadI32(p.arguments, index * 4));
    const tableBytes = argument(reduceArguments.tableBytes);
    const laneBytes = argument(reduceArguments.laneBytes);
    const tailLanes = argument(reduceArguments.tailLanes);
    const outBase = argument(reduceArguments.outBase);
    const outTable = argument(reduceArguments.outTable);
    const inBase = argument(reduceArguments.inBase);
    const inTable = argument(reduceArguments.inTable);
    const stepTable = argument(reduceArguments.stepTable);
    const stepBytes = argument(reduceArguments.stepBytes);
    const tailMine = f.let(
      scalar(
        "i32.and",
        scalar("i32.ne", tailLanes, i32(0)),
        scalar("i32.eq", scalar("i32.rem_u", scalar("i32.div_u", laneBytes, i32(groupBytes)), p.threads), p.thread),
      ),
    );
    const step = f.local("i32");
    const sums = Array.from({ length: groupBytes / vectorBytes }, () => f.local("v128"));
    const inAddress = f.local("i32");
    const outAddress = f.local("i32");
    /** Of so many vectors that follow each other: none waits for another's sum. */
    const reduceVectors = (lane: Local<"i32">, count: number) => {
      const own = sums.slice(0, count);
      const start = f.let(add(inAddress, lane));
      const first = f.let(add(start, loadI32(stepTable)));
      for (const [index, sum] of own.entries()) f.set(sum, loadVector(first, index * vectorBytes));
      f.for(step, i32(4), stepBytes, 4, () => {
        const next = f.let(add(start, loadI32(add(stepTable, step))));
        for (const [index, sum] of own.entries()) f.set(sum, binary(f, op, from, sum, loadVector(next, index * vectorBytes)));
      });
      return own.map((sum) => convert(f, sum, from, out));
    };
    const position = f.local("i32");
    const lane = f.local("i32");
    f.for(position, 0, tableBytes, 4, () => {
      f.set(outAddress, add(outBase, loadI32(add(outTable, position))));
      f.set(inAddress, add(inBase, loadI32(add(inTable, position))));
      forLanes(f, p, lane, laneBytes, true, (vectors) => {
        const start = f.let(add(outAddress, lane));
        for (const [index, value] of reduceVectors(lane, vectors).entries()) f.storeVector(start, value, index * vectorBytes);
      });
      f.if(tailMine, () => f.storePartial(add(outAddress, laneBytes), f.let(reduceVectors(laneBytes, 1)[0]), tailLanes));
    });
  });
}
