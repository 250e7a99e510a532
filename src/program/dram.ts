/** The DRAM that programs take. The cores of a chip share its memory. */
import type { Hardware } from "../hardware/hardware.js";
import { type DramBuffer, deviceBytes } from "./program.js";

/** A program's buffers; before scheduling they have no address. */
export type Buffers = readonly ((Omit<DramBuffer, "address"> | { readonly space: "sbuf" | "psum" }) & { readonly address?: number })[];

/** Inputs, outputs and constants beside each other, and the scratch region; before scheduling, without that region. */
export function dramBytes(buffers: Buffers): number {
  let bound = 0;
  let scratch = 0;
  for (const buffer of buffers) {
    if (buffer.space !== "dram") continue;
    const bytes = buffer.shape.reduce((product, extent) => product * extent, deviceBytes(buffer.dtype, "dram"));
    if (buffer.kind !== "scratch") bound += bytes;
    else if (buffer.address !== undefined) scratch = Math.max(scratch, buffer.address + bytes);
  }
  return bound + scratch;
}

/**
 * Of each chip, from what its cores take: a model's, or those of several copies, one after the other from a chip's first core on. What one core
 * gives to the next counts for both: while it is read, the next request's is written.
 */
export function chipDramBytes(cores: readonly number[], { coresPerChip }: Pick<Hardware, "coresPerChip">): number[] {
  const chips: number[] = [];
  for (const [core, bytes] of cores.entries()) {
    const chip = Math.floor(core / coresPerChip);
    chips[chip] = (chips[chip] ?? 0) + bytes;
  }
  return chips;
}
