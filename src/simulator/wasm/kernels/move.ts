/** Kernels that move 32-bit elements unchanged: DMA between any two strided places, and the tensor engine's transpose. */
import { add, type FunctionBuilder, type I32, i32, type Local, loadI32, loadVector, multiply, scalar, select, shared } from "../emitter.js";
import { groupLanes, kernelParameters, kernelType, turn } from "./common.js";

/**
 * A DMA is a table of (out offset, in offset) pairs, each the corner of a block of `rows` x `lanes` elements with a byte stride on each side.
 * `shareLanes`: threads share the lanes in groups of 16; otherwise they share the table's entries.
 */
export const moveArguments = {
  outBase: 0,
  inBase: 1,
  table: 2,
  tableBytes: 3,
  rows: 4,
  outRow: 5,
  inRow: 6,
  lanes: 7,
  outLane: 8,
  inLane: 9,
  shareLanes: 10,
} as const;

/**
 * How a block is copied. `rows`: lanes are adjacent on both sides. `scatter`: lanes adjacent in `out`, rows in `in` (DRAM planes to SBUF).
 * `gather`: the other way round. `elements`: any strides.
 */
export type MoveForm = "rows" | "scatter" | "gather" | "elements";

interface Block {
  readonly from: Local<"i32">;
  readonly to: Local<"i32">;
  readonly rows: I32;
  readonly outRow: I32;
  readonly inRow: I32;
  readonly outLane: I32;
  readonly inLane: I32;
}

/** Copies lanes [first, end) of the block. */
type CopyLanes = (f: FunctionBuilder, block: Block, first: Local<"i32">, end: Local<"i32">) => void;

const copyElements: CopyLanes = (f, block, first, end) => {
  const [lane, row, from, to] = [f.local("i32"), f.local("i32"), f.local("i32"), f.local("i32")];
  f.for(lane, first, end, 1, () => {
    f.set(from, add(block.from, scalar("i32.mul", lane, block.inLane)));
    f.set(to, add(block.to, scalar("i32.mul", lane, block.outLane)));
    f.for(row, 0, block.rows, 1, () => {
      f.storeI32(to, loadI32(from));
      f.set(from, add(from, block.inRow));
      f.set(to, add(to, block.outRow));
    });
  });
};

const copyRows: CopyLanes = (f, block, first, end) => {
  const [lane, row, from, to] = [f.local("i32"), f.local("i32"), f.local("i32"), f.local("i32")];
  const [fullEnd, lastEnd] = [f.let(multiply(scalar("i32.and", end, i32(-4)), 4)), f.let(multiply(end, 4))];
  f.set(from, block.from);
  f.set(to, block.to);
  f.for(row, 0, block.rows, 1, () => {
    f.set(lane, multiply(first, 4));
    f.while(scalar("i32.lt_s", lane, fullEnd), () => {
      f.storeVector(add(to, lane), loadVector(add(from, lane)));
      f.set(lane, add(lane, 16));
    });
    f.while(scalar("i32.lt_s", lane, lastEnd), () => {
      f.storeI32(add(to, lane), loadI32(add(from, lane)));
      f.set(lane, add(lane, 4));
    });
    f.set(from, add(from, block.inRow));
    f.set(to, add(to, block.outRow));
  });
};

/** Blocks of 4 x 4 turned in registers: on the one side lanes are adjacent, on the other rows. */
const copyTurned =
  (form: "scatter" | "gather"): CopyLanes =>
  (f, block, first, end) => {
    const lane = f.local("i32");
    const fullRows = f.let(scalar("i32.and", block.rows, i32(-4)));
    const fullEnd = f.let(add(first, scalar("i32.and", scalar("i32.sub", end, first), i32(-4))));
    const [row, from, to] = [f.local("i32"), f.local("i32"), f.local("i32")];
    const inStep = form === "scatter" ? block.inLane : block.inRow;
    const outStep = form === "scatter" ? block.outRow : block.outLane;
    const place = () => {
      f.set(from, add(block.from, add(scalar("i32.mul", lane, block.inLane), scalar("i32.mul", row, block.inRow))));
      f.set(to, add(block.to, add(scalar("i32.mul", lane, block.outLane), scalar("i32.mul", row, block.outRow))));
    };
    f.for(row, 0, fullRows, 4, () => {
      f.for(lane, first, fullEnd, 4, () => {
        place();
        const turned = turn(
          f,
          [0, 1, 2, 3].map((step) => f.let(loadVector(add(from, scalar("i32.mul", inStep, i32(step)))))),
        );
        for (const [step, value] of turned.entries()) f.storeVector(add(to, scalar("i32.mul", outStep, i32(step))), value);
      });
    });
    const single = () => {
      place();
      f.storeI32(to, loadI32(from));
    };
    f.for(row, 0, fullRows, 1, () => f.for(lane, fullEnd, end, 1, single));
    f.for(row, fullRows, block.rows, 1, () => f.for(lane, first, end, 1, single));
  };

