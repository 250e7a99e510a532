/** Program -> records in memory and the WebAssembly module that executes them. */

import { sameAccess } from "../program/cost.js";
import {
  type Access,
  type DramBuffer,
  type Instruction,
  type LoadedProgram,
  type Matmul,
  type Operation,
  type Reduce,
  reads,
  type Transpose,
} from "../program/program.js";
import { BarrierPlanner, type Extent, type Touch } from "./barriers.js";
import { storeElements, viewBytes } from "./boundary.js";
import { ConstantTracker, type Panels, type Span } from "./constants.js";
import { type Pointwise, pointwiseForm, repeatFormula, type ScalarRow } from "./formulas.js";
import { type Dim, type Layout, maximumPages, type Place, partitionsOf } from "./memory.js";
import { movementOf, repeatedRow } from "./movement.js";
import { serialOrder } from "./serial.js";
import { KnownSpans } from "./spans.js";
import { laneClass } from "./wasm/dtype.js";
import { type FunctionBuilder, ModuleBuilder } from "./wasm/emitter.js";
import { hasFusedMultiplyAdd } from "./wasm/fused.js";
import { type CompiledModule, webAssembly } from "./wasm/host.js";
import { emitMatmul, maximumLinks, type Orientation, scratchBytes } from "./wasm/kernels/matmul.js";
import { emitMove, emitTranspose } from "./wasm/kernels/move.js";
import { type PanelLanes, type PanelSource, panelCount } from "./wasm/kernels/panels.js";
import { emitPointwise } from "./wasm/kernels/pointwise.js";
import { emitReduce } from "./wasm/kernels/reduce.js";
import { emitRun } from "./wasm/kernels/run.js";
import { emitSpan, float16Span, spanPitch } from "./wasm/kernels/span.js";

/** Records in memory: addresses of the first and past the last. */
export interface Records {
  readonly first: number;
  readonly last: number;
}

export interface Translation {
  readonly module: CompiledModule;
  readonly load: Records;
  readonly infer: Records;
}

/**
 * From so many columns a thread on, each thread takes columns of its own, which stay in its cache from record to record; with fewer,
 * threads share out the lanes, so that each reads only a part of the weights.
 */
const columnsPerThread = 40;
/** From so many columns on, threads share them out by whole panels: a `turned` matmul can share no others. */
const wholePanels = 256;

/** What a record touches, whichever way its threads share the work. */
interface Operand {
  readonly place: Place;
  readonly write: boolean;
  /** Where threads share out the lanes: does each stay within its own? */
  readonly ownLanes: boolean;
  /** Where threads share out the columns: does each stay within its own? */
  readonly ownColumns: boolean;
}

/** The operand of a matmul that is packed when the program is loaded. */
interface Packed {
  readonly panels: Panels;
  readonly operand: "stationary" | "moving";
}

/** Matmuls into one PSUM access, each going on from the one before it, that are one record. */
interface Chain {
  readonly out: Access;
  readonly place: Place;
  readonly accumulate: boolean;
  readonly orientation: Orientation;
  readonly source: PanelSource;
  /** `panels`: an operand in panels, packed when the program is loaded or in SBUF; the other has the columns. */
  readonly links: { readonly panels: Panels | Place; readonly columns: Place }[];
}

/** How the threads share a record: each has columns from one up to another, or a part of the lanes. */
type Ranges = readonly { readonly from: number; readonly to: number }[] | "lanes";

const laneWords = (lanes: number) => [(lanes & ~3) * 4, lanes & 3];

class Translator {
  private readonly module = new ModuleBuilder();
  private readonly barriers: BarrierPlanner;
  private readonly tracker: ConstantTracker;
  private readonly packedOf = new Map<Instruction, Packed>();
  private records: number[] = [];
  private chain: Chain | undefined;
  private spans = new KnownSpans();
  private readonly scratch: number;
  /** Of panels that threads do not share. */
  private readonly panelLanes: PanelLanes;

