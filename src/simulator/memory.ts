/**
 * The memory image. Every element of chip or DRAM takes one 32-bit slot (`wasm/dtype.ts` says what it holds).
 * SBUF and PSUM: the element at byte b of partition p lies in slot (b / elementAlignment) * partitions + p, so adjacent partitions are adjacent lanes; a
 * 4-byte type uses every second row. DRAM buffers are rows of slots; scratch addresses map to slot address / 2, except for 1-byte types, which have a
 * region of their own with one slot a byte: buffers with disjoint bytes have disjoint slots.
 */
import { userError } from "../diagnostics/diagnostic.js";
import { hardware } from "../hardware/hardware.js";
import { type Access, type Buffer, type DeviceType, type DramBuffer, deviceBytes, type Program } from "../program/program.js";
import { webAssembly } from "./wasm/host.js";

const slotBytes = 4;
const pageBytes = 65536;
/** Memory grows by at least so much; the system backs what is touched. */
const growthPages = 256;
export const maximumPages = 65536;

/** Linear memory, shared by all threads, that grows as it is handed out. */
export class Memory {
  readonly shared = new webAssembly.Memory({ initial: 1, maximum: maximumPages, shared: true });
  /** Views of the whole memory; replaced when it grows. */
  ints = new Int32Array(this.shared.buffer);
  floats = new Float32Array(this.shared.buffer);
  halves = new Uint16Array(this.shared.buffer);
  private top: number;
  private readonly rows = new Map<string, number>();

  /** `program` is the name in errors. */
  constructor(
    reserved: number,
    private readonly program: string,
  ) {
    this.top = reserved;
  }

  /** The address of `bytes` zero bytes on a cache line. Errors: NCC0855 when the 4 GiB of a core's image are used up. */
  allocate(bytes: number): number {
    const address = this.top;
    this.top = Math.ceil((address + bytes) / 64) * 64;
    // Kernels may read a vector past the last element.
    const missing = Math.ceil((this.top + 4096) / pageBytes) - this.shared.buffer.byteLength / pageBytes;
    if (missing > 0) {
      if (this.top + 4096 > maximumPages * pageBytes) throw userError("NCC0855", { name: this.program });
      const room = maximumPages - this.shared.buffer.byteLength / pageBytes;
      this.shared.grow(Math.min(room, Math.max(missing, growthPages)));
      this.ints = new Int32Array(this.shared.buffer);
      this.floats = new Float32Array(this.shared.buffer);
      this.halves = new Uint16Array(this.shared.buffer);
    }
    return address;
  }

  put(words: ArrayLike<number>): number {
    const address = this.allocate(words.length * 4);
    this.ints.set(words, address / 4);
    return address;
  }

  /** Puts a table once for each `key`. */
  table(key: string, words: () => ArrayLike<number>): number {
    let address = this.rows.get(key);
    if (address === undefined) {
      address = this.put(words());
      this.rows.set(key, address);
    }
    return address;
  }
}

export interface Dim {
  readonly size: number;
  readonly stride: number;
}

/** Where an access lies: bytes. `dims` are the free dimensions with byte strides, without those of size 1, adjacent ones merged. */
export interface Place {
  readonly buffer: Buffer;
  readonly dtype: DeviceType;
  readonly base: number;
  readonly partitionStart: number;
  readonly lanes: number;
  readonly laneStride: number;
  readonly dims: readonly Dim[];
  readonly count: number;
}

function mergeDims(dims: readonly Dim[]): Dim[] {
  const merged: Dim[] = [];
  for (const dim of dims) {
    const last = merged.at(-1);
    if (dim.size === 1) continue;
    if (last && last.stride === dim.stride * dim.size) merged[merged.length - 1] = { size: last.size * dim.size, stride: dim.stride };
    else merged.push(dim);
  }
  return merged;
}

/** Byte offsets of the positions of `dims`, row-major. */
export function offsetsOf(dims: readonly Dim[]): Int32Array {
  let offsets = new Int32Array(1);
  for (const { size, stride } of dims) {
    const next = new Int32Array(offsets.length * size);
    for (let outer = 0, at = 0; outer < offsets.length; outer++) {
      for (let index = 0; index < size; index++) next[at++] = offsets[outer] + index * stride;
    }
    offsets = next;
  }
  return offsets;
}

export type ChipSpace = "sbuf" | "psum";
export const partitionsOf: Readonly<Record<ChipSpace, number>> = { sbuf: hardware.sbufPartitions, psum: hardware.psumPartitions };
/** Rows (`elementAlignment` bytes of each partition) of a chip memory. */
export const rowsOf: Readonly<Record<ChipSpace, number>> = {
  sbuf: hardware.sbufBytesPerPartition / hardware.elementAlignment,
  psum: (hardware.psumBytesPerBank * hardware.psumBanks) / hardware.elementAlignment,
};

