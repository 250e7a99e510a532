/** What rounding to 16 bits costs: the simulator against ONNX Runtime in FP32, by `--fast-math`. */
import { networks } from "../../models/networks.js";
import { compareTensors, compileModel, loadModel, type Tensor } from "../../src/index.js";
import { NETWORK_LOSS } from "../../src/operators/exactness.js";
import { seededInputs } from "../networks/inputs.js";
import { referenceSession } from "../networks/support.js";
import { withNetwork } from "./network.js";
import { type Row, row } from "./rows.js";

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

/** Images of normal values; texts of random words, the last of them padded for half their length. */
function inputsOf(name: string): Map<string, Tensor>[] {
  const graph = networks[name]({ batch: 1 });
  return SEEDS.map((seed) => seededInputs(graph, seed, seed === SEEDS[SEEDS.length - 1]));
}

/** Of each network and mode, over several seeded inputs. */
export async function accuracy(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const name of NETWORKS) rows.push(...(await withNetwork(name, (path) => accuracyOf(name, path))));
  return rows;
}

async function accuracyOf(name: string, path: string): Promise<Row[]> {
  const inputs = inputsOf(name);
  const session = await referenceSession(path);
  const references: Map<string, Tensor>[] = [];
  for (const input of inputs) references.push(await session.run(input));
  await session.dispose();
  const rows: Row[] = [];
  for (const { words, limit } of modes) {
    const { distance, error } = await lossOf(path, words, inputs, references);
    const work = `${name}, --fast-math ${words.join(" ")}`;
    rows.push(
      row(`${work}, mean of 1 - cosine`, "", distance, limit),
      row(`${work}, greatest error, of the greatest output`, "%", 100 * error),
    );
  }
  return rows;
}

/** The mean of 1 - cosine over inputs and outputs, and the greatest error as a part of the reference's greatest element. */
async function lossOf(
  path: string,
  fastMath: readonly string[],
  inputs: readonly Map<string, Tensor>[],
  references: readonly Map<string, Tensor>[],
) {
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
