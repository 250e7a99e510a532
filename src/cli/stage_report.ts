/** `neuronc compile --report`: what bounds each stage. */
import type { CompileReport } from "../driver/compile.js";
import { hardware } from "../hardware/hardware.js";
import { bytes, percent, significant, table } from "./format.js";

type Stage = NonNullable<CompileReport["subgraphs"][number]["stages"]>[number];

/** Busy time of the compute engines, of the busiest DMA queue, and the two roofs: work at the peak, and bytes at DRAM's bandwidth. */
function timeRow(id: string, stage: Stage): string[] {
  const { core, ms, busyMs, flops, dramBytes } = stage;
  const queues = Object.entries(busyMs).flatMap(([engine, busy]) => (engine.startsWith("dma") ? [busy] : []));
  const busy = [busyMs.tensor ?? 0, busyMs.vector ?? 0, busyMs.scalar ?? 0, Math.max(0, ...queues)];
  const seconds = ms / 1000;
  const share = (part: number, roof: number) => (seconds > 0 ? percent(part / (roof * seconds)) : "");
  return [
    id,
    String(core),
    ...[ms, ...busy].map((value) => `${significant(value)} ms`),
    share(flops, hardware.peakFlopsPerCore),
    share(dramBytes, hardware.dramBandwidthPerChip),
  ];
}

function bytesRow(id: string, { core, traffic, dramBytes, passedBytes, residentWeightBytes, weightBytes }: Stage): string[] {
  const { weights, inputs, outputs, spills } = traffic;
  const moved = [weights, inputs, outputs, spills, dramBytes, passedBytes].map(bytes);
  return [id, String(core), ...moved, `${bytes(residentWeightBytes)} of ${bytes(weightBytes)}`];
}

/**
 * Of each memory on chip the bytes in use at most, and those of values that live at once, below which no plan is; and what had to go through DRAM
 * for want of room. PSUM is used by whole banks.
 */
function memoryRow(id: string, stage: Stage): string[] {
  const { core, sbufPeakBytes, sbufBoundBytes, psumPeakBytes, psumBoundBytes, traffic } = stage;
  const use = (peak: number, bound: number) => [bytes(peak), bytes(bound), bound > 0 ? percent(peak / bound - 1) : ""];
  return [id, String(core), ...use(sbufPeakBytes, sbufBoundBytes), bytes(traffic.spills), ...use(psumPeakBytes, psumBoundBytes)];
}

export function stageReport(subgraphs: CompileReport["subgraphs"]): string {
  const rows = (row: (id: string, stage: Stage) => string[]) =>
    subgraphs.flatMap(({ id, stages }) => (stages ?? []).map((stage) => row(id, stage)));
  if (rows(timeRow).length === 0) return "";
  const times = ["Subgraph", "Core", "Alone", "Tensor", "Vector", "Scalar", "DMA queue", "Of peak FLOP/s", "Of DRAM bandwidth"];
  const moved = ["Subgraph", "Core", "Weights", "Inputs", "Outputs", "Spills", "As charged", "Passed on", "Resident weights"];
  const memory = ["Subgraph", "Core", "Peak", "Live at once", "Gap", "Spills", "PSUM banks", "Live at once", "Gap"];
  return [
    `Busy time of a request, and use of the two roofs\n${table(times, rows(timeRow), "  ")}`,
    `Bytes to and from DRAM, a request\n${table(moved, rows(bytesRow), "  ")}`,
    `State buffer (buffers rest between uses where there is room) and PSUM (banks take turns)\n${table(memory, rows(memoryRow), "  ")}`,
  ].join("\n\n");
}