  constructor(
    private readonly loaded: LoadedProgram,
    private readonly layout: Layout,
    private readonly threads: number,
    private readonly fused: boolean,
  ) {
    this.panelLanes = fused ? 12 : 16;
    this.scratch = layout.memory.allocate(threads * scratchBytes);
    this.barriers = new BarrierPlanner(threads);
    this.tracker = new ConstantTracker(layout, loaded.constants);
  }

  translate(): Translation {
    const { program, constants } = this.loaded;
    const [load, infer] = [serialOrder(program.load), serialOrder(program.infer)];
    for (const instruction of [...load, ...infer]) this.trackConstants(instruction);
    const translated = { load: this.emitAll(load), infer: this.emitAll(infer) };
    for (const buffer of program.buffers) {
      if (buffer.space !== "dram" || buffer.kind !== "constant" || !this.layout.hasRegion(buffer)) continue;
      const bytes = constants.get(buffer.name);
      if (!bytes) throw new Error(`constant ${buffer.name} has no values`);
      storeElements(this.layout.memory, this.layout.dram(buffer), buffer.dtype, viewBytes(buffer.dtype, bytes));
    }
    emitRun(this.module);
    return { module: new webAssembly.Module(this.module.encode(maximumPages)), ...translated };
  }

  private constantSource(operation: Operation): DramBuffer | undefined {
    if (operation.kind !== "dma") return undefined;
    const source = this.layout.buffer(operation.in.buffer);
    const target = this.layout.buffer(operation.out.buffer);
    return source.space === "dram" && source.kind === "constant" && target.space === "sbuf" ? source : undefined;
  }

  private trackConstants(instruction: Instruction): void {
    const { operation } = instruction;
    const source = this.constantSource(operation);
    if (source && operation.kind === "dma") {
      this.tracker.fill(instruction, source, operation.in, operation.out);
      return;
    }
    const packed = operation.kind === "matmul" ? this.packConstant(operation) : undefined;
    if (packed) this.packedOf.set(instruction, packed);
    for (const access of reads(operation)) {
      if (!(packed && operation.kind === "matmul" && access === operation[packed.operand])) this.tracker.read(access);
    }
    this.tracker.write(operation.out);
  }

  private packConstant(operation: Matmul): Packed | undefined {
    const { count } = this.layout.place(operation.out);
    for (const operand of ["stationary", "moving"] as const) {
      const { width } = this.sharing(operand === "moving" ? "turned" : "straight", count);
      const panels = this.tracker.panels(operation[operand], width);
      if (panels) return { panels, operand };
    }
    return undefined;
  }

  private emitAll(instructions: readonly Instruction[]): Records {
    this.records = [];
    this.spans = new KnownSpans();
    for (const instruction of instructions) {
      const { operation } = instruction;
      if (operation.kind === "matmul") this.matmul(instruction, operation);
      else if (operation.kind !== "dma" || this.tracker.mustRun(instruction)) {
        this.flush();
        this.emit(operation);
      }
    }
    this.flush();
    const first = this.layout.memory.put(this.records);
    return { first, last: first + this.records.length * 4 };
  }

  private emit(operation: Exclude<Operation, Matmul>): void {
    switch (operation.kind) {
      case "transpose":
        return this.transpose(operation);
      case "reduce":
        return this.reduce(operation);
      case "dma":
        return this.move(this.layout.place(operation.out), this.layout.place(operation.in));
      default:
        return this.pointwise(operation);
    }
  }

  /** `words`: the arguments of all threads, or where `pitch` is given of one after the other, so many words each. */
  private record(kernel: FunctionBuilder, words: readonly number[], touches: readonly Touch[], pitch = 0): void {
    const barrier = this.barriers.next(touches) ? 1 : 0;
    for (const { place, write } of touches) if (write) this.spans.written(place);
    this.records.push(this.module.index(kernel), this.layout.memory.put(words), barrier, pitch * 4);
  }

