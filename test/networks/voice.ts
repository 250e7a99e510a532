/** The voice activity detectors of `@ricky0123/vad-web`: convolutions and an LSTM in branches of nested Ifs, by the sampling rate, an input. */
import { fileURLToPath } from "node:url";
import { floatTensor, type Tensor } from "../../src/index.js";

/** Where the package keeps them; tests run from sources, benchmarks from what is built of them. */
export const detectorFolder = fileURLToPath(
  new URL("../../node_modules/@ricky0123/vad-web/dist", import.meta.url).href.replace("/dist/node_modules/", "/node_modules/"),
);

export interface Detector {
  readonly file: string;
  readonly states: Readonly<Record<string, readonly number[]>>;
  /** Samples of a call at 16 kHz. */
  readonly samples: number;
}

export const detectors: readonly Detector[] = [
  { file: "silero_vad_v6.onnx", states: { state: [2, 1, 128] }, samples: 512 },
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

/** Sound of so many samples a second, and states as they may come from a call before; the rate apart. */
export function detectorInputs({ states, samples }: Detector, rate: number): { inputs: Map<string, Tensor>; sr: Tensor } {
  const start = Object.entries(states).map(([name, shape]) => {
    const values = Float32Array.from({ length: shape.reduce((size, extent) => size * extent) }, (_, index) => Math.sin(index) / 4);
    return [name, floatTensor(shape, values)] as const;
  });
  const sr: Tensor = { dtype: "int64", shape: [], data: BigInt64Array.of(BigInt(rate)) };
  return { inputs: new Map([["input", voice((samples * rate) / 16_000, rate)], ...start]), sr };
}
