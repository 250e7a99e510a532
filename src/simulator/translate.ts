/** Program -> records in memory and the WebAssembly module that executes them. */
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
import { ConstantTracker, type Panels } from "./constants.js";
import { type Pointwise, pointwiseForm, type ScalarRow } from "./formulas.js";
import { type Dim, type Layout, maximumPages, type Place, partitionsOf } from "./memory.js";
import { movementOf } from "./movement.js";
import { serialOrder } from "./serial.js";
import { laneClass } from "./wasm/dtype.js";
import { type FunctionBuilder, ModuleBuilder } from "./wasm/emitter.js";
import { type CompiledModule, webAssembly } from "./wasm/host.js";
import { emitMatmul, emitPack, type Orientation, panelLanes, tileColumns } from "./wasm/kernels/matmul.js";
import { emitMove, emitTranspose } from "./wasm/kernels/move.js";
import { emitPointwise } from "./wasm/kernels/pointwise.js";
import { emitReduce } from "./wasm/kernels/reduce.js";
import { emitRun } from "./wasm/kernels/run.js";

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
const wholePanels = 128;

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

/** Run-time panels that one chain may use. */
const panelSlots = 32;

interface Chain {
  readonly out: Access;
  readonly place: Place;
  readonly accumulate: boolean;
  readonly orientation: Orientation;
  readonly links: { readonly panels: Panels; readonly columns: Place }[];
  /** Records that pack the links' stationary operands before the chain runs. */
  readonly packs: { readonly words: readonly number[]; readonly touches: readonly Touch[] }[];
}

const laneWords = (lanes: number) => [(lanes & ~3) * 4, lanes & 3];
const sameAccess = (a: Access, b: Access) => JSON.stringify(a) === JSON.stringify(b);

class Translator {
  private readonly module = new ModuleBuilder();
  private readonly barriers: BarrierPlanner;
  private readonly tracker: ConstantTracker;
  private readonly packedOf = new Map<Instruction, Packed>();
  private records: number[] = [];
  private chain: Chain | undefined;
  private readonly slotBytes = partitionsOf.sbuf * partitionsOf.psum * 4;
  private slots: number | undefined;

  constructor(
    private readonly loaded: LoadedProgram,
    private readonly layout: Layout,
    private readonly threads: number,
  ) {
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
    for (const operand of ["stationary", "moving"] as const) {
      const panels = this.tracker.panels(operation[operand]);
      if (panels) return { panels, operand };
    }
    return undefined;
  }

  private emitAll(instructions: readonly Instruction[]): Records {
    this.records = [];
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
    this.records.push(kernel.index, this.layout.memory.put(words), barrier, pitch * 4);
  }

  private sharesColumns(count: number): boolean {
    return this.threads > 1 && count >= columnsPerThread * this.threads;
  }

