/** A DMA as blocks of `wasm/kernels/move.ts`. */
import type { Dim, Place } from "./memory.js";
import type { MoveForm } from "./wasm/kernels/move.js";

/** One loop over both sides at once: byte strides. */
interface PairedDim {
  readonly size: number;
  readonly out: number;
  readonly in: number;
}

export interface Movement {
  readonly form: MoveForm;
  /** Threads share lanes; both sides keep a partition's elements with one thread. */
  readonly shareLanes: boolean;
  readonly rows: PairedDim;
  readonly lanes: PairedDim;
  /** Pairs (out offset, in offset) of the blocks. */
  readonly blocks: Int32Array;
}

const dimsOf = (place: Place): Dim[] => [{ size: place.lanes, stride: place.laneStride }, ...place.dims].filter((dim) => dim.size > 1);

/** The loops common to both sides, innermost first; undefined if their shapes have no common refinement. */
function pair(out: readonly Dim[], source: readonly Dim[]): PairedDim[] | undefined {
  const paired: PairedDim[] = [];
  const [outs, ins] = [[...out], [...source]];
  for (let a = outs.pop(), b = ins.pop(); a && b; ) {
    const size = Math.min(a.size, b.size);
    if (a.size % size || b.size % size) return undefined;
    paired.push({ size, out: a.stride, in: b.stride });
    const rest: (dim: Dim, stack: Dim[]) => Dim | undefined = (dim, stack) =>
      dim.size === size ? stack.pop() : { size: dim.size / size, stride: dim.stride * size };
    a = rest(a, outs);
    b = rest(b, ins);
  }
  return paired;
}

function merge(dims: readonly PairedDim[]): PairedDim[] {
  const merged: PairedDim[] = [];
  for (const dim of dims) {
    const last = merged.at(-1);
    if (last && dim.out === last.out * last.size && dim.in === last.in * last.size) {
      merged[merged.length - 1] = { size: last.size * dim.size, out: last.out, in: last.in };
    } else merged.push(dim);
  }
  return merged;
}

const unit: PairedDim = { size: 1, out: 0, in: 0 };
const adjacent = 4;

function blocksOf(dims: readonly PairedDim[]): Int32Array {
  let pairs: [number, number][] = [[0, 0]];
  for (const { size, out, in: source } of dims.toReversed()) {
    pairs = pairs.flatMap(([a, b]) => Array.from({ length: size }, (_, index): [number, number] => [a + index * out, b + index * source]));
  }
  return Int32Array.from(pairs.flat());
}

/** Takes the dimension that satisfies `test` out of `rest`; the largest such. */
function take(rest: PairedDim[], test: (dim: PairedDim) => boolean): PairedDim | undefined {
  const found = rest.filter(test).reduce<PairedDim | undefined>((best, dim) => (best && best.size >= dim.size ? best : dim), undefined);
  if (found) rest.splice(rest.indexOf(found), 1);
  return found;
}

/** The block's form: lanes, then rows, taken out of `rest`. */
function block(rest: PairedDim[], lanes: PairedDim): { form: MoveForm; rows: PairedDim } {
  const largest = () => take(rest, () => true) ?? unit;
  if (lanes.out === adjacent && lanes.in === adjacent) return { form: "rows", rows: largest() };
  const scatter = lanes.out === adjacent ? take(rest, (dim) => dim.in === adjacent) : undefined;
  if (scatter) return { form: "scatter", rows: scatter };
  const gather = lanes.in === adjacent ? take(rest, (dim) => dim.out === adjacent) : undefined;
  if (gather) return { form: "gather", rows: gather };
  return { form: "elements", rows: largest() };
}

function elementByElement(out: Place, source: Place): Movement {
  const offsets = (place: Place) => {
    const list = [0];
    return dimsOf(place).reduce<number[]>(
      (all, dim) => all.flatMap((at) => Array.from({ length: dim.size }, (_, i) => at + i * dim.stride)),
      list,
    );
  };
  const [to, from] = [offsets(out), offsets(source)];
  const blocks = Int32Array.from(to.flatMap((offset, index) => [offset, from[index]]));
  return { form: "elements", shareLanes: false, rows: unit, lanes: unit, blocks };
}

/** Both sides have the same number of elements; their order is partition, then free index. */
export function movementOf(out: Place, source: Place): Movement {
  const dims = pair(dimsOf(out), dimsOf(source));
  if (!dims) return elementByElement(out, source);
  const outer = dims.at(-1);
  const chips = [out, source].filter((place) => place.buffer.space !== "dram");
  const shareLanes = chips.length > 0 && outer !== undefined && chips.every((place) => place.lanes === outer.size);
  const rest = merge(shareLanes ? dims.slice(0, -1) : dims);
  const shared = shareLanes ? outer : undefined;
  const lanes =
    shared ??
    take(rest, (dim) => dim.out === adjacent && dim.in === adjacent) ??
    take(rest, (dim) => dim.out === adjacent || dim.in === adjacent) ??
    take(rest, () => true) ??
    unit;
  const { form, rows } = block(rest, lanes);
  return { form, shareLanes: shared !== undefined, rows, lanes, blocks: blocksOf(rest) };
}

/** Where `out` has the same elements on each of its partitions: those, in one partition on chip. */
export function repeatedRow(out: Place, source: Place): Place | undefined {
  if (out.buffer.space === "dram" || source.buffer.space === "dram" || source.lanes > 1 || out.lanes === 1) return undefined;
  const [repeat, ...dims] = source.dims;
  if (repeat?.stride !== 0 || repeat.size !== out.lanes) return undefined;
  return { ...source, dims, count: out.count };
}
