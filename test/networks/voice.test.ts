/** The voice activity detectors of `@ricky0123/vad-web`: convolutions and an LSTM in branches of nested Ifs, by the sampling rate, an input. */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { floatTensor, type Tensor } from "../../src/index.js";
import { compareOutputs, compileNetwork, MATMULT_FP16, referenceSession, roundedSession } from "./support.js";

const folder = "node_modules/@ricky0123/vad-web/dist";

interface Detector {
  readonly file: string;
  readonly states: Readonly<Record<string, readonly number[]>>;
  /** Samples of a call at 16 kHz. */
  readonly samples: number;
}

const detectors: readonly Detector[] = [
  { file: "silero_vad_v5.onnx", states: { state: [2, 1, 128] }, samples: 512 },
  { file: "silero_vad_legacy.onnx", states: { h: [2, 1, 64], c: [2, 1, 64] }, samples: 1536 },
];

/** Harmonics of a voice, louder and softer. */
function voice(samples: number, rate: number): Tensor {
  const wave = Float32Array.from({ length: samples }, (_, index) => {
    const time = index / rate;
    const tones = [1, 2, 3, 5, 8].map((harmonic) => Math.sin(2 * Math.PI * 140 * harmonic * time + harmonic) / harmonic);
    return 0.12 * tones.reduce((sum, tone) => sum + tone) * (1 + 0.5 * Math.sin(2 * Math.PI * 9 * time));
  });
  return floatTensor([1, samples], wave);
}

describe.skipIf(!existsSync(folder))(`voice activity detectors (skipped where ${folder} is not installed)`, () => {
  for (const { file, states, samples } of detectors) {
    it.each([16_000, 8000])(`${file}, %i samples a second`, { timeout: 60_000 }, async (rate) => {
      const path = `${folder}/${file}`;
      const count = (samples * rate) / 16_000;
      const sr: Tensor = { dtype: "int64", shape: [], data: BigInt64Array.of(BigInt(rate)) };
      const start = Object.entries(states).map(([name, shape]) => {
        const values = Float32Array.from({ length: shape.reduce((size, extent) => size * extent) }, (_, index) => Math.sin(index) / 4);
        return [name, floatTensor(shape, values)] as const;
      });
      const inputs = new Map<string, Tensor>([["input", voice(count, rate)], ...start]);
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