  /** A record whose threads each take a range of columns, or a share of the lanes. `words` are the arguments for columns from one up to another. */
  private recordColumns(
    kernel: FunctionBuilder,
    count: number,
    words: (from: number, to: number) => readonly number[],
    operands: readonly Operand[],
    byLanes = !this.sharesColumns(count),
  ): void {
    if (byLanes) {
      const touches = operands.map(({ place, write, ownLanes }): Touch => ({ place, write, sharing: ownLanes ? "lanes" : "all" }));
      return this.record(kernel, words(0, count), touches);
    }
    const grain = count >= wholePanels ? panelLanes : tileColumns;
    const limit = (thread: number) => grain * Math.round((count * thread) / this.threads / grain);
    const ranges = Array.from({ length: this.threads }, (_, thread) => ({
      from: limit(thread),
      to: thread + 1 === this.threads ? count : limit(thread + 1),
    }));
    const touches = operands.map(
      ({ place, write, ownColumns }): Touch => ({
        place,
        write,
        sharing: ownColumns ? ranges.map(({ from, to }) => this.extent(place, from, to)) : "all",
      }),
    );
    const all = ranges.map(({ from, to }) => words(from, to));
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

  private matmul(instruction: Instruction, operation: Matmul): void {
    const packed = this.packedOf.get(instruction);
    const orientation = packed?.operand === "moving" ? "turned" : "straight";
    const { chain } = this;
    const goesOn = chain && operation.accumulate && orientation === chain.orientation && sameAccess(operation.out, chain.out);
    if (!goesOn || (!packed && chain.packs.length === panelSlots)) this.flush();
    const { out, accumulate } = operation;
    this.chain ??= { out, place: this.layout.place(out), accumulate, orientation, links: [], packs: [] };
    const columns = this.layout.place(orientation === "turned" ? operation.stationary : operation.moving);
    const panels = packed?.panels ?? this.pack(this.chain, operation);
    this.chain.links.push({ panels, columns });
  }

  /** Packs the stationary operand at run time. */
  private pack(chain: Chain, operation: Matmul): Panels {
    this.slots ??= this.layout.memory.allocate(panelSlots * this.slotBytes);
    const stationary = this.layout.place(operation.stationary);
    // The same pitch for every operand: a thread's panels never move into another's.
    const panels = { address: this.slots + chain.packs.length * this.slotBytes, panelBytes: partitionsOf.sbuf * panelLanes * 4 };
    const words = [stationary.count, stationary.lanes, stationary.base, this.table(stationary.dims), panels.address, panels.panelBytes];
    chain.packs.push({ words, touches: [{ place: stationary, sharing: "all", write: false }] });
    return panels;
  }

  private flush(): void {
    const { chain } = this;
    if (!chain) return;
    this.chain = undefined;
    for (const { words, touches } of chain.packs) this.record(emitPack(this.module), words, touches);
    const { place, links, packs, orientation } = chain;
    const isTurned = orientation === "turned";
    const table = this.table(place.dims);
    /** For free positions of `place` from one up to another: a share of the columns (straight) or of the panels (turned). */
    const words = (from: number, to: number) => [
      ...(isTurned ? [to - from, place.lanes * 4] : [place.lanes, (to - from) * 4]),
      ...[place.base, table + from * 4, Number(chain.accumulate), links.length],
      ...links.flatMap(({ panels, columns }) => [
        ...[panels.address + (isTurned ? from / panelLanes : 0) * panels.panelBytes, panels.panelBytes, columns.lanes * panelLanes * 4],
        ...[columns.base, this.table(columns.dims) + (isTurned ? 0 : from * 4)],
      ]),
    ];
    const operands = [
      { place, write: true, ownLanes: !isTurned, ownColumns: true },
      ...links.map(({ columns }) => ({ place: columns, write: false, ownLanes: false, ownColumns: !isTurned })),
    ];
    // Each thread packs the panels of its own lanes.
    const byLanes = packs.length > 0 || (isTurned && place.count < wholePanels) || undefined;
    this.recordColumns(emitMatmul(this.module, orientation), place.count, words, operands, byLanes);
  }

  private transpose(operation: Transpose): void {
    const [out, source] = [this.layout.place(operation.out), this.layout.place(operation.in)];
    this.record(
      emitTranspose(this.module),
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
    const kernel = emitReduce(this.module, operation.op, laneClass(source.dtype), out.dtype);
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
    const movement = movementOf(out, source);
    const { rows, lanes, blocks, shareLanes } = movement;
    const table = this.layout.memory.table(`blocks ${blocks.join()}`, () => blocks);
    const block = [rows.size, rows.out, rows.in, lanes.size, lanes.out, lanes.in];
    const sharing = shareLanes ? "lanes" : "all";
    this.record(
      emitMove(this.module, movement.form),
      [out.base, source.base, table, blocks.length * 4, ...block, shareLanes ? 1 : 0],
      [
        { place: out, sharing, write: true },
        { place: source, sharing, write: false },
      ],
    );
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
    this.recordColumns(emitPointwise(this.module, formula), place.count, words, [
      { place, write: true, ownLanes: true, ownColumns: true },
      ...sources.map((source) => ({ place: source, write: false, ownLanes: true, ownColumns: true })),
      ...rows.map((row) => ({ place: row, write: false, ownLanes: true, ownColumns: false })),
    ]);
  }
}

/** Lays the program out in `layout` and translates it for that number of threads. */
export function translate(loaded: LoadedProgram, layout: Layout, threads: number): Translation {
  return new Translator(loaded, layout, threads).translate();
}
