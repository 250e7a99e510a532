/**
 * Matmul with one operand packed in panels, [16 panel lanes][k][16], and the other's positions, the columns, reached through tables of byte
 * offsets. A record is a chain of matmuls (links) into one PSUM access; sums stay in registers from link to link, which gives the bits of one
 * matmul after the other, since each goes on from the sum before it. `straight`: panel lanes are the lanes of `out`, columns its free positions; `turned`: the
 * other way round, for a constant moving operand. Which operand is packed changes no bit: a product is the same either way round.
 */
import {
  add,
  type FunctionBuilder,
  i32,
  type Local,
  loadI32,
  loadLane,
  loadSplat,
  loadVector,
  type ModuleBuilder,
  multiply,
  scalar,
  vector,
} from "../emitter.js";
import { groupLanes, kernelParameters, kernelType } from "./common.js";

/** One panel holds the lanes of a group, so that threads that share lanes share out panels. */
export const panelLanes = groupLanes;
const panelRowBytes = panelLanes * 4;
const vectors = Array.from({ length: panelLanes / 4 }, (_, index) => index);

/** Columns that the kernel multiplies at once: 2 x 16 sums take 8 registers, which V8 keeps there. */
export const tileColumns = 2;

export type Orientation = "straight" | "turned";

/** Words of the record's arguments. `outTable` has an entry for each column (straight) or panel lane (turned). */
export const matmulArguments = { lanes: 0, columnBytes: 1, outBase: 2, outTable: 3, accumulate: 4, links: 5, firstLink: 6 } as const;
/** Words of a link, from its start. */
export const linkArguments = { panels: 0, panelBytes: 1, rowBytes: 2, columnBase: 3, columnTable: 4, words: 5 } as const;

/** Parameters of a tile: the record, the panel, the byte offset of its first column in tables, lanes left from the panel on. */
interface Tile {
  readonly record: Local<"i32">;
  readonly panel: Local<"i32">;
  readonly column: Local<"i32">;
  readonly lanes: Local<"i32">;
  /** Not all of the panel's lanes are there. */
  readonly masked: boolean;
  /** By column, then vector of the panel. */
  readonly sums: readonly (readonly Local<"v128">[])[];
}

/** How a tile's sums come from PSUM and go there. */
interface Outputs {
  load(): void;
  store(): void;
}

function straightOutputs(f: FunctionBuilder, { record, panel, column, lanes, masked, sums }: Tile): Outputs {
  const base = f.let(add(loadI32(record, matmulArguments.outBase * 4), multiply(panel, panelRowBytes)));
  const table = f.let(add(loadI32(record, matmulArguments.outTable * 4), column));
  const out = sums.map((_, index) => f.let(add(base, loadI32(table, index * 4))));
  const storeMasked = (address: Local<"i32">, sum: Local<"v128">, v: number) => {
    const left = f.let(add(lanes, -4 * v));
    f.if(
      scalar("i32.ge_s", left, i32(4)),
      () => f.storeVector(address, sum, v * 16),
      () => f.if(scalar("i32.gt_s", left, i32(0)), () => f.storePartial(f.let(add(address, v * 16)), sum, left)),
    );
  };
  const each = (visit: (address: Local<"i32">, sum: Local<"v128">, v: number) => void) => {
    for (const [c, vector] of sums.entries()) for (const [v, sum] of vector.entries()) visit(out[c], sum, v);
  };
  return {
    load: () => each((address, sum, v) => f.set(sum, loadVector(address, v * 16))),
    store: () => each(masked ? storeMasked : (address, sum, v) => f.storeVector(address, sum, v * 16)),
  };
}

function turnedOutputs(f: FunctionBuilder, { record, panel, column, lanes, masked, sums }: Tile): Outputs {
  const base = f.let(add(loadI32(record, matmulArguments.outBase * 4), column));
  const table = f.let(add(loadI32(record, matmulArguments.outTable * 4), multiply(panel, panelRowBytes)));
  const address = f.local("i32");
  const each = (visit: (sum: Local<"v128">, lane: number, offset: number) => void) => {
    for (let lane = 0; lane < panelLanes; lane++) {
      const all = () => {
        f.set(address, add(base, loadI32(table, lane * 4)));
        for (const [c, vector] of sums.entries()) visit(vector[Math.floor(lane / 4)], lane % 4, c * 4);
      };
      if (masked) f.if(scalar("i32.gt_s", lanes, i32(lane)), all);
      else all();
    }
  };
  return {
    load: () => each((sum, lane, offset) => f.set(sum, loadLane(sum, address, lane, offset))),
    store: () => each((sum, lane, offset) => f.storeLane(address, sum, lane, offset)),
  };
}