/** The program's buffers in memory. A constant gets its place when something first needs its elements there. */
export class Layout {
  readonly chip: Readonly<Record<ChipSpace, number>>;
  private readonly buffers: ReadonlyMap<string, Buffer>;
  private readonly regions = new Map<string, number>();
  private readonly places = new WeakMap<Access, Place>();
  private readonly scratch: number;
  private readonly byteScratch: number;

  constructor(
    readonly memory: Memory,
    program: Program,
  ) {
    this.buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
    const size = (space: ChipSpace) => rowsOf[space] * partitionsOf[space] * slotBytes;
    this.chip = { sbuf: memory.allocate(size("sbuf")), psum: memory.allocate(size("psum")) };
    const scratch = program.buffers.filter((buffer): buffer is DramBuffer => buffer.space === "dram" && buffer.kind === "scratch");
    const extent = (isByte: boolean) =>
      Math.max(
        0,
        ...scratch.filter((buffer) => isByteType(buffer.dtype) === isByte).map((buffer) => scratchSlot(buffer) + elementsOf(buffer)),
      );
    this.scratch = memory.allocate(extent(false) * slotBytes);
    this.byteScratch = memory.allocate(extent(true) * slotBytes);
  }

  buffer(name: string): Buffer {
    const buffer = this.buffers.get(name);
    if (!buffer) throw new Error(`no buffer ${name}`);
    return buffer;
  }

  /** Byte address of a DRAM buffer's first element. */
  dram(buffer: DramBuffer): number {
    if (buffer.kind === "scratch") return (isByteType(buffer.dtype) ? this.byteScratch : this.scratch) + scratchSlot(buffer) * slotBytes;
    let address = this.regions.get(buffer.name);
    if (address === undefined) {
      address = this.memory.allocate(elementsOf(buffer) * slotBytes);
      this.regions.set(buffer.name, address);
    }
    return address;
  }

  /** Has the constant been given a place? */
  hasRegion(buffer: DramBuffer): boolean {
    return this.regions.has(buffer.name);
  }

  place(access: Access): Place {
    let place = this.places.get(access);
    if (!place) {
      place = this.findPlace(access);
      this.places.set(access, place);
    }
    return place;
  }

  private findPlace(access: Access): Place {
    const buffer = this.buffer(access.buffer);
    const free = (pitch: number) => mergeDims(access.sizes.map((size, axis) => ({ size, stride: access.strides[axis] * pitch })));
    const count = access.sizes.reduce((product, size) => product * size, 1);
    const common = { buffer, dtype: buffer.dtype, partitionStart: access.partitionStart, lanes: access.partitionCount, count };
    if (buffer.space === "dram") {
      const base = this.dram(buffer) + access.offset * slotBytes;
      return { ...common, base, laneStride: access.partitionStride * slotBytes, dims: free(slotBytes) };
    }
    const { elementAlignment: rowBytes } = hardware;
    if (buffer.address % rowBytes) throw new Error(`buffer ${buffer.name}: odd address ${buffer.address}`);
    const row = partitionsOf[buffer.space] * slotBytes;
    const pitch = (deviceBytes(buffer.dtype, buffer.space) / rowBytes) * row;
    const base = this.chip[buffer.space] + (buffer.address / rowBytes) * row + access.partitionStart * slotBytes + access.offset * pitch;
    return { ...common, base, laneStride: slotBytes, dims: free(pitch) };
  }

  /** Address of the table of byte offsets of `dims`. */
  offsets(dims: readonly Dim[]): number {
    const merged = mergeDims(dims);
    return this.memory.table(merged.map((dim) => `${dim.size}x${dim.stride}`).join(","), () => offsetsOf(merged));
  }
}

export function isByteType(dtype: DeviceType): boolean {
  return deviceBytes(dtype, "dram") === 1;
}

export function elementsOf(buffer: DramBuffer): number {
  return buffer.shape.reduce((product, extent) => product * extent, 1);
}

function scratchSlot(buffer: DramBuffer): number {
  return isByteType(buffer.dtype) ? buffer.address : Math.floor(buffer.address / 2);
}

/** Bytes of `place` that the access may touch, from its lowest to past its highest; for DRAM with the partitions. */
export function extentOf(place: Place): { low: number; high: number } {
  const dims = place.buffer.space === "dram" ? [...place.dims, { size: place.lanes, stride: place.laneStride }] : place.dims;
  let [low, high] = [place.base, place.base];
  for (const { size, stride } of dims) {
    if (stride < 0) low += (size - 1) * stride;
    else high += (size - 1) * stride;
  }
  return { low, high: high + slotBytes };
}
