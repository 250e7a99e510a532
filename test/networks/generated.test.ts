import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { networks } from "../../models/networks.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { compareTensors, randomTensor, type Tensor } from "../../src/index.js";
import { ALL, compareOutputs, compileNetwork, referenceSession, roundedSession } from "./support.js";

const SEEDS = [0, 1, 2, 3, 4];
/** Over the error of ONNX Runtime in FP32 with the same inputs rounded: sums in another order round some values to another BF16 value. */
const MARGIN = 1.5;

/** As `neuron-run --input input=random:SEED` makes it. */
const inputOf = (seed: number) => new Map<string, Tensor>([["input", randomTensor("float32", [1, 3, 224, 224], seed, "input")]]);

/** Relative error of a vector, against its reference. */
function relativeError(value: Tensor, reference: Tensor): number {
  const { maxAbs, peak } = compareTensors("", value, reference);
  return maxAbs / peak;
}

async function plainSession(path: string, inputs: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>> {
  const session = await referenceSession(path);
  const outputs = await session.run(inputs);
  await session.dispose();
  return outputs;
}

describe("generated networks against ONNX Runtime", () => {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-networks-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(["resnet50", "mobilenet_v2"])(
    "%s: same best class and cosine with all in BF16; with matmults only, the rounding of their inputs",
    async (name) => {
      const path = join(folder, `${name}.onnx`);
      writeFileSync(path, writeOnnx(networks[name]({ batch: 1 })));
      const session = await referenceSession(path);
      const all = await compileNetwork(path, { fastMath: ALL });
      for (const seed of SEEDS) {
        const [{ cosine, top1 }] = compareOutputs(await all.model.run(inputOf(seed)), await session.run(inputOf(seed)));
        expect(top1, `seed ${seed}`).toBe(true);
        expect(cosine, `seed ${seed}`).toBeGreaterThanOrEqual(0.9995);
      }
      await all.dispose();
      await session.dispose();
      const rounded = await roundedSession(path, "bfloat16");
      const matmults = await compileNetwork(path, { fastMath: ["fp32-cast-matmult-bf16"] });
      const inputs = inputOf(0);
      const values = await matmults.model.run(inputs);
      const reference = await rounded.run(inputs);
      const exact = await plainSession(path, inputs);
      for (const [output, value] of values) {
        const explained = relativeError(reference.get(output)!, exact.get(output)!);
        expect(relativeError(value, exact.get(output)!), output).toBeLessThanOrEqual(MARGIN * explained);
      }
      await matmults.dispose();
      await rounded.dispose();
    },
    120_000,
  );
});