/** Emits `columns` x 16 outputs: (record, panel, column, lanes) as `Tile` has them. */
function tile(module: ModuleBuilder, orientation: Orientation, columns: number, masked: boolean): FunctionBuilder {
  return module.once(`tile ${orientation} ${columns} ${masked}`, { parameters: ["i32", "i32", "i32", "i32"] }, (f) => {
    const [record, panel, column, lanes] = [0, 1, 2, 3].map((index) => f.parameter(index, "i32"));
    const each = Array.from({ length: columns }, (_, index) => index);
    const sums = each.map(() => vectors.map(() => f.local("v128")));
    const outputs = (orientation === "straight" ? straightOutputs : turnedOutputs)(f, { record, panel, column, lanes, masked, sums });
    f.if(loadI32(record, matmulArguments.accumulate * 4), () => outputs.load());
    const links = f.let(loadI32(record, matmulArguments.links * 4));
    const link = f.let(add(record, matmulArguments.firstLink * 4));
    const argument = (index: number) => loadI32(link, index * 4);
    const [weights, end, splat] = [f.local("i32"), f.local("i32"), f.local("v128")];
    const held = vectors.map(() => f.local("v128"));
    const values = each.map(() => f.local("i32"));
    f.while(links, () => {
      f.set(weights, add(argument(linkArguments.panels), multiply(panel, argument(linkArguments.panelBytes))));
      f.set(end, add(weights, argument(linkArguments.rowBytes)));
      for (const c of each) {
        f.set(values[c], add(argument(linkArguments.columnBase), loadI32(add(argument(linkArguments.columnTable), column), c * 4)));
      }
      f.doWhile(() => {
        for (const v of vectors) f.set(held[v], loadVector(weights, v * 16));
        for (const c of each) {
          f.set(splat, loadSplat(values[c]));
          for (const v of vectors) f.set(sums[c][v], vector("f32x4.add", sums[c][v], vector("f32x4.mul", splat, held[v])));
        }
        for (const c of each) f.set(values[c], add(values[c], 4));
        f.set(weights, add(weights, panelRowBytes));
        return scalar("i32.lt_u", weights, end);
      });
      f.set(link, add(link, linkArguments.words * 4));
      f.set(links, add(links, -1));
    });
    outputs.store();
  });
}

/** The chained matmul kernel. */
export function emitMatmul(module: ModuleBuilder, orientation: Orientation): FunctionBuilder {
  return module.once(`matmul ${orientation}`, kernelType, (f) => {
    const p = kernelParameters(f);
    const lanes = f.let(loadI32(p.arguments, matmulArguments.lanes * 4));
    const columnBytes = f.let(loadI32(p.arguments, matmulArguments.columnBytes * 4));
    const panels = f.let(scalar("i32.div_u", add(lanes, panelLanes - 1), i32(panelLanes)));
    const [panel, column, rest] = [f.local("i32"), f.local("i32"), f.local("i32")];
    const columns = (masked: boolean) => {
      const multiplyTile = (count: number) => f.call(tile(module, orientation, count, masked), p.arguments, panel, column, rest);
      f.set(column, i32(0));
      f.while(scalar("i32.le_s", add(column, tileColumns * 4), columnBytes), () => {
        multiplyTile(tileColumns);
        f.set(column, add(column, tileColumns * 4));
      });
      for (let tail = 1; tail < tileColumns; tail++) {
        f.if(scalar("i32.eq", add(column, tail * 4), columnBytes), () => multiplyTile(tail));
      }
    };
    f.for(panel, p.thread, panels, p.threads, () => {
      f.set(rest, scalar("i32.sub", lanes, multiply(panel, panelLanes)));
      f.if(
        scalar("i32.ge_s", rest, i32(panelLanes)),
        () => columns(false),
        () => columns(true),
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
