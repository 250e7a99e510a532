/** What rounding to 16 bits costs: the simulator against ONNX Runtime in FP32, by `--fast-math`. */
import { compareTensors, compileModel, loadModel, randomTensor, type Tensor } from "../../src/index.js";
import { referenceSession } from "../networks/support.js";
import { withNetwork } from "./network.js";
import { type Row, row } from "./rows.js";

const NETWORKS = ["resnet50", "mobilenet_v2"];
const SEEDS = [0, 1, 2, 3, 4];

/** The words of `--fast-math`, and the greatest 1 - cosine that the project asks for. */
const modes: readonly { readonly words: readonly string[]; readonly limit?: number }[] = [
  { words: ["all"], limit: 5e-4 },
  { words: ["fp32-cast-matmult"] },
  { words: ["fp32-cast-matmult", "no-fast-relayout"] },
  { words: ["none"] },
];

const inputs = SEEDS.map((seed) => new Map<string, Tensor>([["input", randomTensor("float32", [1, 3, 224, 224], seed, "input")]]));

/** Of each network and mode: the worst of several seeded images. */
export async function accuracy(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const name of NETWORKS) rows.push(...(await withNetwork(name, (path) => accuracyOf(name, path))));
  return rows;
}

async function accuracyOf(name: string, path: string): Promise<Row[]> {
  const session = await referenceSession(path);
  const references: Map<string, Tensor>[] = [];
  for (const input of inputs) references.push(await session.run(input));
  await session.dispose();
  const rows: Row[] = [];
  for (const { words, limit } of modes) {
    const { distance, error } = await worst(path, words, references);
    const work = `${name}, --fast-math ${words.join(" ")}`;
    rows.push(row(`${work}, 1 - cosine`, "", distance, limit), row(`${work}, greatest error, of the greatest output`, "%", 100 * error));
  }
  return rows;
}

/** The greatest 1 - cosine, and the greatest error as a part of the reference's greatest element, of any output for any image. */
async function worst(path: string, fastMath: readonly string[], references: readonly Map<string, Tensor>[]) {
  const { artifact } = await compileModel(path, { fastMath });
  const model = await loadModel(artifact, { threads: 1 });
  let distance = 0;
  let error = 0;
  for (const [index, reference] of references.entries()) {
    const values = await model.run(inputs[index]);
    for (const [output, expected] of reference) {
      const value = values.get(output);
      if (value === undefined) throw new Error(`no output ${output}`);
      const { cosine, maxAbs, peak } = compareTensors(output, value, expected);
      distance = Math.max(distance, 1 - cosine);
      error = Math.max(error, maxAbs / peak);
    }
  }
  await model.dispose();
  return { distance, error };
}
