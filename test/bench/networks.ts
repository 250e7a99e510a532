/** Values of whole networks at their full sizes against ONNX Runtime in FP32, by `--fast-math`: what rounding costs, and where it is computed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networks } from "../../models/networks.js";
import type { HostSession } from "../../src/host/index.js";
import { type CompileOptions, elementCount, type Tensor } from "../../src/index.js";
import { NETWORK_LOSS } from "../../src/operators/exactness.js";
import type { BindOptions } from "../../src/passes/index.js";
import { FRAMEWORK_FACTOR } from "../conformance/judge.js";
import { seededInputs } from "../networks/inputs.js";
import { inputOf, mlsd, type Pretrained, recogniser, withDense } from "../networks/pretrained.js";
import { ALL, compareOutputs, compileNetwork, MATMULT_FP16, referenceSession, roundedSession, storedSession } from "../networks/support.js";
import { type Detector, detectorFolder, detectorInputs, detectors } from "../networks/voice.js";
import { withNetwork } from "./network.js";
import { type Measured, type Row, row } from "./rows.js";

const GENERATED = ["bert_base", "distilbert", "minilm", "vit_b_16", "gpt2_blocks", "lstm_tagger"];
const SEEDS = [0, 1];
const RATE = 16_000;

/** Share of a network's operations that may be the host's. */
const HOST_SHARE = 0.05;

interface Subject {
  readonly name: string;
  readonly path: string;
  readonly binding: BindOptions & CompileOptions;
  /** Requests on the compiled network; `fixed` are inputs that it was compiled for. */
  readonly requests: readonly Map<string, Tensor>[];
  readonly fixed: ReadonlyMap<string, Tensor>;
  readonly maximaOf?: Pretrained["maximaOf"];
}

interface Mode {
  readonly words: readonly string[];
  /** ONNX Runtime with values rounded as the mode may round them. */
  readonly measure: (path: string, binding: BindOptions) => Promise<HostSession>;
}

const modes: readonly Mode[] = [
  { words: ALL, measure: (path, binding) => storedSession(path, "bfloat16", binding) },
  { words: MATMULT_FP16, measure: (path, binding) => roundedSession(path, "float16", binding) },
];

function ofImages(network: Pretrained): Subject {
  const { name, path, input, shape, maximaOf } = network;
  const requests = SEEDS.map((seed) => inputOf(network, seed));
  return { name, path, binding: { inputShapes: new Map([[input, shape]]) }, requests, fixed: new Map(), maximaOf };
}

function ofVoice(detector: Detector): Subject {
  const { inputs, sr } = detectorInputs(detector, RATE);
  const fixed = new Map([["sr", sr]]);
  const inputShapes = new Map([...inputs].map(([name, { shape }]) => [name, shape]));
  const path = join(detectorFolder, detector.file);
  return { name: detector.file, path, binding: { inputShapes, inputValues: fixed }, requests: [inputs], fixed };
}

export async function wholeNetworks(): Promise<Measured> {
  const rows: Row[] = [];
  for (const name of GENERATED) {
    // The last text is padded.
    const requests = SEEDS.map((seed) => seededInputs(networks[name]({ batch: 1 }), seed, seed === SEEDS[SEEDS.length - 1]));
    rows.push(...(await withNetwork(name, (path) => rowsOf({ name, path, binding: {}, requests, fixed: new Map() }))));
  }
  const pretrained = [recogniser, ...[320, 512].flatMap((size) => [mlsd(size, "tiny"), mlsd(size, "large")])];
  const folder = mkdtempSync(join(tmpdir(), "neuronc-bench-"));
  for (const network of pretrained) rows.push(...(await rowsOf(ofImages(await withDense(network, folder)))));
  rmSync(folder, { recursive: true });
  for (const detector of detectors) rows.push(...(await rowsOf(ofVoice(detector))));
  return { rows };
}

async function rowsOf(subject: Subject): Promise<Row[]> {
  const { name, path, binding, requests, fixed, maximaOf } = subject;
  const references = await outputsOf(
    await referenceSession(path),
    requests.map((inputs) => new Map([...inputs, ...fixed])),
  );
  const rows: Row[] = [];
  for (const { words, measure } of modes) {
    const work = `${name}, --fast-math ${words.join(" ")}`;
    const { report, model, dispose } = await compileNetwork(path, { ...binding, fastMath: words });
    const values: Map<string, Tensor>[] = [];
    for (const inputs of requests) values.push(await model.run(inputs));
    await dispose();
    const rounded = await outputsOf(await measure(path, binding), requests);
    const [ours, host] = [values, rounded].map((all) => greatestLosses(all, references, maximaOf));
    for (const [output, { kind, loss }] of ours) {
      const peer = host.get(output)?.loss ?? 0;
      const limit = kind === "1 - cosine" ? Math.max(NETWORK_LOSS, FRAMEWORK_FACTOR * peer) : undefined;
      rows.push({ ...row(`${work}, ${output}, ${kind}`, "", loss, limit), peers: { "onnxruntime, rounded": peer } });
    }
    const onNeuron = report.subgraphs.filter(({ device }) => device === "neuron").length;
    rows.push(
      row(`${work}, Neuron subgraphs`, "", onNeuron, 1),
      row(`${work}, operations on the host`, "%", 100 * (1 - report.flopsOnNeuron), 100 * HOST_SHARE),
    );
  }
  return rows;
}

async function outputsOf(session: HostSession, requests: readonly Map<string, Tensor>[]): Promise<Map<string, Tensor>[]> {
  const outputs: Map<string, Tensor>[] = [];
  for (const inputs of requests) outputs.push(await session.run(inputs));
  await session.dispose();
  return outputs;
}

interface Loss {
  /** A single value has no direction: its error is told, without a limit. */
  readonly kind: "1 - cosine" | "error of its one value";
  readonly loss: number;
}

/** By output, the greatest over all requests. */
function greatestLosses(
  values: readonly Map<string, Tensor>[],
  references: readonly Map<string, Tensor>[],
  maximaOf: Pretrained["maximaOf"],
): Map<string, Loss> {
  const losses = new Map<string, Loss>();
  for (const [index, outputs] of values.entries()) {
    for (const { name, cosine, maxAbs } of compareOutputs(outputs, references[index], maximaOf)) {
      const single = elementCount(outputs.get(name)?.shape ?? []) === 1;
      const loss = Math.max(losses.get(name)?.loss ?? 0, single ? maxAbs : 1 - cosine);
      losses.set(name, { kind: single ? "error of its one value" : "1 - cosine", loss });
    }
  }
  return losses;
}
