/** What lowering hands to scheduling: a serial instruction list over buffers that have no address yet. */
import type { ChipBuffer, DramBuffer, Operation } from "../program/program.js";

export type LoweredBuffer = Omit<DramBuffer, "address"> | Omit<ChipBuffer, "address">;

export interface Step {
  readonly operation: Operation;
  /** Which kind of engine runs it; scheduling picks the DMA queue. */
  readonly engine: "tensor" | "scalar" | "vector" | "dma";
  /** The graph node that it works for. */
  readonly origin: string;
}

/**
 * Executing `load`, then `infer` once a request, one step at a time, gives the results. An SBUF buffer that `load` writes is resident:
 * it keeps its place for as long as the model is loaded, and `infer` only reads it. Other chip buffers live from their first
 * to their last use in `infer`. A chip buffer with a single writing step and only DMA for source may be filled earlier (prefetch).
 */
export interface LoweredProgram {
  readonly name: string;
  readonly buffers: readonly LoweredBuffer[];
  readonly load: readonly Step[];
  readonly infer: readonly Step[];
  /** By graph node: SBUF bytes a partition of the values that stay on chip while it runs. */
  readonly valueBytes: ReadonlyMap<string, number>;
  /** Raw little-endian elements of the constant DRAM buffers; packed when they are first read. */
  readonly constants: ReadonlyMap<string, Uint8Array>;
}
