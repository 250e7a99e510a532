/** How near the planners come to what is best: memory plans to the peak of live bytes, pipeline cuts to their known values. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Observe } from "../../src/driver/phases.js";
import { compileModel } from "../../src/index.js";
import { cut } from "../../src/pipeline/cut.js";
import { parsePipelineInstance } from "../../src/pipeline/instance.js";
import { allocate, GOOD_ENOUGH } from "../../src/schedule/allocate.js";
import { parseMemoryInstance } from "../../src/schedule/plan/instance.js";
import { type AllocationItem, peakLive } from "../../src/schedule/plan/items.js";
import { offsetsIn, overlaps } from "../schedule/placements.js";
import { withNetwork } from "./network.js";
import { type Measured, type Row, row } from "./rows.js";
import { shared } from "./shared.js";

const NETWORKS = ["resnet50", "mobilenet_v2", "bert_base"];
const NODE_LIMIT = 5e6;

/**
 * SBUF of the networks at batch 1, the worst stage of each: what the planner alone makes of the buffers of the compiled program, and where they lie in
 * it. A stage with memory to spare lets buffers rest before they are used again, so that only programs of one core are asked for the same there.
 */
export async function memoryPlansOfNetworks(): Promise<Measured> {
  const rows: Row[] = [];
  for (const name of NETWORKS) {
    for (const cores of [1, 16]) {
      const stages = await withNetwork(name, (path) => stageMemories(path, cores));
      const worst = (ratio: (stage: StageMemory) => number) => Math.max(...stages.map(ratio));
      const work = `${name} on ${cores} core(s), most SBUF of a stage over its most live bytes`;
      rows.push(
        row(`${work}, planned`, "x", worst(plannedRatio), GOOD_ENOUGH),
        row(
          `${work}, as compiled`,
          "x",
          worst(({ items, peak }) => peak / peakLive(items)),
          cores === 1 ? GOOD_ENOUGH : undefined,
        ),
      );
    }
  }
  return { rows };
}

interface StageMemory {
  readonly items: readonly AllocationItem[];
  /** In the program, in bytes a partition as the items' sizes are. */
  readonly peak: number;
}

/** Of each stage, from the plan that `--print-ir-after allocate` prints. */
async function stageMemories(path: string, neuroncorePipelineCores: number): Promise<StageMemory[]> {
  const plans = new Map<string, string>();
  const observe: Observe = (phase, part = "", text) => void (phase === "allocate" && plans.set(part, text()));
  await compileModel(path, { neuroncorePipelineCores, observe });
  return [...plans].map(([stage, text]) => {
    const items = parseMemoryInstance(stage, text);
    const offsets = offsetsIn(text);
    return { items, peak: Math.max(...items.map(({ size }, index) => offsets[index] + size)) };
  });
}

/** Infinite where the planner finds no plan that is good enough. */
function plannedRatio({ items }: StageMemory): number {
  const bound = peakLive(items);
  const { fits, peak, offsets } = allocate(items, { capacity: Math.floor(GOOD_ENOUGH * bound), nodeLimit: NODE_LIMIT });
  return fits && !overlaps(items, offsets) ? peak / bound : Number.POSITIVE_INFINITY;
}

/** Instances of dnn-partitioning: the slowest stage that is asked for, on accelerators alone. */
const cuts = [
  { file: "bert24_inference.json", devices: 6, slowest: 17.79 },
  { file: "resnet50_inference.json", devices: 6, slowest: 34.23 },
];
const CUT_SECONDS = 1;

/** The pipeline cutter on the instances that lie beside the checkout. */
export async function pipelineCuts(): Promise<Measured> {
  const folder = shared("dnn-partitioning");
  if (folder === undefined) return { rows: [] };
  const rows = cuts.flatMap(({ file, devices, slowest }) => {
    const began = performance.now();
    const found = cut(parsePipelineInstance(file, readFileSync(join(folder, file), "utf8"), devices));
    const seconds = (performance.now() - began) / 1000;
    const work = `pipeline plan, ${file} on ${devices} devices`;
    return [
      row(`${work}, slowest stage`, "", found?.value ?? Number.POSITIVE_INFINITY, slowest),
      row(`${work}, time`, "s", seconds, CUT_SECONDS),
    ];
  });
  return { rows };
}
