/** Published measurements, as rows to predict. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type InstanceName, instanceNames } from "../../src/hardware/hardware.js";

export interface CalibrationRow {
  readonly label: string;
  /** Of `models/networks.ts`. */
  readonly network: string;
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
  [/^ResNet-50/, "resnet50"],
  [/^DistilBERT/, "distilbert"],
  [/^BERT-base/, "bert_base"],
  [/^BERT-large/i, "bert_large"],
];

export const calibrationFile = join(import.meta.dirname, "../../../../shared/reference/inf1-calibration.csv");

/** The rows of the file; none if it is not there. */
export function calibrationRows(file = calibrationFile): CalibrationRow[] {
  if (!existsSync(file)) return [];
  const [header, ...lines] = readFileSync(file, "utf8").trim().split("\n");
  const columns = header.split(",");
  return lines.map((line) => row(new Map(line.split(",").map((value, index) => [columns[index], value.trim()]))));
}

function row(cells: ReadonlyMap<string, string>): CalibrationRow {
  const text = (name: string) => cells.get(name) ?? "";
  const number = (name: string) => Number(text(name));
  const network = networkOf.find(([pattern]) => pattern.test(text("model")))?.[1];
  const instance = instanceNames.find((name) => name === text("instance"));
  if (!network || !instance) throw new Error(`no network or instance for the row ${[...cells.values()].join(",")}`);
  const replicas = Number(/^(\d+)/.exec(text("mode"))?.[1] ?? 1);
  const batch = number("compiled_batch");
  const clients = text("clients");
  return {
    label: `${text("model")}, batch ${batch}, ${text("cores_used")} core(s)`,
    network,
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
