/**
 * Panels: an operand of a matmul as rows of 12 or 16 lanes, one row for each k. Before a thread multiplies with a panel, it writes it to scratch
 * memory of its own, which stays in the cache: from a constant, which memory holds in 16 bits, or from SBUF.
 */
import {
  add,
  bitselect,
  type FunctionBuilder,
  f32x4,
  i32,
  i32x4,
  type Local,
  loadI32,
  loadVector,
  multiply,
  scalar,
  select,
  shared,
  type V128,
  vector,
} from "../emitter.js";
import { groupLanes, turn } from "./common.js";

/**
 * Lanes of an operand's panels. 16 are a group, so that threads that share lanes share out panels. With 12 the kernel keeps nine sums in registers, which
 * is what it takes to keep fused multiply-adds busy; up to 4 lanes that are left over make the last panel one of 16.
 */
export type PanelLanes = 12 | typeof groupLanes;

export function panelCount(lanes: number, width: PanelLanes): number {
  return width === groupLanes ? Math.ceil(lanes / width) : Math.max(1, Math.ceil((lanes - (groupLanes - width)) / width));
}

/** Lanes of the last panel's rows. */
export function lastPanelLanes(lanes: number, width: PanelLanes): PanelLanes {
  return lanes - (panelCount(lanes, width) - 1) * width > width ? groupLanes : width;
}

/** Bytes from one panel of a constant to the next. */
export const packedBytes = (rows: number, width: PanelLanes) => Math.ceil((rows * width) / 8) * 16;

/** Where a constant's elements, counted along its rows, lie in half words: of each 8, four are the low halves of a vector's words, four the high halves. */
export const packedPosition = (index: number) => (index & ~7) + 2 * (index & 3) + ((index >> 2) & 1);

export type PanelSource = "sbuf" | "bfloat16" | "float16";

/** Words that say where a link's panels come from. `pitch`: bytes between a constant's panels; of SBUF, the table of the lanes' offsets. */
export const panelArguments = { source: 0, pitch: 1, rows: 2 } as const;

/** FP32 lanes of half words in the upper half of each word. */
function widen(f: FunctionBuilder, halves: V128, source: "bfloat16" | "float16"): V128 {
  if (source === "bfloat16") return halves;
  const value = f.let(halves);
  const size = f.let(vector("v128.and", value, i32x4(0x7fff0000)));
  const bits = f.let(vector("i32x4.shr_u", size, i32(3)));
  const special = vector("i32x4.ge_s", size, i32x4(0x7c000000));
  const number = bitselect(special, vector("v128.or", bits, i32x4(0x7f800000)), vector("f32x4.mul", bits, f32x4(2 ** 112)));
  return vector("v128.or", number, vector("v128.and", value, i32x4(0x80000000)));
}

/** Parameters of the loader: the link's words, the panel, its first lane, lanes left from there on, where its first row goes. */
interface Loader {
  readonly link: Local<"i32">;
  readonly panel: Local<"i32">;
  readonly lane: Local<"i32">;
  readonly lanes: Local<"i32">;
  readonly to: Local<"i32">;
  readonly width: PanelLanes;
}

/** May write up to four elements more than the panel has. */
function loadConstant(f: FunctionBuilder, { link, panel, to, width }: Loader, source: "bfloat16" | "float16"): void {
  const argument = (index: number) => loadI32(link, index * 4);
  const from = f.let(add(argument(panelArguments.source), multiply(panel, argument(panelArguments.pitch))));
  const end = f.let(add(from, multiply(argument(panelArguments.rows), width * 2)));
  const halves = f.local("v128");
  f.doWhile(() => {
    f.set(halves, loadVector(from));
    f.storeVector(to, widen(f, vector("i32x4.shl", halves, i32(16)), source));
    f.storeVector(to, widen(f, vector("v128.and", halves, i32x4(0xffff0000)), source), 16);
    f.set(from, add(from, 16));
    f.set(to, add(to, 32));
    return scalar("i32.lt_u", from, end);
  });
}

/** Lanes past the last one repeat it. */
function loadSbuf(f: FunctionBuilder, { link, lane, lanes, to, width }: Loader): void {
  const argument = (index: number) => f.let(loadI32(link, index * 4));
  const [base, table, rows] = [panelArguments.source, panelArguments.pitch, panelArguments.rows].map(argument);
  const rowBytes = width * 4;
  const fullRows = f.let(scalar("i32.and", rows, i32(-4)));
  const first = f.let(add(table, multiply(lane, 4)));
  const [quad, row, at] = [f.local("i32"), f.local("i32"), f.local("i32")];
  const from = [0, 1, 2, 3].map(() => f.local("i32"));
  f.for(quad, 0, i32(width), 4, () => {
    for (const [index, address] of from.entries()) {
      const own = f.let(add(quad, index));
      const inside = select(scalar("i32.lt_s", own, lanes), own, add(lanes, -1));
      f.set(address, add(base, loadI32(add(first, multiply(inside, 4)))));
    }
    f.set(at, add(to, multiply(quad, 4)));
    f.for(row, 0, fullRows, 4, () => {
      const turned = turn(
        f,
        from.map((address) => f.let(loadVector(address))),
      );
      for (const [index, values] of turned.entries()) f.storeVector(at, values, index * rowBytes);
      f.set(at, add(at, 4 * rowBytes));
      for (const address of from) f.set(address, add(address, 16));
    });
    f.for(row, fullRows, rows, 1, () => {
      for (const [index, address] of from.entries()) {
        f.storeI32(at, loadI32(address), index * 4);
        f.set(address, add(address, 4));
      }
      f.set(at, add(at, rowBytes));
    });
  });
}

/** Writes the rows of one panel of a link: (link, panel, lane, lanes, to) as `Loader` has them. */
export function emitLoadPanel(source: PanelSource, width: PanelLanes): FunctionBuilder {
  return shared(`panel ${source} ${width}`, { parameters: ["i32", "i32", "i32", "i32", "i32"] }, (f) => {
    const [link, panel, lane, lanes, to] = [0, 1, 2, 3, 4].map((index) => f.parameter(index, "i32"));
    const loader = { link, panel, lane, lanes, to, width };
    if (source === "sbuf") loadSbuf(f, loader);
    else loadConstant(f, loader, source);
  });
}