  private rangesOf(count: number): Ranges {
    if (this.threads === 1 || count < columnsPerThread * this.threads) return "lanes";
    const grain = count >= wholePanels ? this.panelLanes : 1;
    const limit = (thread: number) => grain * Math.round((count * thread) / this.threads / grain);
    return Array.from({ length: this.threads }, (_, thread) => ({
      from: limit(thread),
      to: thread + 1 === this.threads ? count : limit(thread + 1),
    }));
  }

  /** `words`: the arguments for columns from one up to another; `thread`: 0 where all threads share them. */
  private recordColumns(
    kernel: FunctionBuilder,
    count: number,
    words: (from: number, to: number, thread: number) => readonly number[],
    operands: readonly Operand[],
    ranges = this.rangesOf(count),
  ): void {
    if (ranges === "lanes") {
      const touches = operands.map(({ place, write, ownLanes }): Touch => ({ place, write, sharing: ownLanes ? "lanes" : "all" }));
      return this.record(kernel, words(0, count, 0), touches);
    }
    const touches = operands.map(
      ({ place, write, ownColumns }): Touch => ({
        place,
        write,
        sharing: ownColumns ? ranges.map(({ from, to }) => this.extent(place, from, to)) : "all",
      }),
    );
    const all = ranges.map(({ from, to }, thread) => words(from, to, thread));
    // Threads' arguments lie on cache lines of their own.
    const pitch = Math.ceil(all[0].length / 16) * 16;
    const padded = all.flatMap((own) => [...own, ...new Array<number>(pitch - own.length).fill(0)]);
    this.record(kernel, padded, touches, pitch);
  }

  /** The bytes that columns from one up to another touch. */
  private extent(place: Place, from: number, to: number): Extent {
    const at = this.table(place.dims) / 4;
    const offsets = this.layout.memory.ints.subarray(at + from, at + to);
    return { low: place.base + offsets.reduce((a, b) => Math.min(a, b)), high: place.base + offsets.reduce((a, b) => Math.max(a, b)) + 4 };
  }

  private typeOf = (access: Access) => this.layout.buffer(access.buffer).dtype;
  private table = (dims: readonly Dim[]) => this.layout.offsets(dims);

  /** How threads share a matmul with so many columns of `out`, and the panels that this takes. */
  private sharing(orientation: Orientation, count: number): { ranges: Ranges; width: PanelLanes } {
    const ranges = orientation === "turned" && count < wholePanels ? "lanes" : this.rangesOf(count);
    return { ranges, width: ranges === "lanes" && this.threads > 1 ? 16 : this.panelLanes };
  }

  private matmul(instruction: Instruction, { out, stationary, moving, accumulate }: Matmul): void {
    const packed = this.packedOf.get(instruction);
    const orientation = packed?.operand === "moving" ? "turned" : "straight";
    const source = packed?.panels.source ?? "sbuf";
    const { chain } = this;
    const goesOn = chain && accumulate && chain.links.length < maximumLinks && sameAccess(out, chain.out);
    if (!goesOn || orientation !== chain.orientation || source !== chain.source) this.flush();
    this.chain ??= { out, place: this.layout.place(out), accumulate, orientation, source, links: [] };
    const columns = this.layout.place(orientation === "turned" ? stationary : moving);
    this.chain.links.push({ panels: packed?.panels ?? this.layout.place(stationary), columns });
  }

