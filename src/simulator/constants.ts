/**
 * Which elements of SBUF hold constants of the program at each point of the serial order. Stationary operands that are wholly constant
 * are packed into panels when the program is loaded, once for all tiles that use them, and a DMA that feeds nothing else need not run.
 */
import type { Access, DramBuffer, Instruction } from "../program/program.js";
import { slotReader, viewBytes } from "./boundary.js";
import { elementsOf, type Layout, offsetsOf, type Place, partitionsOf, rowsOf } from "./memory.js";
import { panelLanes } from "./wasm/kernels/matmul.js";

interface Fill {
  /** Something reads it at run time. */
  needed: boolean;
}

/** A packed stationary operand: lanes padded with zeros to whole panels. */
export interface Panels {
  readonly address: number;
  readonly panelBytes: number;
}

interface ConstantElements {
  /** Index of its first element among all constants' elements. */
  readonly first: number;
  readonly read: (index: number) => number;
}

const none = -1;

export class ConstantTracker {
  private readonly lanes = partitionsOf.sbuf;
  /** For each SBUF slot: the index of the constant element that it holds, and the fill that put it there. Empty before the first fill. */
  private element = new Int32Array(0);
  private fillOf = new Int32Array(0);
  /** Constant elements in each row. */
  private readonly held = new Int32Array(rowsOf.sbuf);
  /** When each row was last written. */
  private readonly written = new Int32Array(rowsOf.sbuf);
  private clock = 0;
  private readonly fills: Fill[] = [];
  private readonly fillOfInstruction = new Map<Instruction, Fill>();
  private readonly constants = new Map<string, ConstantElements>();
  private readonly readers: ConstantElements[] = [];
  private total = 0;
  private readonly recent = new Map<string, { clock: number; panels: Panels | undefined }>();
  private readonly packed = new Map<string, Panels>();
  private readonly rowTables = new Map<string, Int32Array>();

