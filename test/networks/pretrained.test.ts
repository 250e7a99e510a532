import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { toFloat32 } from "../../src/index.js";
import { NETWORK_LOSS } from "../../src/operators/exactness.js";
import { FRAMEWORK_FACTOR } from "../conformance/judge.js";
import { detector, inputOf, pretrained, withDense } from "./pretrained.js";
import { ALL, compareOutputs, compileNetwork, LEAST_COSINE, MATMULT_FP16, referenceSession, storedSession } from "./support.js";

const SEEDS = [0, 2];
/** At its full size the detector is for the benchmark. */
const networks = [...pretrained.filter(({ name }) => !name.includes("detector")), detector(320)];

describe("pretrained networks at fixed shapes, against ONNX Runtime on the original file", () => {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-pretrained-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(networks.map((network) => [network.name, network] as const))(
    "%s: every output",
    async (_, original) => {
      const network = await withDense(original, folder);
      const { maximaOf = {} } = network;
      const session = await referenceSession(network.path);
      const binding = { inputShapes: new Map([[network.input, network.shape]]) };
      const rounded = await storedSession(network.path, "bfloat16", binding);
      for (const fastMath of [MATMULT_FP16, ALL]) {
        const compiled = await compileNetwork(network.path, { fastMath, ...binding });
        expect(compiled.report.subgraphs.map(({ device }) => device)).toEqual(["neuron"]);
        expect(compiled.report.flopsOnNeuron).toBeGreaterThanOrEqual(0.95);
        const losses = new Map<string, { ours: number; host: number }>();
        for (const seed of SEEDS) {
          const inputs = inputOf(network, seed);
          const reference = await session.run(inputs);
          const host = fastMath === ALL ? compareOutputs(await rounded.run(inputs), reference, maximaOf) : [];
          const values = await compiled.model.run(inputs);
          for (const [maxima, dense] of Object.entries(maximaOf)) {
            const own = toFloat32(values.get(dense)!);
            const others = toFloat32(values.get(maxima)!).filter((value, index) => value !== 0 && value !== own[index]);
            expect(others, maxima).toHaveLength(0);
          }
          for (const { name, cosine } of compareOutputs(values, reference, maximaOf)) {
            if (fastMath === MATMULT_FP16) expect(cosine, `${name}, seed ${seed}`).toBeGreaterThanOrEqual(LEAST_COSINE);
            const before = losses.get(name) ?? { ours: 0, host: 0 };
            const other = host.find((each) => each.name === name)?.cosine ?? 1;
            losses.set(name, { ours: Math.max(before.ours, 1 - cosine), host: Math.max(before.host, 1 - other) });
          }
        }
        // These networks were not trained for BF16: the measure is what ONNX Runtime loses with every value rounded.
        for (const [name, { ours, host }] of fastMath === ALL ? losses : []) {
          expect(ours, name).toBeLessThanOrEqual(Math.max(NETWORK_LOSS, FRAMEWORK_FACTOR * host));
        }
        await compiled.dispose();
      }
      await session.dispose();
      await rounded.dispose();
    },
    180_000,
  );
});
