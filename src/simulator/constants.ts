/**
 * Which elements of SBUF hold constants of the program at each point of the serial order. Operands of matmuls that are wholly constant
 * are packed into panels when the program is loaded, once for all tiles that use them, and a DMA that feeds nothing else need not run.
 */
import type { Access, DramBuffer, Instruction } from "../program/program.js";
import { type NumericData, viewBytes } from "./boundary.js";
import { elementsOf, type Layout, offsetsOf, type Place, partitionsOf, rowsOf } from "./memory.js";
import { lastPanelLanes, type PanelLanes, packedBytes, packedPosition, panelCount } from "./wasm/kernels/panels.js";
import { exponentShift } from "./wasm/kernels/span.js";

interface Fill {
  /** Something reads it at run time. */
  needed: boolean;
}

/** An operand of a matmul in panels, in 16 bits, lanes padded with zeros to whole panels. */
export interface Panels {
  readonly source: "bfloat16" | "float16";
  readonly width: PanelLanes;
  readonly address: number;
  readonly panelBytes: number;
  /** Of BFLOAT16: the least and the greatest exponent (`wasm/kernels/span.ts`). */
  readonly span: Span;
}

export interface Span {
  readonly low: number;
  readonly high: number;
}

interface ConstantElements {
  /** Index of its first element among all constants' elements. */
  readonly first: number;
  readonly data: NumericData;
}

/** Partitions [start, end) of one row: `start` holds the constants' element `first`, each next one the element `step` further. */
interface Segment {
  readonly start: number;
  readonly end: number;
  readonly first: number;
  readonly step: number;
  readonly fill: Fill;
}

/** The part of `segment` in partitions [start, end). */
function part(segment: Segment, start: number, end: number): Segment {
  if (start === segment.start && end === segment.end) return segment;
  return { ...segment, start, end, first: segment.first + (start - segment.start) * segment.step };
}

/** Segments for `elements` in partitions from `start` on. */
function segmentsOf(elements: readonly number[], start: number, fill: Fill): Segment[] {
  const segments: Segment[] = [];
  for (let index = 0; index < elements.length; ) {
    const step = index + 1 < elements.length ? elements[index + 1] - elements[index] : 0;
    let end = index + 1;
    while (end < elements.length && elements[end] - elements[end - 1] === step) end++;
    segments.push({ start: start + index, end: start + end, first: elements[index], step, fill });
    index = end;
  }
  return segments;
}

export class ConstantTracker {
  private readonly lanes = partitionsOf.sbuf;
  /** For each SBUF row: where it holds constants. */
  private readonly held: (readonly Segment[] | undefined)[] = new Array(rowsOf.sbuf).fill(undefined);
  /** When each row was last written. */
  private readonly written = new Int32Array(rowsOf.sbuf);
  private clock = 0;
  private readonly fillOfInstruction = new Map<Instruction, Fill>();
  private readonly constants = new Map<string, ConstantElements>();
  private readonly ordered: ConstantElements[] = [];
  private total = 0;
  private readonly recent = new Map<string, { clock: number; panels: Panels | undefined }>();
  private readonly packed = new Map<string, Panels>();
  private readonly rowTables = new Map<string, Int32Array>();

  constructor(
    private readonly layout: Layout,
    private readonly bytes: ReadonlyMap<string, Uint8Array>,
  ) {}

  private tracks(access: Access): boolean {
    return this.fillOfInstruction.size > 0 && this.layout.buffer(access.buffer).space === "sbuf";
  }

  /** Rows of an SBUF access's positions. */
  private rows(place: Place): Int32Array {
    const rowBytes = this.lanes * 4;
    const first = (place.base - place.partitionStart * 4 - this.layout.chip.sbuf) / rowBytes;
    const key = `${first} ${place.dims.map((dim) => `${dim.size}x${dim.stride}`).join()}`;
    let rows = this.rowTables.get(key);
    if (!rows) {
      rows = offsetsOf(place.dims).map((offset) => first + offset / rowBytes);
      this.rowTables.set(key, rows);
    }
    return rows;
  }