  private flush(): void {
    const { chain } = this;
    if (!chain) return;
    this.chain = undefined;
    const { place, orientation, source, accumulate } = chain;
    const isTurned = orientation === "turned";
    const { ranges, width } = this.sharing(orientation, place.count);
    const links = chain.links.map(({ panels, columns }) => ({
      panels,
      columns,
      panelSpan: "span" in panels ? this.constantSpan(panels) : this.span(panels, place.count, ranges, false),
      columnSpan: this.span(columns, place.count, ranges, !isTurned),
    }));
    const table = this.table(place.dims);
    /** For free positions of `place` from one up to another: a share of the columns (straight) or of the panels (turned). */
    const words = (from: number, to: number, thread: number) => [
      ...(isTurned ? [to - from, place.lanes * 4] : [place.lanes, (to - from) * 4]),
      ...[place.base, table + from * 4, Number(accumulate), links.length, this.scratch + thread * scratchBytes],
      panelCount(isTurned ? to - from : place.lanes, width),
      ...links.flatMap(({ panels, columns, panelSpan, columnSpan }) => [
        ...("span" in panels
          ? [panels.address + (isTurned ? from / width : 0) * panels.panelBytes, panels.panelBytes]
          : [panels.base, this.table(panels.dims)]),
        ...[columns.lanes, columns.base, this.table(columns.dims) + (isTurned ? 0 : from * 4)],
        ...[panelSpan + thread * spanPitch, columnSpan + thread * spanPitch],
      ]),
    ];
    const operands = [
      { place, write: true, ownLanes: !isTurned, ownColumns: true },
      ...links.map(({ columns }) => ({ place: columns, write: false, ownLanes: false, ownColumns: !isTurned })),
      ...links.flatMap(({ panels }) => ("span" in panels ? [] : [{ place: panels, write: false, ownLanes: false, ownColumns: false }])),
    ];
    const kernel = emitMatmul({ orientation, width, source, fused: this.fused });
    this.recordColumns(kernel, place.count, words, operands, ranges);
  }

  /** The address of thread 0's span, the same for every thread. */
  private knownSpan({ low, high }: Span): number {
    return this.layout.memory.table(`span ${low} ${high}`, () => {
      const words = new Int32Array((this.threads * spanPitch) / 4);
      for (let thread = 0; thread < this.threads; thread++) words.set([low, high], (thread * spanPitch) / 4);
      return words;
    });
  }

  private constantSpan({ source, span }: Panels): number {
    return this.knownSpan(source === "float16" ? float16Span : span);
  }

  /** The address of thread 0's span of what each thread reads of an operand, found by a record where it is not known: its own columns, or all. */
  private span(place: Place, count: number, ranges: Ranges, ownColumns: boolean): number {
    if (!this.fused || place.dtype === "float16") return this.knownSpan(float16Span);
    const isWhole = ranges === "lanes" || !ownColumns;
    const key = [place.base, place.lanes, ...place.dims.flatMap(({ size, stride }) => [size, stride]), isWhole].join();
    const known = this.spans.find(key);
    if (known !== undefined) return known;
    const address = this.layout.memory.allocate(this.threads * spanPitch);
    const table = this.table(place.dims);
    const words = (from: number, to: number, thread: number) => {
      const [first, end] = isWhole ? [0, place.count] : [from, to];
      return [place.lanes, (end - first) * 4, place.base, table + first * 4, address + thread * spanPitch];
    };
    this.recordColumns(emitSpan(), count, words, [{ place, write: false, ownLanes: false, ownColumns: !isWhole }], ranges);
    this.spans.add(key, place, address);
    return address;
  }

  private transpose(operation: Transpose): void {
    const [out, source] = [this.layout.place(operation.out), this.layout.place(operation.in)];
    this.record(
      emitTranspose(),
      [out.lanes, out.count, out.base, this.table(out.dims), source.base, this.table(source.dims)],
      [
        { place: out, sharing: "lanes", write: true },
        { place: source, sharing: "all", write: false },
      ],
    );
  }

