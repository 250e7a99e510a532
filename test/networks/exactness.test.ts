import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { seeded } from "../../src/graph/random.js";
import { compileModel, floatTensor, loadModel, toFloat32 } from "../../src/index.js";
import { checkProgram } from "../../src/program/check.js";
import { GraphBuilder } from "../lower/build.js";

const { fround } = Math;
const bits = new Uint32Array(1);
const single = new Float32Array(bits.buffer);

/** To the nearest value of 8 significant bits, ties to even. */
function bfloat16(x: number): number {
  single[0] = x;
  bits[0] += 0x7fff + ((bits[0] >>> 16) & 1);
  bits[0] &= 0xffff0000;
  return single[0];
}

interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  readonly size: number;
  readonly weights: Float32Array;
  readonly bias: Float32Array;
  readonly relu: boolean;
}

/** Channels of one pass of the tensor engine. */
const TILE = 128;

/** A 3x3 convolution with padding 1, as documented: BF16 factors, FP32 sums over tiles of channels, in them over taps, the central one first. */
function convolve(x: Float32Array, { inputs, outputs, size, weights, bias, relu }: Layer): Float32Array {
  const taps = [4, 0, 1, 2, 3, 5, 6, 7, 8];
  const result = new Float32Array(outputs * size * size);
  for (let channel = 0; channel < outputs; channel++) {
    for (let y = 0; y < size; y++) {
      for (let column = 0; column < size; column++) {
        let sum = 0;
        const add = (tap: number, from: number) => {
          const [row, at] = [y + Math.floor(tap / 3) - 1, column + (tap % 3) - 1];
          if (row < 0 || row >= size || at < 0 || at >= size) return;
          for (let k = from; k < Math.min(inputs, from + TILE); k++) {
            sum = fround(sum + fround(bfloat16(x[(k * size + row) * size + at]) * bfloat16(weights[(channel * inputs + k) * 9 + tap])));
          }
        };
        for (let from = 0; from < inputs; from += TILE) for (const tap of taps) add(tap, from);
        const biased = fround(sum + bias[channel]);
        result[(channel * size + y) * size + column] = relu ? Math.max(0, biased) : biased;
      }
    }
  }
  return result;
}

const SIZE = 9;

function layer(inputs: number, outputs: number, relu: boolean, random: () => number): Layer {
  const numbers = (count: number, scale: number) => Float32Array.from({ length: count }, () => scale * (2 * random() - 1));
  return {
    inputs,
    outputs,
    size: SIZE,
    relu,
    weights: numbers(outputs * inputs * 9, 2 / Math.sqrt(9 * inputs)),
    bias: numbers(outputs, 0.5),
  };
}

describe("the simulator's bits", () => {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-exact-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  const random = seeded(11);
  const layers = [layer(20, 150, true, random), layer(150, 70, true, random), layer(70, 17, false, random)];
  const builder = new GraphBuilder();
  let value = builder.input("x", [1, 20, SIZE, SIZE]);
  for (const { inputs, outputs, weights, bias, relu } of layers) {
    const constants = [builder.constant(floatTensor([outputs, inputs, 3, 3], weights)), builder.constant(floatTensor([outputs], bias))];
    [value] = builder.node("Conv", [value, ...constants], { pads: [1, 1, 1, 1], kernel_shape: [3, 3] });
    if (relu) [value] = builder.node("Relu", [value]);
  }
  const path = join(folder, "network.onnx");
  const graph = builder.finish([value]);
  writeFileSync(path, writeOnnx({ ...graph, types: new Map([...graph.types, [value, { dtype: "float32", shape: [1, 17, SIZE, SIZE] }]]) }));
  const x = Float32Array.from({ length: 20 * SIZE * SIZE }, () => 4 * random() - 2);

  it.each([
    ["matrix multiplications", "none"],
    ["every value", "all"],
  ])("equal plain loops with %s in BF16, on 1 and 2 threads", async (_, fastMath) => {
    const stored = (values: Float32Array) => (fastMath === "all" ? values.map(bfloat16) : values);
    const expected = layers.reduce((values, each) => stored(convolve(values, each)), stored(x));
    const { artifact } = await compileModel(path, { fastMath: [fastMath] });
    for (const { program } of [...artifact.programs.values()].flat()) expect(checkProgram(program)).toEqual([]);
    for (const threads of [1, 2]) {
      const model = await loadModel(artifact, { threads });
      const outputs = await model.run(new Map([["x", floatTensor([1, 20, SIZE, SIZE], x)]]));
      await model.dispose();
      const got = toFloat32(outputs.get(value)!);
      expect(got.length).toBe(expected.length);
      expect(got.findIndex((each, index) => !Object.is(each + 0, expected[index] + 0))).toBe(-1);
    }
  });
});