  /** A run-time read: what fills it must run. */
  read(access: Access): void {
    if (!this.tracks(access)) return;
    const place = this.layout.place(access);
    const [start, end] = [place.partitionStart, place.partitionStart + place.lanes];
    for (const row of this.rows(place)) {
      const segments = this.held[row];
      if (!segments) continue;
      for (const segment of segments) if (segment.start < end && segment.end > start) segment.fill.needed = true;
    }
  }

  /** A write of values that are no constants. */
  write(access: Access): void {
    if (!this.tracks(access)) return;
    this.clock++;
    const place = this.layout.place(access);
    for (const row of this.rows(place)) {
      this.written[row] = this.clock;
      if (this.held[row]) this.held[row] = this.without(row, place.partitionStart, place.partitionStart + place.lanes);
    }
  }

  /** What the row holds outside of partitions [start, end). */
  private without(row: number, start: number, end: number): readonly Segment[] | undefined {
    const left: Segment[] = [];
    for (const segment of this.held[row] ?? []) {
      if (segment.start < start) left.push(part(segment, segment.start, Math.min(segment.end, start)));
      if (segment.end > end) left.push(part(segment, Math.max(segment.start, end), segment.end));
    }
    return left.length > 0 ? left : undefined;
  }

  private constant(buffer: DramBuffer): ConstantElements {
    let known = this.constants.get(buffer.name);
    if (!known) {
      const bytes = this.bytes.get(buffer.name);
      if (!bytes) throw new Error(`constant ${buffer.name} has no values`);
      known = { first: this.total, data: viewBytes(buffer.dtype, bytes) };
      this.total += elementsOf(buffer);
      this.constants.set(buffer.name, known);
      this.ordered.push(known);
    }
    return known;
  }

  /** A DMA from a constant to SBUF. */
  fill(instruction: Instruction, from: DramBuffer, source: Access, target: Access): void {
    const fill: Fill = { needed: false };
    this.fillOfInstruction.set(instruction, fill);
    this.write(target);
    const first = this.constant(from).first + source.offset;
    const offsets = offsetsOf(source.sizes.map((size, axis) => ({ size, stride: source.strides[axis] })));
    const place = this.layout.place(target);
    const rows = this.rows(place);
    const [start, end] = [place.partitionStart, place.partitionStart + place.lanes];
    for (let position = 0; position < rows.length; position++) {
      const row = rows[position];
      let segments: Segment[];
      if (offsets.length === rows.length) {
        segments = [{ start, end, first: first + offsets[position], step: source.partitionStride, fill }];
      } else {
        // Both sides count elements by partition, then free index, but their partitions have different numbers of them.
        const elements = Array.from({ length: place.lanes }, (_, lane) => {
          const order = lane * rows.length + position;
          return first + Math.floor(order / offsets.length) * source.partitionStride + offsets[order % offsets.length];
        });
        segments = segmentsOf(elements, start, fill);
      }
      const others = this.held[row];
      this.held[row] = others ? [...others, ...segments] : segments;
    }
  }

  /** Must the DMA run? */
  mustRun(instruction: Instruction): boolean {
    return this.fillOfInstruction.get(instruction)?.needed ?? true;
  }

  /** The panels of a matmul's operand, if it is wholly constant. */
  panels(access: Access, width: PanelLanes): Panels | undefined {
    if (!this.tracks(access)) return undefined;
    const place = this.layout.place(access);
    const rows = this.rows(place);
    const key = `${width} ${place.base} ${place.lanes} ${place.dims.map((dim) => `${dim.size}x${dim.stride}`).join()}`;
    const known = this.recent.get(key);
    if (known && rows.every((row) => this.written[row] <= known.clock)) return known.panels;
    const panels = this.pack(place, rows, width);
    this.recent.set(key, { clock: this.clock, panels });
    return panels;
  }