const copyLanes: Readonly<Record<MoveForm, CopyLanes>> = {
  rows: copyRows,
  scatter: copyTurned("scatter"),
  gather: copyTurned("gather"),
  elements: copyElements,
};

export function emitMove(form: MoveForm): FunctionBuilder {
  return shared(`move ${form}`, kernelType, (f) => {
    const p = kernelParameters(f);
    const argument = (index: number) => f.let(loadI32(p.arguments, index * 4));
    const outBase = argument(moveArguments.outBase);
    const inBase = argument(moveArguments.inBase);
    const lanes = argument(moveArguments.lanes);
    const shareLanes = argument(moveArguments.shareLanes);
    const block: Block = {
      from: f.local("i32"),
      to: f.local("i32"),
      rows: argument(moveArguments.rows),
      outRow: argument(moveArguments.outRow),
      inRow: argument(moveArguments.inRow),
      outLane: argument(moveArguments.outLane),
      inLane: argument(moveArguments.inLane),
    };
    const table = argument(moveArguments.table);
    const tableEnd = f.let(add(table, argument(moveArguments.tableBytes)));
    const entry = f.let(add(table, 0));
    const entryStep = f.let(i32(8));
    const laneStep = f.let(add(lanes, 1));
    const [first, end] = [f.local("i32"), f.local("i32")];
    f.if(
      shareLanes,
      () => f.set(laneStep, i32(groupLanes)),
      () => {
        f.set(entry, add(table, multiply(p.thread, 8)));
        f.set(entryStep, multiply(p.threads, 8));
      },
    );
    f.while(scalar("i32.lt_u", entry, tableEnd), () => {
      f.set(block.to, add(outBase, loadI32(entry)));
      f.set(block.from, add(inBase, loadI32(entry, 4)));
      f.set(first, i32(0));
      f.if(shareLanes, () => f.set(first, multiply(p.thread, groupLanes)));
      f.while(scalar("i32.lt_s", first, lanes), () => {
        f.set(end, add(first, laneStep));
        f.if(scalar("i32.gt_s", end, lanes), () => f.set(end, lanes));
        copyLanes[form](f, block, first, end);
        f.set(first, add(first, scalar("i32.mul", laneStep, p.threads)));
      });
      f.set(entry, add(entry, entryStep));
    });
  });
}

export const transposeArguments = { lanes: 0, rows: 1, outBase: 2, outTable: 3, inBase: 4, inTable: 5 } as const;

/** out[lane n, position k] = in[lane k, position n]: lanes of `out` are shared. */
export function emitTranspose(): FunctionBuilder {
  return shared("transpose", kernelType, (f) => {
    const p = kernelParameters(f);
    const argument = (index: number) => f.let(loadI32(p.arguments, index * 4));
    const lanes = argument(transposeArguments.lanes);
    const rows = argument(transposeArguments.rows);
    const outBase = argument(transposeArguments.outBase);
    const outTable = argument(transposeArguments.outTable);
    const inBase = argument(transposeArguments.inBase);
    const inTable = argument(transposeArguments.inTable);
    const fullRows = f.let(scalar("i32.and", rows, i32(-4)));
    const [lane, row, to] = [f.local("i32"), f.local("i32"), f.local("i32")];
    const from = [0, 1, 2, 3].map(() => f.local("i32"));
    const outRow = (index: number) => add(to, loadI32(add(outTable, multiply(row, 4)), index * 4));
    /** Copies rows of so many lanes from `lane` on, four rows at a time where there are four lanes. */
    const copyLanes = (count: 1 | 4) => {
      const sources = from.slice(0, count);
      const table = f.let(add(inTable, multiply(lane, 4)));
      for (const [index, address] of sources.entries()) f.set(address, add(inBase, loadI32(table, index * 4)));
      f.set(to, add(outBase, multiply(lane, 4)));
      f.set(row, i32(0));
      if (count === 4) {
        f.for(row, 0, fullRows, 4, () => {
          const turned = turn(
            f,
            sources.map((address) => f.let(loadVector(add(address, multiply(row, 4))))),
          );
          for (const [index, values] of turned.entries()) f.storeVector(outRow(index), values);
        });
      }
      f.for(row, row, rows, 1, () => {
        for (const [index, address] of sources.entries()) f.storeI32(outRow(0), loadI32(add(address, multiply(row, 4))), index * 4);
      });
    };
    f.set(lane, i32(0));
    f.while(scalar("i32.lt_s", lane, lanes), () => {
      const group = scalar("i32.rem_u", scalar("i32.div_u", lane, i32(groupLanes)), p.threads);
      const count = f.let(select(scalar("i32.le_s", add(lane, 4), lanes), i32(4), i32(1)));
      f.if(scalar("i32.eq", group, p.thread), () =>
        f.if(
          scalar("i32.eq", count, i32(4)),
          () => copyLanes(4),
          () => copyLanes(1),
        ),
      );
      f.set(lane, add(lane, count));
    });
  });
}
