/** Outputs have the same bits for every number of cores and however a batch is split. */
import { networks } from "../../models/networks.js";
import { compileModel, loadModel, type Tensor } from "../../src/index.js";
import { unlikeOutput } from "../bits.js";
import { seededInputs } from "../networks/inputs.js";
import { randomCase, type Variant } from "../random/case.js";
import { differences } from "../random/check.js";
import { withNetwork } from "./network.js";
import { type Measured, row } from "./rows.js";

const MOST_CORES = 16;
const BATCH = 4;
const GRAPHS = 200;

/** Ways to compute the batch: items a compiled request, and cores. Parts of 3 leave one item, beside which the rest is filled up. */
const splits: readonly { readonly batchSize: number; readonly cores: number }[] = [
  { batchSize: 1, cores: 1 },
  { batchSize: 2, cores: 1 },
  { batchSize: 3, cores: 1 },
  { batchSize: 2, cores: 4 },
  { batchSize: BATCH, cores: MOST_CORES },
];

const allCores = Array.from({ length: MOST_CORES }, (_, index) => index + 1);

/** How many of the compiles give other bits than one for one core does, in the default mode; each is told as it comes. */
export function equalNetwork(name: string): Promise<Measured> {
  return withNetwork(
    name,
    async (path) => {
      const one = seededInputs(networks[name]({ batch: 1 }), 0);
      const many = seededInputs(networks[name]({ batch: BATCH }), 1);
      const others = allCores.slice(1).map((cores) => ({ batchSize: 1, cores }));
      const byCores = await unlike(path, one, { batchSize: 1, cores: 1 }, others);
      const bySplits = await unlike(path, many, { batchSize: BATCH, cores: 1 }, splits);
      return {
        rows: [
          row(`${name}, of 2 to ${MOST_CORES} cores, those whose outputs have other bits than one core's`, "", byCores, 0),
          row(`${name}, of ${splits.length} ways to split a batch of ${BATCH}, those whose outputs have other bits`, "", bySplits, 0),
        ],
      };
    },
    "batch",
  );
}

type Way = (typeof splits)[number];

async function unlike(path: string, inputs: ReadonlyMap<string, Tensor>, first: Way, others: readonly Way[]): Promise<number> {
  const expected = await outputsOf(path, inputs, first);
  let count = 0;
  for (const way of others) {
    const output = unlikeOutput(expected, await outputsOf(path, inputs, way));
    if (output === undefined) continue;
    count++;
    process.stdout.write(`${output} has other bits with ${JSON.stringify(way)} than with ${JSON.stringify(first)}\n`);
  }
  return count;
}

async function outputsOf(path: string, inputs: ReadonlyMap<string, Tensor>, { batchSize, cores }: Way): Promise<Map<string, Tensor>> {
  const { artifact } = await compileModel(path, {
    batchSize,
    dynamicBatchSize: true,
    neuroncorePipelineCores: cores,
    enableFastLoadingNeuronBinaries: true,
  });
  const model = await loadModel(artifact, { threads: 1 });
  try {
    return await model.run(inputs);
  } finally {
    await model.dispose();
  }
}

/** Random graphs that run wholly on NeuronCores, on every number of cores, and where they have a batch, by parts of every size. */
export async function equalRandomGraphs(): Promise<Measured> {
  let graphs = 0;
  let batches = 0;
  let unequal = 0;
  for (let seed = 0; graphs < GRAPHS; seed++) {
    const test = randomCase(seed);
    const { batch = 1 } = test;
    const variants: Variant[] = [
      ...allCores.slice(1).map((cores): Variant => ({ kind: "cores", cores })),
      ...Array.from({ length: batch - 1 }, (_, index): Variant => ({ kind: "items", size: index + 1 })),
    ];
    const found = await differences(test, variants);
    if (!found) continue;
    graphs++;
    if (batch > 1) batches++;
    if (found.length === 0) continue;
    unequal++;
    process.stdout.write(`seed ${seed}: ${found.join("; ")}\n`);
  }
  return {
    rows: [
      row(
        `${GRAPHS} random graphs, ${batches} with a batch: those whose outputs have other bits by cores or parts of the batch`,
        "",
        unequal,
        0,
      ),
    ],
  };
}
