/** What rounding to 16 bits costs: the simulator against ONNX Runtime in FP32, by `--fast-math`. */
import { networks } from "../../models/networks.js";
import { compareTensors, compileModel, loadModel, type Tensor } from "../../src/index.js";
import { NETWORK_LOSS } from "../../src/operators/exactness.js";
import { seededInputs } from "../networks/inputs.js";
import { referenceSession } from "../networks/support.js";
import { markdown } from "../pages.js";
import { withNetwork } from "./network.js";
import { type Measured, row } from "./rows.js";

const NETWORKS = ["resnet50", "mobilenet_v2", "bert_base"];
/** Of the inputs; texts of the last one are padded. */
const SEEDS = [0, 1, 2, 3, 4];

/** The words of `--fast-math`, and the greatest 1 - cosine that the project asks for. */
const modes: readonly { readonly words: readonly string[]; readonly limit?: number }[] = [
  { words: ["all"], limit: NETWORK_LOSS },
  { words: ["fp32-cast-matmult"] },
  { words: ["fp32-cast-matmult", "no-fast-relayout"] },
  { words: ["none"] },
];

/** What a mode costs a network. */
interface Loss {
  /** The mean of 1 - cosine over inputs and outputs. */
  readonly distance: number;
  /** The greatest error as a part of the reference's greatest element. */
  readonly error: number;
}

/** Of each network and mode, over several seeded inputs. */
export async function accuracy(): Promise<Measured> {
  const losses = new Map<string, Loss[]>();
  for (const name of NETWORKS) losses.set(name, await withNetwork(name, (path) => lossesOf(name, path)));
  const rows = [...losses].flatMap(([name, ofModes]) =>
    modes.flatMap(({ words, limit }, mode) => {
      const work = `${name}, --fast-math ${words.join(" ")}`;
      return [
        row(`${work}, mean of 1 - cosine`, "", ofModes[mode].distance, limit),
        row(`${work}, greatest error, of the greatest output`, "%", 100 * ofModes[mode].error),
      ];
    }),
  );
  const titles = NETWORKS.flatMap((name) => [`${name}: 1 - cosine`, "greatest error"]);
  const lines = modes.map(({ words }, mode) => [
    `\`${words.join(" ")}\``,
    ...[...losses.values()].flatMap((ofModes) => [ofModes[mode].distance.toExponential(1), `${(100 * ofModes[mode].error).toFixed(1)} %`]),
  ]);
  return { rows, page: markdown(["`--fast-math`", ...titles], lines) };
}

/** By mode. */
async function lossesOf(name: string, path: string): Promise<Loss[]> {
  const inputs = SEEDS.map((seed) => seededInputs(networks[name]({ batch: 1 }), seed, seed === SEEDS.length - 1));
  const session = await referenceSession(path);
  const references: Map<string, Tensor>[] = [];
  for (const input of inputs) references.push(await session.run(input));
  await session.dispose();
  const losses: Loss[] = [];
  for (const { words } of modes) losses.push(await lossOf(path, words, inputs, references));
  return losses;
}

async function lossOf(
  path: string,
  fastMath: readonly string[],
  inputs: readonly Map<string, Tensor>[],
  references: readonly Map<string, Tensor>[],
): Promise<Loss> {
  const { artifact } = await compileModel(path, { fastMath });
  const model = await loadModel(artifact, { threads: 1 });
  const distances: number[] = [];
  let error = 0;
  for (const [index, reference] of references.entries()) {
    const values = await model.run(inputs[index]);
    for (const [output, expected] of reference) {
      const value = values.get(output);
      if (value === undefined) throw new Error(`no output ${output}`);
      const { cosine, maxAbs, peak } = compareTensors(output, value, expected);
      distances.push(1 - cosine);
      error = Math.max(error, maxAbs / peak);
    }
  }
  await model.dispose();
  return { distance: distances.reduce((sum, distance) => sum + distance, 0) / distances.length, error };
}
