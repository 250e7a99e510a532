/** Exchanging the axis on partitions with a free one: on the tensor engine, which takes 16-bit values, or bit by bit by DMA. */
import { hardware } from "../hardware/hardware.js";
import { type DeviceType, deviceBytes } from "../program/program.js";
import type { Emitter } from "./emitter.js";
import { accessOf, type Box, type Dimension, jointly, partitions, type Range, subView, tileBoxes, type View, withSizes } from "./view.js";

/** What `--fast-math` says of FP32 values that change their layout: rounded to 16 bits by the tensor engine, or moved bit by bit. */
export interface Relayout {
  readonly fast: boolean;
  readonly type: "bfloat16" | "float16";
  /** Values that are moved bit by bit all the same, because of what other programs make of them. */
  readonly exact?: ReadonlySet<string>;
}

/** A box of a value in SBUF: `axis` on partitions (-1: none, on one partition), `view.dims` the other axes in order. */
export interface Side {
  readonly view: View;
  readonly axis: number;
}

/** In which type values are transposed; undefined if the tensor engine can't take them. */
export function transposeType(dtype: DeviceType, relayout: Relayout): DeviceType | undefined {
  if (dtype === "bfloat16" || dtype === "float16") return dtype;
  return dtype === "float32" && relayout.fast ? relayout.type : undefined;
}

const isAligned = (view: View) => view.partitionStart % hardware.partitionQuadrant === 0;

/** The dimensions of a side: those of the other axes, then that of `last`; of extent 1 where that is no axis. */
function dimensions({ view, axis }: Side, others: readonly number[], last: number): View {
  const dimOf = (index: number): Dimension =>
    index < 0 ? { size: 1, stride: 0 } : view.dims[axis >= 0 && index > axis ? index - 1 : index];
  return { ...view, dims: [...others, last].map(dimOf) };
}

function whole(dims: readonly Dimension[]): Range[] {
  return dims.map(({ size }) => ({ start: 0, size, step: 1 }));
}

/** out = source, both of one box and of at most 128 partitions, with their axes exchanged. */
export function exchange(emitter: Emitter, relayout: Relayout, source: Side, out: Side): void {
  const rank = source.view.dims.length + (source.axis < 0 ? 0 : 1);
  const others = Array.from({ length: rank }, (_, index) => index).filter((index) => index !== source.axis && index !== out.axis);
  const from = dimensions(source, others, out.axis);
  const to = dimensions(out, others, source.axis);
  const dtype = transposeType(source.view.dtype, relayout);
  if (dtype === undefined || !isAligned(source.view) || !isAligned(out.view)) return exchangeByDma(emitter, from, to);
  const rows = source.view.partitionCount;
  const columns = out.view.partitionCount;
  const room = Math.floor(hardware.psumBytesPerBank / deviceBytes(dtype, "psum") / rows);
  for (const box of tileBoxes(
    to.dims.slice(0, -1).map((dim) => dim.size),
    room,
  )) {
    const given = subView(from, [...box, { start: 0, size: columns, step: 1 }]);
    const rounded = given.dtype === dtype ? given : round(emitter, given, dtype);
    for (let first = 0; first < columns; first += hardware.tensorColumns) {
      const count = Math.min(hardware.tensorColumns, columns - first);
      const target = partitions(subView(to, [...box, { start: 0, size: rows, step: 1 }]), first, count);
      transposeBox(emitter, rounded, first, target, dtype);
    }
  }
}

/** One DMA for each partition of the side that has fewer. The last dimension of each side is the other's partitions. */
function exchangeByDma(emitter: Emitter, source: View, out: View): void {
  const bySource = source.partitionCount <= out.partitionCount;
  const [single, many] = bySource ? [source, out] : [out, source];
  const others = many.dims.slice(0, -1);
  for (let partition = 0; partition < single.partitionCount; partition++) {
    const last = many.dims[many.dims.length - 1];
    const column: View = { ...many, offset: many.offset + partition * last.stride, dims: others };
    const row = partitions(single, partition, 1);
    const turned: View = { ...row, dims: [row.dims[row.dims.length - 1], ...row.dims.slice(0, -1)] };
    moveColumn(emitter, turned, column, bySource);
  }
}

/** Between one partition, its first dimension counting the other side's partitions, and one column of those. */
function moveColumn(emitter: Emitter, row: View, column: View, toColumn: boolean): void {
  const [, ...dims] = row.dims;
  jointly(
    [{ ...row, dims }, column],
    ([inRow, inColumn]) => {
      const { size, stride } = row.dims[0];
      const spread = { ...inRow, sizes: [size, ...inRow.sizes], strides: [stride, ...inRow.strides] };
      emitter.step("dma", { kind: "dma", out: toColumn ? inColumn : spread, in: toColumn ? spread : inColumn });
    },
    1,
  );
}

function round(emitter: Emitter, view: View, dtype: DeviceType): View {
  const sizes = view.dims.map((dim) => dim.size);
  const buffer = emitter.chip(
    "rounded",
    "sbuf",
    dtype,
    view.partitionStart + view.partitionCount,
    sizes.reduce((a, b) => a * b, 1),
  );
  const out = withSizes({ ...buffer, partitionStart: view.partitionStart, partitionCount: view.partitionCount }, sizes);
  jointly([out, view], ([target, source]) => emitter.step("vector", { kind: "copy", out: target, in: source }));
  return out;
}

/** One PSUM tile: a transpose for each position of the other axes, then a copy of all. The last dimension of `source` goes to partitions. */
function transposeBox(emitter: Emitter, source: View, first: number, out: View, dtype: DeviceType): void {
  const sizes = out.dims.map((dim) => dim.size);
  const bank = emitter.chip(
    "transposed",
    "psum",
    dtype,
    out.partitionCount,
    sizes.reduce((a, b) => a * b, 1),
  );
  const tile = withSizes(bank, sizes);
  const column: Range = { start: first, size: out.partitionCount, step: 1 };
  for (const single of tileBoxes(sizes.slice(0, -1), 1)) {
    const one = (view: View, range: Range): View => subView(view, [...single, range] satisfies Box);
    const [row] = whole(out.dims.slice(-1));
    emitter.step("tensor", { kind: "transpose", out: accessOf(one(tile, row)), in: accessOf(one(source, column)) });
  }
  jointly([out, tile], ([target, transposed]) => emitter.step("scalar", { kind: "copy", out: target, in: transposed }));
}

/** out = source, of one shape: by an engine where the partitions allow it. */
export function copyOnChip(emitter: Emitter, source: View, out: View): void {
  const engine = isAligned(source) && isAligned(out);
  jointly([out, source], ([target, from]) =>
    engine ? emitter.step("vector", { kind: "copy", out: target, in: from }) : emitter.step("dma", { kind: "dma", out: target, in: from }),
  );
}
