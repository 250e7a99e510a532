/**
 * Panels: an operand of a matmul as rows of 16 lanes, one row for each k. Before a thread multiplies with a panel, it writes it to scratch memory of its own, which
 * stays in the cache: from a constant, which memory holds in 16 bits, or from SBUF.
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
  type ModuleBuilder,
  multiply,
  scalar,
  select,
  type V128,
  vector,
} from "../emitter.js";
import { groupLanes, turn } from "./common.js";

/** One panel holds the lanes of a group, so that threads that share lanes share out panels. */
export const panelLanes = groupLanes;
export const panelRowBytes = panelLanes * 4;
/** Bytes of a constant's row. */
export const packedRowBytes = panelLanes * 2;

/** Where a lane's half word lies in a constant's row: the low halves of a vector's words are four lanes, the high halves the next four. */
export const packedPosition = (lane: number) => (lane & 8) + 2 * (lane & 3) + ((lane >> 2) & 1);

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

/** Parameters of the loader: the link's words, the panel, lanes left from the panel on, where its first row goes. */
interface Loader {
  readonly link: Local<"i32">;
  readonly panel: Local<"i32">;
  readonly lanes: Local<"i32">;
  readonly to: Local<"i32">;
}

function loadConstant(f: FunctionBuilder, { link, panel, to }: Loader, source: "bfloat16" | "float16"): void {
  const argument = (index: number) => loadI32(link, index * 4);
  const from = f.let(add(argument(panelArguments.source), multiply(panel, argument(panelArguments.pitch))));
  const end = f.let(add(from, multiply(argument(panelArguments.rows), packedRowBytes)));
  const halves = f.local("v128");
  f.doWhile(() => {
    for (const block of [0, 1]) {
      f.set(halves, loadVector(from, block * 16));
      f.storeVector(to, widen(f, vector("i32x4.shl", halves, i32(16)), source), block * 32);
      f.storeVector(to, widen(f, vector("v128.and", halves, i32x4(0xffff0000)), source), block * 32 + 16);
    }
    f.set(from, add(from, packedRowBytes));
    f.set(to, add(to, panelRowBytes));
    return scalar("i32.lt_u", from, end);
  });
}

/** Lanes past the last one repeat it. */
function loadSbuf(f: FunctionBuilder, { link, panel, lanes, to }: Loader): void {
  const argument = (index: number) => f.let(loadI32(link, index * 4));
  const [base, table, rows] = [panelArguments.source, panelArguments.pitch, panelArguments.rows].map(argument);
  const fullRows = f.let(scalar("i32.and", rows, i32(-4)));
  const first = f.let(add(table, multiply(panel, panelRowBytes)));
  const [lane, row, at] = [f.local("i32"), f.local("i32"), f.local("i32")];
  const from = [0, 1, 2, 3].map(() => f.local("i32"));
  f.for(lane, 0, i32(panelLanes), 4, () => {
    for (const [index, address] of from.entries()) {
      const own = f.let(add(lane, index));
      const inside = select(scalar("i32.lt_s", own, lanes), own, add(lanes, -1));
      f.set(address, add(base, loadI32(add(first, multiply(inside, 4)))));
    }
    f.set(at, add(to, multiply(lane, 4)));
    f.for(row, 0, fullRows, 4, () => {
      const turned = turn(
        f,
        from.map((address) => f.let(loadVector(address))),
      );
      for (const [index, values] of turned.entries()) f.storeVector(at, values, index * panelRowBytes);
      f.set(at, add(at, 4 * panelRowBytes));
      for (const address of from) f.set(address, add(address, 16));
    });
    f.for(row, fullRows, rows, 1, () => {
      for (const [index, address] of from.entries()) {
        f.storeI32(at, loadI32(address), index * 4);
        f.set(address, add(address, 4));
      }
      f.set(at, add(at, panelRowBytes));
    });
  });
}

/** Writes the rows of one panel of a link: (link, panel, lanes, to) as `Loader` has them. */
export function emitLoadPanel(module: ModuleBuilder, source: PanelSource): FunctionBuilder {
  return module.once(`panel ${source}`, { parameters: ["i32", "i32", "i32", "i32"] }, (f) => {
    const [link, panel, lanes, to] = [0, 1, 2, 3].map((index) => f.parameter(index, "i32"));
    if (source === "sbuf") loadSbuf(f, { link, panel, lanes, to });
    else loadConstant(f, { link, panel, lanes, to }, source);
  });
}