  private reduce(operation: Reduce): void {
    const { sizes, strides } = operation.in;
    const kept = sizes.length - operation.axes;
    const part = (from: number, to: number): Place =>
      this.layout.place({ ...operation.in, sizes: sizes.slice(from, to), strides: strides.slice(from, to) });
    const [out, source] = [this.layout.place(operation.out), this.layout.place(operation.in)];
    const [outer, inner] = [part(0, kept), part(kept, sizes.length)];
    const kernel = emitReduce(operation.op, laneClass(source.dtype), out.dtype);
    const tables = [out.base, this.table(out.dims), source.base, this.table(outer.dims), this.table(inner.dims), inner.count * 4];
    this.record(
      kernel,
      [out.count * 4, ...laneWords(out.lanes), ...tables],
      [
        { place: out, sharing: "lanes", write: true },
        { place: source, sharing: "lanes", write: false },
      ],
    );
  }

  private move(out: Place, source: Place): void {
    const row = repeatedRow(out, source);
    if (row) return this.repeat(out, row);
    const movement = movementOf(out, source);
    const { rows, lanes, blocks, shareLanes } = movement;
    const table = this.layout.memory.table(`blocks ${blocks.join()}`, () => blocks);
    const block = [rows.size, rows.out, rows.in, lanes.size, lanes.out, lanes.in];
    const sharing = shareLanes ? "lanes" : "all";
    this.record(
      emitMove(movement.form),
      [out.base, source.base, table, blocks.length * 4, ...block, shareLanes ? 1 : 0],
      [
        { place: out, sharing, write: true },
        { place: source, sharing, write: false },
      ],
    );
  }

  /** The elements of one partition to every partition of `out`. */
  private repeat(out: Place, row: Place): void {
    const words = (from: number, to: number) => [
      ...[(to - from) * 4, ...laneWords(out.lanes), out.base, this.table(out.dims) + from * 4],
      ...[row.base, this.table(row.dims) + from * 4],
    ];
    this.recordColumns(emitPointwise(repeatFormula), out.count, words, [
      { place: out, write: true, ownLanes: true, ownColumns: true },
      { place: row, write: false, ownLanes: false, ownColumns: true },
    ]);
  }

  /** The address of a scalar operand's row of lanes. */
  private scalarRow(scalar: ScalarRow): number {
    if ("buffer" in scalar) {
      const place = this.layout.place(scalar);
      if (laneClass(place.dtype) !== "float") throw new Error(`scalar operand ${scalar.buffer} is not a float`);
      return place.base;
    }
    const word = scalar.class === "float" ? new Int32Array(Float32Array.of(scalar.value).buffer)[0] : scalar.value | 0;
    return this.layout.memory.table(`lanes ${word}`, () => new Int32Array(partitionsOf.sbuf).fill(word));
  }

  private pointwise(operation: Pointwise): void {
    const { formula, out, inputs, scalars } = pointwiseForm(operation, this.typeOf);
    const place = this.layout.place(out);
    const sources = inputs.map((access) => this.layout.place(access));
    const rows = scalars.flatMap((scalar) => ("buffer" in scalar ? [this.layout.place(scalar)] : []));
    const wrong = sources.find((source) => source.count !== place.count || source.lanes !== place.lanes);
    if (wrong) throw new Error(`${operation.kind}: ${wrong.buffer.name} and ${out.buffer} have different counts`);
    const words = (from: number, to: number) => [
      ...[(to - from) * 4, ...laneWords(place.lanes), place.base, this.table(place.dims) + from * 4],
      ...sources.flatMap((source) => [source.base, this.table(source.dims) + from * 4]),
      ...scalars.map((scalar) => this.scalarRow(scalar)),
    ];
    this.recordColumns(emitPointwise(formula), place.count, words, [
      { place, write: true, ownLanes: true, ownColumns: true },
      ...sources.map((source) => ({ place: source, write: false, ownLanes: true, ownColumns: true })),
      ...rows.map((row) => ({ place: row, write: false, ownLanes: true, ownColumns: false })),
    ]);
  }
}

/** Lays the program out in `layout` and translates it for that number of threads; `fused`: the host has fused multiply-add. */
export function translate(loaded: LoadedProgram, layout: Layout, threads: number, fused = hasFusedMultiplyAdd()): Translation {
  return new Translator(loaded, layout, threads, fused).translate();
}
