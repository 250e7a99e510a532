/** Spreads DMA steps over the core's queues. */
import type { Hardware } from "../hardware/hardware.js";
import type { LoweredBuffer, Step } from "../lower/lowered.js";
import { dmaCost } from "../program/cost.js";
import type { Engine } from "../program/program.js";

/** The queue with the least modelled work among [low, high); the first of them where several have. */
function leastLoaded(load: Float64Array, low: number, high: number): number {
  let best = low;
  for (let queue = low + 1; queue < high; queue++) if (load[queue] < load[best]) best = queue;
  return best;
}

/**
 * The engine of each step. Loads from DRAM and other transfers, which wait for results, go to different queues, so that a waiting
 * store does not hold up a prefetch; the queues are divided by the work of the two kinds, each to the least loaded one of its kind.
 */
export function assignEngines(
  steps: readonly Step[],
  buffers: readonly LoweredBuffer[],
  indexOf: ReadonlyMap<string, number>,
  hardware: Hardware,
): Engine[] {
  const seconds = new Float64Array(steps.length);
  const isLoad = new Uint8Array(steps.length);
  const work = [0, 0];
  for (const [index, { operation }] of steps.entries()) {
    if (operation.kind !== "dma") continue;
    const out = buffers[indexOf.get(operation.out.buffer)!];
    const source = buffers[indexOf.get(operation.in.buffer)!];
    seconds[index] = hardware.dmaSetupSeconds + dmaCost(operation, out, source, hardware).chargedBytes / hardware.dmaBandwidthPerQueue;
    isLoad[index] = Number(source.space === "dram" && out.space !== "dram");
    work[isLoad[index]] += seconds[index];
  }
  const queues = hardware.dmaQueues;
  const [others, loads] = work;
  let boundary = Math.round((queues * loads) / Math.max(loads + others, Number.MIN_VALUE));
  if (others > 0) boundary = Math.min(boundary, queues - 1);
  if (loads > 0) boundary = Math.max(boundary, 1);
  const busy = new Float64Array(queues);
  return steps.map(({ engine }, index): Engine => {
    if (engine !== "dma") return engine;
    const queue = isLoad[index] ? leastLoaded(busy, 0, boundary) : leastLoaded(busy, queues === 1 ? 0 : boundary, queues);
    busy[queue] += seconds[index];
    return `dma${queue}`;
  });
}
