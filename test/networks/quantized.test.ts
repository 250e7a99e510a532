import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { seeded } from "../../src/graph/random.js";
import { parseGraph } from "../../src/graph/text.js";
import { floatTensor, toFloat32 } from "../../src/index.js";
import { ALL, compileNetwork, referenceSession } from "./support.js";

const SCALE = 0.02;

/** Convolution, pooling, a residual addition and a matrix product, a quantizer and a dequantizer around each. */
function quantizedGraph(): string {
  const random = seeded(5);
  const list = (count: number, make: () => number) => `[${Array.from({ length: count }, make).join(", ")}]`;
  const integers = (count: number) => list(count, () => Math.floor(255 * random()) - 127);
  const scales = (count: number) => list(count, () => Math.fround(0.001 + 0.002 * random()));
  const zeros = (count: number) => list(count, () => 0);
  const convolution = (name: string, from: string, channels: number) => `
  const %${name}w: int8[16, ${channels}, 3, 3] = ${integers(16 * channels * 9)}
  const %${name}ws: float32[16] = ${scales(16)}
  const %${name}wz: int8[16] = ${zeros(16)}
  const %${name}b: float32[16] = ${list(16, () => Math.fround(random() - 0.5))}
  %${name}wd: float32[16, ${channels}, 3, 3] = DequantizeLinear(%${name}w, %${name}ws, %${name}wz) {axis = 0} @${name}wd
  %${name}c: float32[1, 16, 8, 8] = Conv(%${from}, %${name}wd, %${name}b) {pads = [1, 1, 1, 1], kernel_shape = [3, 3]} @${name}c
  %${name}q: uint8[1, 16, 8, 8] = QuantizeLinear(%${name}c, %s, %z) @${name}q
  %${name}: float32[1, 16, 8, 8] = DequantizeLinear(%${name}q, %s, %z) @${name}`;
  return `graph "quantized" {
  input %x: float32[1, 3, 8, 8]
  const %s: float32[] = [${SCALE}]
  const %z: uint8[] = [120]
  %xq: uint8[1, 3, 8, 8] = QuantizeLinear(%x, %s, %z) @xq
  %xd: float32[1, 3, 8, 8] = DequantizeLinear(%xq, %s, %z) @xd${convolution("first", "xd", 3)}${convolution("second", "first", 16)}
  %sum: float32[1, 16, 8, 8] = Add(%first, %second) @sum
  %sumq: uint8[1, 16, 8, 8] = QuantizeLinear(%sum, %s, %z) @sumq
  %sumd: float32[1, 16, 8, 8] = DequantizeLinear(%sumq, %s, %z) @sumd
  %mean: float32[1, 16, 1, 1] = GlobalAveragePool(%sumd) @mean
  %meanq: uint8[1, 16, 1, 1] = QuantizeLinear(%mean, %s, %z) @meanq
  %meand: float32[1, 16, 1, 1] = DequantizeLinear(%meanq, %s, %z) @meand
  %flat: float32[1, 16] = Flatten(%meand) @flat
  const %v: int8[10, 16] = ${integers(160)}
  const %vs: float32[10] = ${scales(10)}
  const %vz: int8[10] = ${zeros(10)}
  %vd: float32[10, 16] = DequantizeLinear(%v, %vs, %vz) {axis = 0} @vd
  %y: float32[1, 10] = Gemm(%flat, %vd) {transB = 1} @y
  %yq: uint8[1, 10] = QuantizeLinear(%y, %s, %z) @yq
  %scores: float32[1, 10] = DequantizeLinear(%yq, %s, %z) @scores
  output %sumd
  output %scores
}
`;
}

describe("a quantized network", () => {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-quantized-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("has the integers of ONNX Runtime with every value rounded to BF16, but for one step in a hundred places", async () => {
    const path = join(folder, "network.onnx");
    writeFileSync(path, writeOnnx(parseGraph(quantizedGraph())));
    const network = await compileNetwork(path, { fastMath: ALL });
    const session = await referenceSession(path);
    const random = seeded(6);
    let [places, steps] = [0, 0];
    for (let run = 0; run < 4; run++) {
      const x = floatTensor(
        [1, 3, 8, 8],
        Float32Array.from({ length: 192 }, () => 4 * random() - 2),
      );
      const got = await network.model.run(new Map([["x", x]]));
      const expected = await session.run(new Map([["x", x]]));
      for (const name of ["sumd", "scores"]) {
        const reference = toFloat32(expected.get(name)!);
        toFloat32(got.get(name)!).forEach((value, index) => {
          const difference = Math.abs(value - reference[index]) / SCALE;
          expect(difference).toBeLessThan(2.01);
          places++;
          steps += Math.round(difference);
        });
      }
    }
    await network.dispose();
    expect(steps / places).toBeLessThan(0.01);
  });
});
