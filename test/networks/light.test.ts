import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { importModel, readTensorProto, writeOnnx } from "../../src/frontend/index.js";
import { compareTensors, floatTensor, toFloat32 } from "../../src/index.js";
import { ALL, compileNetwork, referenceSession } from "./support.js";

const light = fileURLToPath(new URL("../../../shared/onnx-light-models/", import.meta.url));
const COUNT = 3 * 224 * 224;
const image = floatTensor(
  [1, 3, 224, 224],
  Float32Array.from({ length: COUNT }, (_, index) => index / COUNT),
);

describe.skipIf(!existsSync(light))("ONNX light models (skipped without ../shared)", () => {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-light-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(["light_resnet50", "light_squeezenet"])(
    "%s: the expected output, and inner tensors within BF16 error",
    async (name) => {
      const original = join(light, `${name}.onnx`);
      const { graph } = await importModel(original);
      const pool = graph.nodes.findLast(({ op }) => /Pool/.test(op));
      const softmax = graph.nodes.findLast(({ op }) => op === "Softmax");
      const inner = [pool?.outputs[0], softmax?.inputs[0]].filter((value): value is string => value !== undefined);
      expect(inner.length).toBeGreaterThan(0);
      const layers = graph.nodes.filter(({ op }) => op === "Conv" || op === "Gemm").length;
      const path = join(folder, `${name}.onnx`);
      writeFileSync(path, writeOnnx({ ...graph, outputs: [...new Set([...graph.outputs, ...inner])] }));
      const inputs = new Map([[graph.inputs[0], image]]);
      const plain = await compileNetwork(original, { fastMath: ALL });
      expect(plain.report.subgraphs.map(({ device }) => device)).toEqual(["neuron"]);
      expect(plain.report.operators.filter(({ device }) => device === "cpu")).toEqual([]);
      const output = (await plain.model.run(inputs)).get(graph.outputs[0])!;
      await plain.dispose();
      const expected = readTensorProto(readFileSync(join(light, `${name}_output_0.pb`))).tensor;
      const wanted = toFloat32(expected);
      toFloat32(output).forEach((value, index) => {
        expect(Math.abs(value - wanted[index])).toBeLessThanOrEqual(1e-7 + 1e-3 * Math.abs(wanted[index]));
      });
      const session = await referenceSession(path);
      const reference = await session.run(inputs);
      const compiled = await compileNetwork(path, { fastMath: ALL });
      const values = await compiled.model.run(inputs);
      for (const value of inner) {
        const { maxRel, cosine, peak } = compareTensors(value, values.get(value)!, reference.get(value)!);
        expect(peak).toBeGreaterThan(0);
        // Each layer rounds its result to BF16, u = 2^-8, at most; errors of equal weights all go one way.
        expect(maxRel, value).toBeLessThanOrEqual(layers * 2 ** -8);
        expect(cosine, value).toBeGreaterThanOrEqual(0.9999);
      }
      await compiled.dispose();
      await session.dispose();
    },
    60_000,
  );
});
