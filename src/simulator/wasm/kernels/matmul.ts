/**
 * Matmul with one operand in panels (`panels.ts`) and the other's positions, the columns, reached through tables of byte offsets. A record is a chain
 * of matmuls (links) into one PSUM access; sums stay in registers from link to link, which gives the bits of one
 * matmul after the other, since each goes on from the sum before it. `straight`: panel lanes are the lanes of `out`, columns its free positions; `turned`: the
 * other way round, for a constant moving operand. Which operand is in panels changes no bit: a product is the same either way round.
 */

import { hardware } from "../../../hardware/hardware.js";
import {
  add,
  type FunctionBuilder,
  i32,
  type Local,
  loadI32,
  loadLane,
  loadSplat,
  loadVector,
  multiply,
  scalar,
  shared,
  type V128,
  vector,
} from "../emitter.js";
import { groupLanes, kernelParameters, kernelType } from "./common.js";
import { emitLoadPanel, type PanelLanes, type PanelSource, panelArguments } from "./panels.js";
import { isExact, spanPitch } from "./span.js";

/** Columns that the kernel multiplies at once: as many as V8 keeps the sums of in registers. */
const tileColumns: Readonly<Record<PanelLanes, number>> = { 12: 3, 16: 2 };

export type Orientation = "straight" | "turned";

/** One way to compute: which operand is in panels, how wide, where they come from, and whether to use fused multiply-add where that changes no bit. */
export interface MatmulForm {
  readonly orientation: Orientation;
  readonly width: PanelLanes;
  readonly source: PanelSource;
  readonly fused: boolean;
}

/**
 * Words of the record's arguments. `outTable` has an entry for each column (straight) or panel lane (turned). `scratch`: of thread 0; the next
 * thread's is `scratchBytes` further.
 */
export const matmulArguments = {
  lanes: 0,
  columnBytes: 1,
  outBase: 2,
  outTable: 3,
  accumulate: 4,
  links: 5,
  scratch: 6,
  panels: 7,
  firstLink: 8,
} as const;
/** Words of a link, from its start: those of its panels, then these. Spans: of thread 0. */
export const linkArguments = { ...panelArguments, columnBase: 3, columnTable: 4, panelSpan: 5, columnSpan: 6, words: 7 } as const;

/** Links of a chain; more go on from PSUM. */
export const maximumLinks = 32;
/** Scratch memory of a thread: a panel of each link. */
export const scratchBytes = maximumLinks * hardware.sbufPartitions * groupLanes * 4 + 64;

