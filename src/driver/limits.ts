/** How far a batch may grow and how few cores do, for a compile that asks for too much. Found by trials. */
import { type Diagnostic, diagnostic, UserError } from "../diagnostics/diagnostic.js";
import type { MessageId } from "../diagnostics/messages.js";
import { hardware, MOST_CORES } from "../hardware/hardware.js";
import { MAX_INSTRUCTIONS } from "../lower/index.js";
import { relayoutOf } from "../passes/index.js";
import { type Buffers, chipDramBytes, dramBytes } from "../program/dram.js";
import type { CompileOptions } from "./options.js";
import { compilePipeline, lowerPipeline } from "./pipeline.js";
import { prepare, typedGraph } from "./prepare.js";

/** What a smaller batch or more cores may mend. */
const TOO_LARGE: ReadonlySet<MessageId> = new Set(["NCC0690", "NCC0693", "NCC0695"]);

/** How far a trial goes: until programs are lowered, which tells most limits soon, or until they are scheduled. */
type Depth = "lowered" | "scheduled";

/** What a number takes of the limit that it comes nearest to; undefined where it is beyond. */
type Share = (count: number) => Promise<number | undefined>;

/**
 * The error with what would work instead: the largest batch (NCC0694) where one was given, the fewest cores (NCC0696) where a number was given or no batch
 * works. Any other error as it is.
 */
export async function withAdvice(error: unknown, path: string, options: CompileOptions): Promise<unknown> {
  if (!(error instanceof UserError) || !error.diagnostics.some(({ id }) => TOO_LARGE.has(id))) return error;
  const { batchSize: batch = 1, neuroncorePipelineCores: cores = 1 } = options;
  const advice: Diagnostic[] = [];
  const { verifyEach: _, log: __, observe: ___, ...quiet } = options;
  const shareAt = (changed: CompileOptions, depth: Depth) => shareOfLimits(path, { ...quiet, ...changed }, depth);
  const largest = await confirmed(batch, (batchSize, depth) => shareAt({ batchSize }, depth), largestBelow);
  if (largest !== undefined) advice.push(diagnostic("NCC0694", { batch, largest }));
  if (cores !== "auto" && (largest === undefined || options.neuroncorePipelineCores !== undefined)) {
    const fewest = await confirmed(cores, (count, depth) => shareAt({ neuroncorePipelineCores: count }, depth), fewestCores);
    if (fewest !== undefined) advice.push(diagnostic("NCC0696", { cores, fewest }));
  }
  return advice.length > 0 ? new UserError([...advice, ...error.diagnostics]) : error;
}

/** The nearest number that works: looked for among lowered programs, and where scheduling still refuses, on from there among scheduled ones. */
async function confirmed(
  failing: number,
  share: (count: number, depth: Depth) => Promise<number | undefined>,
  nearest: (failing: number, share: Share) => Promise<number | undefined>,
): Promise<number | undefined> {
  const found = await nearest(failing, (count) => share(count, "lowered"));
  if (found === undefined || (await share(found, "scheduled")) !== undefined) return found;
  return nearest(found, (count) => share(count, "scheduled"));
}

/** Of the length of a program and of a chip's memory, what a compile takes of the one that it comes nearest to; undefined where that is too much. */
async function shareOfLimits(path: string, options: CompileOptions, depth: Depth): Promise<number | undefined> {
  try {
    const programs = await programsOf(path, options, depth);
    const cores = programs.map(({ buffers }) => dramBytes(buffers));
    const chips = chipDramBytes(cores, hardware).map((bytes) => bytes / hardware.dramBytesPerChip);
    const share = Math.max(0, ...chips, ...programs.map(({ length }) => Math.min(1, length / MAX_INSTRUCTIONS)));
    return share <= 1 ? share : undefined;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

interface Sizes {
  readonly length: number;
  readonly buffers: Buffers;
}

async function programsOf(path: string, options: CompileOptions, depth: Depth): Promise<Sizes[]> {
  const { placed, precision } = await prepare(path, options);
  const { neuroncorePipelineCores: cores = 1, enableSaturateInfinity, enableFastContextSwitch } = options;
  const stageOptions = { relayout: relayoutOf(precision), enableFastContextSwitch };
  return placed.subgraphs
    .filter(({ device }) => device === "neuron")
    .flatMap((part): Sizes[] => {
      const graph = typedGraph(part, precision, { enableSaturateInfinity });
      if (depth === "lowered" && cores !== "auto")
        return lowerPipeline(graph, cores, stageOptions).map(({ infer, buffers }) => ({ length: infer.length, buffers }));
      return compilePipeline(graph, cores, stageOptions).stages.map(({ loaded: { program } }) => ({
        length: program.infer.reduce((sum, { instructions }) => sum + instructions.length, 0),
        buffers: program.buffers,
      }));
    });
}

/**
 * A number from 1 on that works while the one above it does not, `failing` being one that does not. The line through the last two that work tells
 * where to look; every third time the middle, so that it ends soon where the line misleads. Undefined where 1 does not work.
 */
export async function largestBelow(failing: number, share: Share): Promise<number | undefined> {
  let before = { count: 0, share: 0 };
  let low = before;
  let high = failing;
  for (let trial = 1; high - low.count > 1; trial++) {
    const each = (low.share - before.share) / (low.count - before.count);
    const guess = each > 0 ? low.count + Math.floor((1 - low.share) / each) : low.count + 1;
    const wanted = trial % 3 === 0 ? Math.floor((low.count + high) / 2) : guess;
    const count = Math.min(high - 1, Math.max(low.count + 1, wanted));
    const found = await share(count);
    if (found === undefined) high = count;
    else [before, low] = [low, { count, share: found }];
  }
  return low.count || undefined;
}

/**
 * A number of cores that works, while one fewer does not: one, since a pipeline's stages share the memory of a chip, or else one above `failing`, which
 * does not. Undefined where not even the most do.
 */
export async function fewestCores(failing: number, share: Share): Promise<number | undefined> {
  const works = async (count: number) => (await share(count)) !== undefined;
  if (failing > 1 && (await works(1))) return 1;
  let low = failing;
  let high = low;
  do {
    if (high === MOST_CORES) return undefined;
    low = high;
    high = Math.min(MOST_CORES, 2 * low);
  } while (!(await works(high)));
  while (high - low > 1) {
    const middle = Math.ceil((low + high) / 2);
    if (await works(middle)) high = middle;
    else low = middle;
  }
  return high;
}