  private pack(place: Place, rows: Int32Array, width: PanelLanes): Panels | undefined {
    const [start, end] = [place.partitionStart, place.partitionStart + place.lanes];
    const parts: Segment[][] = [];
    for (const row of rows) {
      const inside: Segment[] = [];
      let covered = 0;
      for (const segment of this.held[row] ?? []) {
        const [low, high] = [Math.max(segment.start, start), Math.min(segment.end, end)];
        if (low >= high) continue;
        inside.push(part(segment, low, high));
        covered += high - low;
      }
      if (covered < place.lanes) return undefined;
      parts.push(inside);
    }
    const key = this.regularKey(parts, place.lanes, width);
    const known = key === undefined ? undefined : this.packed.get(key);
    if (known) return known;
    const { dtype } = place;
    if (dtype !== "bfloat16" && dtype !== "float16") throw new Error(`a matmul takes 16-bit floats, not ${dtype}`);
    const [count, lastLanes, panelBytes] = [
      panelCount(rows.length, width),
      lastPanelLanes(rows.length, width),
      packedBytes(place.lanes, width),
    ];
    const address = this.layout.memory.allocate((count - 1) * panelBytes + packedBytes(place.lanes, lastLanes));
    let [least, most] = [0xffff, 0];
    for (const [m, segments] of parts.entries()) {
      const panel = Math.min(Math.floor(m / width), count - 1);
      const target = {
        half: (address + panel * panelBytes) / 2,
        rowLanes: panel === count - 1 ? lastLanes : width,
        lane: m - panel * width,
      };
      for (const segment of segments) {
        const extremes = this.copySegment(segment, segment.start - start, target);
        least = Math.min(least, extremes.least);
        most = Math.max(most, extremes.most);
      }
    }
    const panels: Panels = {
      source: dtype,
      width,
      address,
      panelBytes,
      span: { low: (least + 1) >> exponentShift, high: most >> exponentShift },
    };
    if (key !== undefined) this.packed.set(key, panels);
    return panels;
  }

  /** Tells operands at even distances in both directions apart; undefined for others. */
  private regularKey(parts: readonly Segment[][], lanes: number, width: PanelLanes): string | undefined {
    const [{ first, step }] = parts[0];
    const rowStep = parts.length > 1 ? parts[1][0].first - first : 0;
    const regular = parts.every(
      (segments, m) => segments.length === 1 && segments[0].first === first + m * rowStep && (lanes === 1 || segments[0].step === step),
    );
    return regular ? `${first} ${lanes === 1 ? 0 : step} ${rowStep} ${lanes} ${parts.length} ${width}` : undefined;
  }

  /**
   * Copies a segment to one lane of a panel that starts at `half`, from row `row` on, and gives the greatest magnitude and the least but zero, less 1, as
   * half words. The elements belong to one constant: a DMA fills from one.
   */
  private copySegment(
    { start, end, first, step }: Segment,
    row: number,
    { half, rowLanes, lane }: { half: number; rowLanes: number; lane: number },
  ): { least: number; most: number } {
    const constant = this.constantOf(first);
    const { data } = constant;
    const { halves } = this.layout.memory;
    const offset = first - constant.first;
    let [least, most] = [0xffff, 0];
    for (let k = 0; k < end - start; k++) {
      const bits = data[offset + k * step];
      halves[half + packedPosition((row + k) * rowLanes + lane)] = bits;
      const size = bits & 0x7fff;
      if (size > most) most = size;
      if (size !== 0 && size <= least) least = size - 1;
    }
    return { least, most };
  }

  /** The constant that an element index belongs to. */
  private constantOf(element: number): ConstantElements {
    let [low, high] = [0, this.ordered.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.ordered[middle].first <= element) low = middle;
      else high = middle - 1;
    }
    return this.ordered[low];
  }
}
