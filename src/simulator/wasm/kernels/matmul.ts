/**
 * Matmul on packed stationary panels: [8 output lanes][k][8]. A record is a chain of matmuls (links) into one PSUM access; sums stay in
 * registers from link to link, which gives the bits of one matmul after the other, since each goes on from the sum before it.
 * Columns are reached through tables of byte offsets.
 */
import {
  add,
  type FunctionBuilder,
  i32,
  loadI32,
  loadSplat,
  loadVector,
  type ModuleBuilder,
  multiply,
  scalar,
  vector,
} from "../emitter.js";
import { groupLanes, kernelParameters, kernelType } from "./common.js";

export const panelLanes = 8;
const panelRowBytes = panelLanes * 4;

/** Words of the record's arguments. */
export const matmulArguments = { lanes: 0, columnBytes: 1, outBase: 2, outTable: 3, accumulate: 4, links: 5, firstLink: 6 } as const;
/** Words of a link, from its start. */
export const linkArguments = { panels: 0, panelBytes: 1, rowBytes: 2, movingBase: 3, movingTable: 4, words: 5 } as const;

/** Emits `columns` x 8 outputs: (arguments, panel, column offset in the tables, lanes to store of the panel). */
function tile(module: ModuleBuilder, columns: number, masked: boolean): FunctionBuilder {
  return module.once(`tile${columns}${masked}`, { parameters: ["i32", "i32", "i32", "i32"] }, (f) => {
    const record = f.parameter(0, "i32");
    const panel = f.parameter(1, "i32");
    const column = f.parameter(2, "i32");
    const lanes = f.parameter(3, "i32");
    const each = Array.from({ length: columns }, (_, index) => index);
    const outBase = f.let(add(loadI32(record, matmulArguments.outBase * 4), multiply(panel, panelRowBytes)));
    const outTable = f.let(add(loadI32(record, matmulArguments.outTable * 4), column));
    const out = each.map((index) => f.let(add(outBase, loadI32(outTable, index * 4))));
    const sums = each.map(() => [f.local("v128"), f.local("v128")] as const);
    f.if(loadI32(record, matmulArguments.accumulate * 4), () => {
      for (const index of each) for (const half of [0, 1]) f.set(sums[index][half], loadVector(out[index], half * 16));
    });
    const links = f.let(loadI32(record, matmulArguments.links * 4));
    const link = f.let(add(record, matmulArguments.firstLink * 4));
    const moving = each.map(() => f.local("i32"));
    const weights = f.local("i32");
    const end = f.local("i32");
    const splat = f.local("v128");
    const left = f.local("v128");
    const right = f.local("v128");
    const multiplyStep = () => {
      f.set(left, loadVector(weights));
      f.set(right, loadVector(weights, 16));
      for (const index of each) {
        f.set(splat, loadSplat(moving[index]));
        f.set(sums[index][0], vector("f32x4.add", sums[index][0], vector("f32x4.mul", splat, left)));
        f.set(sums[index][1], vector("f32x4.add", sums[index][1], vector("f32x4.mul", splat, right)));
      }
    };
    f.while(links, () => {
      f.set(weights, add(loadI32(link, linkArguments.panels * 4), multiply(panel, loadI32(link, linkArguments.panelBytes * 4))));
      f.set(end, add(weights, loadI32(link, linkArguments.rowBytes * 4)));
      for (const index of each) {
        f.set(
          moving[index],
          add(loadI32(link, linkArguments.movingBase * 4), loadI32(add(loadI32(link, linkArguments.movingTable * 4), column), index * 4)),
        );
      }
      f.doWhile(() => {
        multiplyStep();
        for (const index of each) f.set(moving[index], add(moving[index], 4));
        f.set(weights, add(weights, panelRowBytes));
        return scalar("i32.lt_u", weights, end);
      });
      f.set(link, add(link, linkArguments.words * 4));
      f.set(links, add(links, -1));
    });
    for (const index of each) {
      if (!masked) {
        for (const half of [0, 1]) f.storeVector(out[index], sums[index][half], half * 16);
        continue;
      }
      f.if(
        scalar("i32.ge_s", lanes, i32(4)),
        () => {
          f.storeVector(out[index], sums[index][0]);
          f.if(scalar("i32.gt_s", lanes, i32(4)), () => f.storePartial(add(out[index], 16), sums[index][1], add(lanes, -4)));
        },
        () => f.storePartial(out[index], sums[index][0], lanes),
      );
    }
  });
}