  constructor(
    private readonly layout: Layout,
    private readonly bytes: ReadonlyMap<string, Uint8Array>,
  ) {}

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
    if (this.fills.length === 0 || this.layout.buffer(access.buffer).space !== "sbuf") return;
    const place = this.layout.place(access);
    for (const row of this.rows(place)) {
      if (this.held[row] === 0) continue;
      const start = row * this.lanes + place.partitionStart;
      for (let slot = start; slot < start + place.lanes; slot++) {
        if (this.element[slot] !== none) this.fills[this.fillOf[slot]].needed = true;
      }
    }
  }

  /** A write of values that are no constants. */
  write(access: Access): void {
    if (this.fills.length === 0 || this.layout.buffer(access.buffer).space !== "sbuf") return;
    this.clock++;
    const place = this.layout.place(access);
    for (const row of this.rows(place)) {
      this.written[row] = this.clock;
      if (this.held[row] === 0) continue;
      const start = row * this.lanes + place.partitionStart;
      for (let slot = start; slot < start + place.lanes; slot++) {
        if (this.element[slot] === none) continue;
        this.element[slot] = none;
        this.held[row]--;
      }
    }
  }

  private constant(buffer: DramBuffer): ConstantElements {
    let known = this.constants.get(buffer.name);
    if (!known) {
      const bytes = this.bytes.get(buffer.name);
      if (!bytes) throw new Error(`constant ${buffer.name} has no values`);
      known = { first: this.total, read: slotReader(buffer.dtype, viewBytes(buffer.dtype, bytes)) };
      this.total += elementsOf(buffer);
      if (this.total > 0x7fffffff) throw new Error("a program's constants are limited to 2^31 elements");
      this.constants.set(buffer.name, known);
      this.readers.push(known);
    }
    return known;
  }

  /** A DMA from a constant to SBUF. */
  fill(instruction: Instruction, from: DramBuffer, source: Access, target: Access): void {
    if (this.fills.length === 0) {
      this.element = new Int32Array(rowsOf.sbuf * this.lanes).fill(none);
      this.fillOf = new Int32Array(rowsOf.sbuf * this.lanes);
    }
    this.write(target);
    const fill: Fill = { needed: false };
    const id = this.fills.push(fill) - 1;
    this.fillOfInstruction.set(instruction, fill);
    const first = this.constant(from).first + source.offset;
    const offsets = offsetsOf(source.sizes.map((size, axis) => ({ size, stride: source.strides[axis] })));
    const place = this.layout.place(target);
    const rows = this.rows(place);
    const aligned = offsets.length === rows.length;
    for (let position = 0; position < rows.length; position++) {
      const start = rows[position] * this.lanes + place.partitionStart;
      for (let lane = 0; lane < place.lanes; lane++) {
        const order = lane * rows.length + position;
        const partition = aligned ? lane : Math.floor(order / offsets.length);
        const offset = offsets[aligned ? position : order % offsets.length];
        this.element[start + lane] = first + partition * source.partitionStride + offset;
        this.fillOf[start + lane] = id;
      }
      this.held[rows[position]] += place.lanes;
    }
  }

  /** Must the DMA run? */
  mustRun(instruction: Instruction): boolean {
    return this.fillOfInstruction.get(instruction)?.needed ?? true;
  }

  /** The stationary operand's panels, if it is wholly constant. */
  panels(access: Access): Panels | undefined {
    if (this.fills.length === 0 || this.layout.buffer(access.buffer).space !== "sbuf") return undefined;
    const place = this.layout.place(access);
    const rows = this.rows(place);
    const key = `${place.base} ${place.lanes} ${place.dims.map((dim) => `${dim.size}x${dim.stride}`).join()}`;
    const known = this.recent.get(key);
    if (known && rows.every((row) => this.written[row] <= known.clock)) return known.panels;
    const panels = this.pack(place, rows);
    this.recent.set(key, { clock: this.clock, panels });
    return panels;
  }

  private pack(place: Place, rows: Int32Array): Panels | undefined {
    const first = this.element[rows[0] * this.lanes + place.partitionStart];
    if (first === none) return undefined;
    const at = (row: number, lane: number) => this.element[row * this.lanes + place.partitionStart + lane];
    const laneStep = place.lanes > 1 ? at(rows[0], 1) - first : 0;
    const rowStep = rows.length > 1 ? at(rows[1], 0) - first : 0;
    let regular = true;
    for (let m = 0; m < rows.length; m++) {
      const start = rows[m] * this.lanes + place.partitionStart;
      const expected = first + m * rowStep;
      for (let k = 0; k < place.lanes; k++) {
        const element = this.element[start + k];
        if (element === none) return undefined;
        if (element !== expected + k * laneStep) regular = false;
      }
    }
    const key = `${first} ${laneStep} ${rowStep} ${place.lanes} ${rows.length}`;
    const known = regular ? this.packed.get(key) : undefined;
    if (known) return known;
    const panelBytes = place.lanes * panelLanes * 4;
    const address = this.layout.memory.allocate(Math.ceil(rows.length / panelLanes) * panelBytes);
    const ints = this.layout.memory.ints;
    const corners = [0, rows.length - 1].flatMap((m) => [at(rows[m], 0), at(rows[m], place.lanes - 1)]);
    let reader = this.readerOf(first);
    const oneConstant = regular && corners.every((element) => this.readerOf(element) === reader);
    for (let m = 0; m < rows.length; m++) {
      const start = rows[m] * this.lanes + place.partitionStart;
      let word = (address + Math.floor(m / panelLanes) * panelBytes) / 4 + (m % panelLanes);
      for (let k = 0; k < place.lanes; k++, word += panelLanes) {
        const element = this.element[start + k];
        if (!oneConstant) reader = this.readerOf(element);
        ints[word] = reader.read(element - reader.first);
      }
    }
    const panels = { address, panelBytes };
    if (regular) this.packed.set(key, panels);
    return panels;
  }

  /** The constant that an element index belongs to. */
  private readerOf(element: number): ConstantElements {
    let [low, high] = [0, this.readers.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.readers[middle].first <= element) low = middle;
      else high = middle - 1;
    }
    return this.readers[low];
  }
}
