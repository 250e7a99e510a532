import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type NetworkOptions, networks } from "../../models/networks.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { seededInputs } from "./inputs.js";
import { ALL, compareOutputs, compileNetwork, LEAST_COSINE, MATMULT_FP16, referenceSession } from "./support.js";

/** At their full sizes, but for MiniLM, they are for the benchmark `networks`. */
const forms: Readonly<Record<string, NetworkOptions>> = {
  minilm: {},
  bert_base: { layers: 2, sequence: 32 },
  distilbert: { layers: 2, sequence: 32 },
  vit_b_16: { layers: 1 },
  gpt2_blocks: { layers: 2, sequence: 32 },
  lstm_tagger: { sequence: 12 },
};

describe("generated transformers and the tagger against ONNX Runtime", () => {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-transformers-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(Object.entries(forms))(
    "%s %o: one Neuron subgraph, every output, in BF16 and with matmults in FP16",
    async (name, form) => {
      const graph = networks[name]({ ...form, batch: 1 });
      const path = join(folder, `${name}.onnx`);
      writeFileSync(path, writeOnnx(graph));
      const inputs = seededInputs(graph, 0, true);
      const session = await referenceSession(path);
      const reference = await session.run(inputs);
      await session.dispose();
      for (const fastMath of [ALL, MATMULT_FP16]) {
        const { report, model, dispose } = await compileNetwork(path, { fastMath });
        expect(report.subgraphs.filter(({ device }) => device === "neuron")).toHaveLength(1);
        expect(report.flopsOnNeuron).toBeGreaterThanOrEqual(0.95);
        const errors = compareOutputs(await model.run(inputs), reference);
        expect(errors.map((error) => error.name).sort()).toEqual([...graph.outputs].sort());
        for (const { name: output, cosine, peak } of errors) {
          expect(peak, output).toBeGreaterThan(0.1);
          expect(cosine, `${output}, ${fastMath}`).toBeGreaterThanOrEqual(LEAST_COSINE);
        }
        await dispose();
      }
    },
    120_000,
  );
});
