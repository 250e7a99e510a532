import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compareOutputs, compileNetwork, MATMULT_FP16, referenceSession, roundedSession } from "./support.js";
import { detectorFolder, detectorInputs, detectors } from "./voice.js";

describe.skipIf(!existsSync(detectorFolder))(`voice activity detectors (skipped where @ricky0123/vad-web is not installed)`, () => {
  for (const detector of detectors) {
    it.each([16_000, 8000])(`${detector.file}, %i samples a second`, { timeout: 60_000 }, async (rate) => {
      const path = `${detectorFolder}/${detector.file}`;
      const { inputs, sr } = detectorInputs(detector, rate);
      const inputShapes = new Map([...inputs].map(([name, { shape }]) => [name, shape]));
      const session = await referenceSession(path);
      const expected = await session.run(new Map([...inputs, ["sr", sr]]));
      await session.dispose();

      // The rate known: one branch is left, wholly on NeuronCores. Logarithms of almost nothing make much of what FP16 factors lose, in
      // ONNX Runtime as well: it is asked for the same.
      const binding = { inputShapes, inputValues: new Map([["sr", sr]]) };
      const rounded = await roundedSession(path, "float16", binding);
      const wanted = await rounded.run(inputs);
      await rounded.dispose();
      const known = await compileNetwork(path, { fastMath: MATMULT_FP16, ...binding });
      expect(known.report.subgraphs.map(({ device }) => device)).toEqual(["neuron"]);
      for (const { name, cosine } of compareOutputs(await known.model.run(inputs), wanted)) expect(cosine, name).toBeGreaterThan(0.9995);
      await known.dispose();

      // The rate an input: conditions that the data decide are the host's.
      const open = await compileNetwork(path, { inputShapes });
      for (const { name, maxAbs } of compareOutputs(await open.model.run(new Map([...inputs, ["sr", sr]])), expected)) {
        expect(maxAbs, name).toBeLessThan(1e-5);
      }
      await open.dispose();
    });
  }
});