/** Parameters of a tile: the record, the panel's first lane, the byte offset of its first column in tables, lanes left from the panel on. */
interface Tile {
  readonly record: Local<"i32">;
  readonly lane: Local<"i32">;
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

function straightOutputs(f: FunctionBuilder, { record, lane, column, lanes, masked, sums }: Tile): Outputs {
  const base = f.let(add(loadI32(record, matmulArguments.outBase * 4), multiply(lane, 4)));
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

function turnedOutputs(f: FunctionBuilder, { record, lane, column, lanes, masked, sums }: Tile): Outputs {
  const base = f.let(add(loadI32(record, matmulArguments.outBase * 4), column));
  const table = f.let(add(loadI32(record, matmulArguments.outTable * 4), multiply(lane, 4)));
  const address = f.local("i32");
  const each = (visit: (sum: Local<"v128">, lane: number, offset: number) => void) => {
    for (let index = 0; index < 4 * sums[0].length; index++) {
      const all = () => {
        f.set(address, add(base, loadI32(table, index * 4)));
        for (const [c, vector] of sums.entries()) visit(vector[Math.floor(index / 4)], index % 4, c * 4);
      };
      if (masked) f.if(scalar("i32.gt_s", lanes, i32(index)), all);
      else all();
    }
  };
  return {
    load: () => each((sum, lane, offset) => f.set(sum, loadLane(sum, address, lane, offset))),
    store: () => each((sum, lane, offset) => f.storeLane(address, sum, lane, offset)),
  };
}

interface TileForm {
  readonly orientation: Orientation;
  readonly fused: boolean;
  readonly columns: number;
  readonly width: PanelLanes;
  readonly masked: boolean;
}

/** Emits `columns` x `width` outputs: (record, lane, column, lanes) as `Tile` has them, and the panel's rows in scratch memory. */
function tile({ orientation, fused, columns, width, masked }: TileForm): FunctionBuilder {
  const name = `tile ${orientation} ${fused} ${columns} ${width} ${masked}`;
  return shared(name, { parameters: ["i32", "i32", "i32", "i32", "i32"] }, (f) => {
    const [record, lane, column, lanes, scratch] = [0, 1, 2, 3, 4].map((index) => f.parameter(index, "i32"));
    const each = Array.from({ length: columns }, (_, index) => index);
    const vectors = Array.from({ length: width / 4 }, (_, index) => index);
    const sums = each.map(() => vectors.map(() => f.local("v128")));
    const outputs = (orientation === "straight" ? straightOutputs : turnedOutputs)(f, { record, lane, column, lanes, masked, sums });
    f.if(loadI32(record, matmulArguments.accumulate * 4), () => outputs.load());
    const links = f.let(loadI32(record, matmulArguments.links * 4));
    const link = f.let(add(record, matmulArguments.firstLink * 4));
    const argument = (index: number) => loadI32(link, index * 4);
    const [row, end, splat] = [f.let(scratch), f.local("i32"), f.local("v128")];
    const held = vectors.map(() => f.local("v128"));
    const values = each.map(() => f.local("i32"));
    const multiplyAdd = (a: V128, b: V128, sum: V128) =>
      fused ? vector("f32x4.relaxed_madd", a, b, sum) : vector("f32x4.add", sum, vector("f32x4.mul", a, b));
    f.while(links, () => {
      f.set(end, add(row, multiply(argument(linkArguments.rows), width * 4)));
      for (const c of each) {
        f.set(values[c], add(argument(linkArguments.columnBase), loadI32(add(argument(linkArguments.columnTable), column), c * 4)));
      }
      f.doWhile(() => {
        for (const v of vectors) f.set(held[v], loadVector(row, v * 16));
        for (const c of each) {
          f.set(splat, loadSplat(values[c]));
          for (const v of vectors) f.set(sums[c][v], multiplyAdd(splat, held[v], sums[c][v]));
        }
        for (const c of each) f.set(values[c], add(values[c], 4));
        f.set(row, add(row, width * 4));
        return scalar("i32.lt_u", row, end);
      });
      f.set(link, add(link, linkArguments.words * 4));
      f.set(links, add(links, -1));
    });
    outputs.store();
  });
}

/** The chained matmul kernel. */
export function emitMatmul({ orientation, width, source, fused }: MatmulForm): FunctionBuilder {
  return shared(`matmul ${orientation} ${width} ${source} ${fused}`, kernelType, (f) => {
    const p = kernelParameters(f);
    const argument = (index: number) => f.let(loadI32(p.arguments, index * 4));
    const lanes = argument(matmulArguments.lanes);
    const columnBytes = argument(matmulArguments.columnBytes);
    const panels = argument(matmulArguments.panels);
    const scratch = f.let(add(argument(matmulArguments.scratch), multiply(p.thread, scratchBytes)));
    const [panel, lane, rest, column, links, link, to] = Array.from({ length: 7 }, () => f.local("i32"));
    const eachLink = (body: () => void) => {
      f.set(links, loadI32(p.arguments, matmulArguments.links * 4));
      f.set(link, add(p.arguments, matmulArguments.firstLink * 4));
      f.while(links, () => {
        body();
        f.set(link, add(link, linkArguments.words * 4));
        f.set(links, add(links, -1));
      });
    };
    const columns = (form: Omit<TileForm, "columns">) => {
      const count = tileColumns[form.width];
      const multiplyTile = (own: number) => f.call(tile({ ...form, columns: own }), p.arguments, lane, column, rest, scratch);
      f.set(column, i32(0));
      f.while(scalar("i32.le_s", add(column, count * 4), columnBytes), () => {
        multiplyTile(count);
        f.set(column, add(column, count * 4));
      });
      for (let tail = 1; tail < count; tail++) {
        f.if(scalar("i32.eq", add(column, tail * 4), columnBytes), () => multiplyTile(tail));
      }
    };
    const exact = f.let(i32(1));
    if (fused) {
      eachLink(() => {
        const own = (index: number) => f.let(add(loadI32(link, index * 4), multiply(p.thread, spanPitch)));
        f.set(exact, scalar("i32.and", exact, isExact(own(linkArguments.panelSpan), own(linkArguments.columnSpan))));
      });
    }
    const multiplyPanel = (own: PanelLanes) => {
      f.set(to, scratch);
      eachLink(() => {
        f.call(emitLoadPanel(source, own), link, panel, lane, rest, to);
        f.set(to, add(to, multiply(loadI32(link, linkArguments.rows * 4), own * 4)));
      });
      const whole = (isFused: boolean) =>
        f.if(
          scalar("i32.ge_s", rest, i32(own)),
          () => columns({ orientation, fused: isFused, width: own, masked: false }),
          () => columns({ orientation, fused: isFused, width: own, masked: true }),
        );
      if (!fused) return whole(false);
      f.if(
        exact,
        () => whole(true),
        () => whole(false),
      );
    };
    f.for(panel, p.thread, panels, p.threads, () => {
      f.set(lane, multiply(panel, width));
      f.set(rest, scalar("i32.sub", lanes, lane));
      if (width === groupLanes) return multiplyPanel(width);
      const isWide = scalar("i32.and", scalar("i32.gt_s", rest, i32(width)), scalar("i32.le_s", rest, i32(groupLanes)));
      f.if(
        isWide,
        () => multiplyPanel(groupLanes),
        () => multiplyPanel(width),
      );
    });
  });
}
