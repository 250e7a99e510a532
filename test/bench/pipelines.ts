/** NeuronCore Pipeline: what many cores cost the compiler, and what they bring. */
import { hardware } from "../../src/hardware/hardware.js";
import { type CompileOptions, type CompileReport, compileModel, UserError } from "../../src/index.js";
import { markdown } from "../pages.js";
import { withNetwork } from "./network.js";
import { compileCold } from "./ours.js";
import { type Measured, median, type Row, row } from "./rows.js";

const MOST_CORES = 16;
const ROUNDS = 3;
/** Time of a compile for MOST_CORES cores at most, as a multiple of that for one. */
const COMPILE_RATIO = 1.5;

/** Cold compiles for one core and for many, in turns. */
export async function pipelineCompiles(): Promise<Measured> {
  const rows: Row[] = [];
  for (const name of ["resnet50", "bert_base"]) {
    await withNetwork(name, async (path) => {
      const seconds = new Map<number, number[]>([1, MOST_CORES].map((cores) => [cores, []]));
      for (let round = 0; round < ROUNDS; round++) {
        for (const [cores, times] of seconds) times.push((await compileCold(path, cores)).seconds);
      }
      const [one, many] = [...seconds.values()].map(median);
      rows.push(
        row(`${name}, compile for 1 core, cold process`, "s", one),
        row(`${name}, compile for ${MOST_CORES} cores, cold process`, "s", many),
        row(`${name}, compile for ${MOST_CORES} cores over that for 1`, "x", many / one, COMPILE_RATIO),
      );
    });
  }
  return { rows };
}

/** What a pipeline is: of all its Neuron subgraphs. */
interface Pipeline {
  readonly cores: number;
  readonly weightBytes: number;
  readonly residentBytes: number;
  /** From one request to the next, without the host. */
  readonly ms: number;
}

function pipelineOf({ neuronCores, subgraphs }: CompileReport): Pipeline {
  const neuron = subgraphs.filter(({ device }) => device === "neuron");
  const stages = neuron.flatMap((part) => part.stages ?? []);
  return {
    cores: neuronCores,
    weightBytes: stages.reduce((sum, stage) => sum + stage.weightBytes, 0),
    residentBytes: stages.reduce((sum, stage) => sum + stage.residentWeightBytes, 0),
    ms: Math.max(...neuron.map(({ throughputPerSecond }) => 1000 / throughputPerSecond)),
  };
}

/** Undefined where the compiler refuses. */
async function tryPipeline(path: string, options: CompileOptions): Promise<Pipeline | undefined> {
  try {
    return pipelineOf((await compileModel(path, { ...options, enableFastLoadingNeuronBinaries: true })).report);
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

/** The vendor's sweep: batches, numbers of cores, and the number from which on all weights lie on chip there. */
const sweptCores = [1, 2, 4, 8, 12, MOST_CORES, "auto"] as const;
const sweptBatches = [
  { batch: 1, allOnChipFrom: 8 },
  { batch: 2, allOnChipFrom: 12 },
];

/** ResNet-50 in FP16. */
export function pipelineSweep(): Promise<Measured> {
  return withNetwork(
    "resnet50",
    async (path) => {
      const rows: Row[] = [];
      const lines: string[][] = [];
      for (const { batch, allOnChipFrom } of sweptBatches) {
        const found: (Pipeline | undefined)[] = [];
        for (const cores of sweptCores) {
          found.push(await tryPipeline(path, { batchSize: batch, neuroncorePipelineCores: cores, fastMath: ["fp32-cast-all-fp16"] }));
        }
        const work = `resnet50, FP16, batch ${batch}`;
        const failed = found.filter((pipeline) => !pipeline).length;
        rows.push(row(`${work}, of ${sweptCores.length} numbers of cores, those that don't compile`, "", failed, 0));
        for (const [index, cores] of sweptCores.entries()) {
          rows.push(...pipelineRows(`${work}, ${cores} core(s)`, found[index], cores === "auto" || cores >= allOnChipFrom));
        }
        const shares = sweptCores.map((cores, index) => shareCell(found[index], cores === "auto"));
        lines.push([String(batch), "weights on chip", ...shares], ["", "a request each", ...found.map(timeCell)]);
      }
      return {
        rows,
        page: markdown(["batch", "cores", ...sweptCores.map((cores) => (cores === "auto" ? "`auto`" : String(cores)))], lines),
      };
    },
    "batch",
  );
}

/** Infinite where it was not compiled. */
function pipelineRows(work: string, found: Pipeline | undefined, hasToHoldAll: boolean): Row[] {
  const streamed = found ? (found.weightBytes - found.residentBytes) / 1e6 : Number.POSITIVE_INFINITY;
  return [
    row(`${work}, weights not on chip`, "MB", streamed, hasToHoldAll ? 0 : undefined),
    row(`${work}, modelled time a request`, "ms", found?.ms ?? Number.POSITIVE_INFINITY),
  ];
}

function residentShare({ residentBytes, weightBytes }: Pipeline): string {
  return residentBytes === weightBytes ? "all" : `${Math.floor((100 * residentBytes) / weightBytes)} %`;
}

function shareCell(found: Pipeline | undefined, isAuto: boolean): string {
  if (!found) return "not compiled";
  return isAuto ? `${found.cores} cores: ${residentShare(found)}` : residentShare(found);
}

function timeCell(found: Pipeline | undefined): string {
  return found ? `${found.ms.toFixed(2)} ms` : "";
}

/** BERT-base, whose weights fill most of the cores' memory. */
export function pipelineOfBert(): Promise<Measured> {
  return withNetwork("bert_base", async (path) => {
    const found = await tryPipeline(path, { neuroncorePipelineCores: MOST_CORES });
    const rows = pipelineRows(`bert_base, ${MOST_CORES} cores`, found, true);
    if (!found) return { rows };
    const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
    const memory = megabytes(found.cores * hardware.sbufPartitions * hardware.sbufBytesPerPartition);
    const whole = `${megabytes(found.weightBytes)} of weights`;
    const held = residentShare(found) === "all" ? `all of its ${whole}` : `${residentShare(found)} of its ${whole}`;
    const page = [
      `BERT-base (sequence 128, BF16) on ${found.cores} cores holds ${held} in ${memory} of SBUF; its slowest stage takes ${found.ms.toFixed(2)} ms.`,
    ];
    return { rows, page };
  });
}
