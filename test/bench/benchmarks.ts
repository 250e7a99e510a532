/** The benchmarks by name. */
import { setTimeout as sleep } from "node:timers/promises";
import { accuracy } from "./accuracy.js";
import { equalNetwork, equalRandomGraphs } from "./equality.js";
import { memoryPlan } from "./memory.js";
import { withNetwork } from "./network.js";
import { wholeNetworks } from "./networks.js";
import { compileCold, fileBytes, timingOnly } from "./ours.js";
import { pipelineCompiles, pipelineOfBert, pipelineSweep } from "./pipelines.js";
import { memoryPlansOfNetworks, pipelineCuts } from "./plans.js";
import { EngineProcess } from "./process.js";
import { type EngineName, engineNames, type InputSpec } from "./protocol.js";
import { randomGraphs } from "./random.js";
import { type Measured, median, type Row, row } from "./rows.js";

export const benchmarks: Readonly<Record<string, () => Promise<Measured>>> = {
  resnet50: () => values("resnet50", [{ name: "input", shape: [1, 3, 224, 224], values: "normal" }]),
  bert: () => values("bert_base", textInputs),
  minilm: () => values("minilm", textInputs),
  compile,
  timing,
  depth,
  accuracy,
  networks: wholeNetworks,
  random: randomGraphs,
  "pipelines:compile": pipelineCompiles,
  "pipelines:sweep": pipelineSweep,
  "pipelines:bert_base": pipelineOfBert,
  "plans:memory": memoryPlan,
  "plans:networks": memoryPlansOfNetworks,
  "plans:cuts": pipelineCuts,
  "equality:random": equalRandomGraphs,
  "equality:mobilenet_v2": () => equalNetwork("mobilenet_v2"),
  "equality:resnet50": () => equalNetwork("resnet50"),
  "equality:bert_base": () => equalNetwork("bert_base"),
};

const ROUNDS = 15;
/** An engine is warm when it has been at rest after so many runs in a row: until then it still compiles beside them. */
const WARM_UP_RUNS = 5;
const MOST_WARM_UP_RUNS = 200;
/** Before an engine's run the one before it has so long to let its threads stop spinning. */
const PAUSE_MILLISECONDS = 50;
/** Share of a processor that a process at rest may take. */
const REST_LOAD = 0.05;
const textInputs: readonly InputSpec[] = [
  { name: "input_ids", shape: [1, 128], values: { low: 0, high: 30522 } },
  { name: "attention_mask", shape: [1, 128], values: { low: 1, high: 2 } },
  { name: "token_type_ids", shape: [1, 128], values: { low: 0, high: 1 } },
];

/** A network at batch 1, once loaded: the engines take turns. */
function values(network: string, inputs: readonly InputSpec[]): Promise<Measured> {
  return withNetwork(network, async (model) => {
    const rows: Row[] = [];
    for (const threads of [1, 2]) {
      const times = await interleaved(model, inputs, threads);
      const peers: Record<string, number> = {};
      for (const [name, seconds] of times) if (name !== "ours") peers[name] = 1e3 * median(seconds);
      const ours = 1e3 * median(times.get("ours") ?? []);
      rows.push({
        work: `${network}, values, batch 1, steady state`,
        threads,
        unit: "ms",
        ours,
        peers,
        limit: 0.75 * peers["onnxruntime-web"],
      });
    }
    return { rows };
  });
}

/** Seconds of each run of each engine: they take turns, each while the others rest. */
async function interleaved(model: string, inputs: readonly InputSpec[], threads: number): Promise<Map<EngineName, number[]>> {
  const processes = new Map<EngineName, EngineProcess>();
  const times = new Map<EngineName, number[]>(engineNames.map((name) => [name, []]));
  try {
    for (const engine of engineNames) {
      const child = new EngineProcess();
      processes.set(engine, child);
      await child.ask({ kind: "load", engine, model, inputs, threads });
      await warmUp(child);
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const [engine, child] of processes) {
        times.get(engine)?.push(await child.ask({ kind: "run" }));
        await sleep(PAUSE_MILLISECONDS);
      }
    }
  } finally {
    for (const child of processes.values()) child.stop();
  }
  return times;
}

/** Runs an engine until its code is compiled as far as it ever is: its process then rests between runs. */
async function warmUp(engine: EngineProcess): Promise<void> {
  for (let runs = 0, resting = 0; runs < MOST_WARM_UP_RUNS && resting < WARM_UP_RUNS; runs++) {
    await engine.ask({ kind: "run" });
    await sleep(PAUSE_MILLISECONDS);
    const load = (await engine.ask({ kind: "rest", milliseconds: PAUSE_MILLISECONDS })) / (PAUSE_MILLISECONDS / 1e3);
    resting = load < REST_LOAD ? resting + 1 : 0;
  }
}

/** Seconds that a compile in a process of its own may take. */
const compileLimits: Readonly<Record<string, number>> = { resnet50: 5, bert_base: 8 };

/** Cold compiles: time with the process's start, and peak memory. */
async function compile(): Promise<Measured> {
  const rows: Row[] = [];
  for (const [name, limit] of Object.entries(compileLimits)) {
    await withNetwork(name, async (path) => {
      const runs = [await compileCold(path), await compileCold(path), await compileCold(path)];
      const megabytes = median(runs.map((run) => run.peakMemoryBytes)) / 1e6;
      rows.push(
        row(`${name}, compile, cold process`, "s", median(runs.map((run) => run.seconds)), limit),
        row(`${name}, compile, peak memory`, "MB", megabytes, (3 * fileBytes(path)) / 1e6 + 300),
      );
    });
  }
  return { rows };
}

/** The modelled time of one request, without values. */
function timing(): Promise<Measured> {
  return withNetwork("resnet50", async (path) => {
    const run = await timingOnly(path);
    const first = run();
    const warm = median(Array.from({ length: ROUNDS }, run));
    const rows = [row("resnet50, timing only, first run", "s", first, 0.2), row("resnet50, timing only, once warm", "s", warm, 0.2)];
    return { rows };
  });
}

/** Compile time against depth: linear where the time per layer does not grow. */
async function depth(): Promise<Measured> {
  const rows: Row[] = [];
  for (const layers of [50, 101, 152]) {
    const name = `resnet${layers}`;
    const runs = await withNetwork(name, async (path) => [await compileCold(path), await compileCold(path), await compileCold(path)]);
    const seconds = median(runs.map((run) => run.seconds));
    rows.push(row(`${name}, compile, cold process`, "s", seconds), row(`${name}, compile, per layer`, "ms", (1e3 * seconds) / layers));
  }
  return { rows };
}
