/** Where models lie: one core for each stage, a model's Neuron subgraphs one after the other in the order in which they run. */
import type { Hardware } from "../hardware/hardware.js";
import { chipDramBytes } from "./dram.js";

/** The first core of each Neuron subgraph, given how many stages each has, where the model begins at core 0. */
export function firstCores(stages: readonly number[]): number[] {
  let core = 0;
  return stages.map((count) => {
    core += count;
    return core - count;
  });
}

/**
 * The first core of each of at most `wanted` copies of a model on a chain of chips, given the DRAM that each of the model's cores takes. A copy
 * lies behind the one before it; where the memory of a chip does not hold both, it begins on the next chip.
 */
export function placeCopies(
  dramBytes: readonly number[],
  chips: number,
  wanted: number,
  { coresPerChip, dramBytesPerChip }: Pick<Hardware, "coresPerChip" | "dramBytesPerChip">,
): number[] {
  const copies: number[] = [];
  const cores: number[] = [];
  for (let first = 0; copies.length < wanted && first + dramBytes.length <= chips * coresPerChip; ) {
    const taken = [...cores, ...Array<number>(first - cores.length).fill(0), ...dramBytes];
    if (chipDramBytes(taken, { coresPerChip }).every((bytes) => bytes <= dramBytesPerChip)) {
      copies.push(first);
      cores.splice(0, cores.length, ...taken);
      first += dramBytes.length;
    } else if (first % coresPerChip > 0) first = Math.ceil(first / coresPerChip) * coresPerChip;
    else break;
  }
  return copies;
}
