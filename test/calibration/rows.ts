/** Published measurements, as rows to predict. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type InstanceName, instanceNames } from "../../src/hardware/hardware.js";

export interface CalibrationRow {
  readonly label: string;
  /** Of `models/networks.ts`. */
  readonly network: string;
  /** Tokens of an item, of networks that read text. */
  readonly sequence?: number;
  readonly batch: number;
  readonly fastMath: string;
  readonly instance: InstanceName;
  /** Cores of one copy. */
  readonly pipelineCores: number;
  readonly replicas: number;
  readonly inFlight: number;
  readonly userBatch: number;
  /** Items a second, as published. */
  readonly throughput: number;
  readonly latencyMs?: number;
}

/** Our generated network of the same architecture, by how the published row names it. */
const networkOf: readonly (readonly [RegExp, string])[] = [
  [/^ResNet-?18\b/i, "resnet18"],
  [/^ResNet-?50\b/i, "resnet50"],
  [/^ResNet-?101\b/i, "resnet101"],
  [/^ResNet-?152\b/i, "resnet152"],
  [/^MobileNet[ -]?V2\b/i, "mobilenet_v2"],
  [/^VGG-?16\b/i, "vgg16"],
  [/^ViT[ -]B(ase)?[ /-]?(patch)?16\b/i, "vit_b_16"],
  [/^DistilBERT\b/i, "distilbert"],
  [/^BERT[ -]base\b/i, "bert_base"],
  [/^BERT[ -]large\b/i, "bert_large"],
  [/MiniLM\b/i, "minilm"],
  [/^GPT-?2\b/i, "gpt2_blocks"],
];

/** The name in `models/networks.ts` of a published model; undefined where there is none. */
export function generatedNetwork(model: string): string | undefined {
  return networkOf.find(([pattern]) => pattern.test(model))?.[1];
}

export const calibrationFile = join(import.meta.dirname, "../../../../shared/reference/inf1-calibration.csv");

export interface Calibration {
  readonly rows: readonly CalibrationRow[];
  /** Why other rows of the file can't be predicted. */
  readonly skipped: readonly string[];
}

/** The rows of the file; none if it is not there. */
export function readCalibration(file = calibrationFile): Calibration {
  return existsSync(file) ? parseCalibration(readFileSync(file, "utf8")) : { rows: [], skipped: [`there is no ${file}`] };
}

export function parseCalibration(text: string): Calibration {
  const [header, ...lines] = text.trim().split(/\r?\n/);
  const columns = header.split(",");
  const read = lines.map((line) => row(new Map(line.split(",").map((value, index) => [columns[index], value.trim()]))));
  return {
    rows: read.filter((each) => typeof each !== "string"),
    skipped: read.filter((each) => typeof each === "string"),
  };
}

/** The row, or why it can't be predicted. */
function row(cells: ReadonlyMap<string, string>): CalibrationRow | string {
  const text = (name: string) => cells.get(name) ?? "";
  const number = (name: string) => Number(text(name));
  const batch = number("compiled_batch");
  const label = `${text("model")}, batch ${batch}, ${text("cores_used")} core(s)`;
  const network = generatedNetwork(text("model"));
  if (network === undefined) return `${label}: there is no generated network of that name`;
  const instance = instanceNames.find((name) => name === text("instance"));
  if (instance === undefined) return `${label}: ${text("instance")} is none of ${instanceNames.join(", ")}`;
  const replicas = Number(/^(\d+)/.exec(text("mode"))?.[1] ?? 1);
  const clients = text("clients");
  const tokens = /^(\d+) tokens/.exec(text("input"))?.[1];
  return {
    label,
    network,
    ...(tokens === undefined ? {} : { sequence: Number(tokens) }),
    batch,
    fastMath: text("dtype").startsWith("fp16") ? "fp32-cast-all-fp16" : "all",
    instance,
    pipelineCores: number("cores_used") / replicas,
    replicas,
    inFlight: Number(/^(\d+)/.exec(clients)?.[1] ?? 1),
    userBatch: batch * Number(/user batch (\d+)x/.exec(clients)?.[1] ?? 1),
    throughput: number("throughput_per_s"),
    ...(text("latency_p50_ms") === "" ? {} : { latencyMs: number("latency_p50_ms") }),
  };
}
