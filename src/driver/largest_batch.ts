/** The largest batch that a core can take, from what small ones take. */
import { UserError } from "../diagnostics/diagnostic.js";
import { hardware } from "../hardware/hardware.js";
import { MAX_INSTRUCTIONS } from "../lower/index.js";
import type { Artifact } from "../neff/artifact.js";
import { bufferBytes, type Program } from "../program/program.js";

/** What is left for tiles that do not grow evenly. */
const MARGIN = 0.95;

/** Instructions and DRAM bytes of the core that has most of each. */
function needs({ programs }: Artifact): number[] {
  const all = [...programs.values()].flatMap((stages) => stages.map(({ program }) => program));
  const most = (of: (program: Program) => number) => all.reduce((a, program) => Math.max(a, of(program)), 0);
  return [most(({ infer }) => infer.reduce((sum, { instructions }) => sum + instructions.length, 0)), most(dramBytes)];
}

/** Inputs, outputs and constants beside each other, and the scratch region. */
function dramBytes({ buffers }: Program): number {
  let bound = 0;
  let scratch = 0;
  for (const buffer of buffers) {
    if (buffer.space !== "dram") continue;
    if (buffer.kind === "scratch") scratch = Math.max(scratch, buffer.address + bufferBytes(buffer));
    else bound += bufferBytes(buffer);
  }
  return bound + scratch;
}

/** Extends the line through batches of 2 and 4, which need the same kind of program; undefined where not even these work. */
export async function largestBatch(compile: (batch: number) => Promise<Artifact>): Promise<number | undefined> {
  const limits = [MAX_INSTRUCTIONS, hardware.dramBytesPerChip];
  let largest: number | undefined;
  try {
    const two = needs(await compile(2));
    largest = 2;
    const four = needs(await compile(4));
    const batches = limits.map((limit, index) => {
      const each = (four[index] - two[index]) / 2;
      return each > 0 ? 4 + (MARGIN * limit - four[index]) / each : Number.POSITIVE_INFINITY;
    });
    return Math.max(4, Math.floor(Math.min(...batches)));
  } catch (error) {
    if (error instanceof UserError) return largest;
    throw error;
  }
}