/** Columns that the kernel multiplies at once. */
export const tileColumns = 4;

/** The chained matmul kernel. */
export function emitMatmul(module: ModuleBuilder): FunctionBuilder {
  return module.once("matmul", kernelType, (f) => {
    const p = kernelParameters(f);
    const lanes = f.let(loadI32(p.arguments, matmulArguments.lanes * 4));
    const columnBytes = f.let(loadI32(p.arguments, matmulArguments.columnBytes * 4));
    const panelsPerGroup = groupLanes / panelLanes;
    const panel = f.let(multiply(p.thread, panelsPerGroup));
    const column = f.local("i32");
    const rest = f.local("i32");
    const columns = (masked: boolean) => {
      f.set(column, i32(0));
      f.while(scalar("i32.le_s", add(column, tileColumns * 4), columnBytes), () => {
        f.call(tile(module, tileColumns, masked), p.arguments, panel, column, rest);
        f.set(column, add(column, tileColumns * 4));
      });
      for (let tail = 1; tail < tileColumns; tail++) {
        f.if(scalar("i32.eq", add(column, tail * 4), columnBytes), () =>
          f.call(tile(module, tail, masked), p.arguments, panel, column, rest),
        );
      }
    };
    f.while(scalar("i32.lt_s", multiply(panel, panelLanes), lanes), () => {
      f.set(rest, scalar("i32.sub", lanes, multiply(panel, panelLanes)));
      f.if(
        scalar("i32.ge_s", rest, i32(panelLanes)),
        () => columns(false),
        () => columns(true),
      );
      f.set(panel, add(panel, 1));
      f.if(scalar("i32.eqz", scalar("i32.and", panel, i32(panelsPerGroup - 1))), () =>
        f.set(panel, add(panel, multiply(add(p.threads, -1), panelsPerGroup))),
      );
    });
  });
}

/** Words of a packing record: copies stationary[k, m] from SBUF into panels. */
export const packArguments = { lanes: 0, rows: 1, base: 2, table: 3, panels: 4, panelBytes: 5 } as const;

/** Packs a stationary operand that is not constant. Each thread packs the panels that it will multiply with. */
export function emitPack(module: ModuleBuilder): FunctionBuilder {
  return module.once("pack", kernelType, (f) => {
    const p = kernelParameters(f);
    const argument = (index: number) => f.let(loadI32(p.arguments, index * 4));
    const lanes = argument(packArguments.lanes);
    const rows = argument(packArguments.rows);
    const base = argument(packArguments.base);
    const table = argument(packArguments.table);
    const panels = argument(packArguments.panels);
    const panelBytes = argument(packArguments.panelBytes);
    const lane = f.local("i32");
    const row = f.local("i32");
    const from = f.local("i32");
    const to = f.local("i32");
    f.for(lane, 0, lanes, 1, () => {
      const group = scalar("i32.rem_u", scalar("i32.div_u", lane, i32(groupLanes)), p.threads);
      f.if(scalar("i32.eq", group, p.thread), () => {
        f.set(from, add(base, loadI32(add(table, multiply(lane, 4)))));
        const panel = add(panels, multiply(scalar("i32.div_u", lane, i32(panelLanes)), panelBytes));
        f.set(to, add(panel, multiply(scalar("i32.and", lane, i32(panelLanes - 1)), 4)));
        f.for(row, 0, rows, 1, () => {
          f.storeI32(to, loadI32(from));
          f.set(from, add(from, 4));
          f.set(to, add(to, panelRowBytes));
        });
      });
    });
  });
}
