/**
 * One test folder through compile and run, as the compiler places it and with all that can be on the NeuronCore. There, inputs that only
 * say what to do (axes, shapes) are fixed at compile time, as `--input-value` does.
 */
import { importModel } from "../../src/frontend/index.js";
import type { Graph } from "../../src/graph/graph.js";
import { fromBfloat16Bits, isFloat, numberAt, toBfloat16Bits } from "../../src/graph/tensor.js";
import { runGraph } from "../../src/host/index.js";
import {
  type CompileOptions,
  type CompileReport,
  checkModel,
  compareTensors,
  compileModel,
  fromNumbers,
  loadModel,
  type Tensor,
  toNumbers,
  UserError,
} from "../../src/index.js";
import { parameterInputs, recordOf } from "../../src/operators/index.js";
import { type Case, type DataSet, readCase } from "./cases.js";
import { findFault, type Tolerance } from "./judge.js";

export type Device = "neuron" | "cpu" | "mixed";

/** The result of one test. */
export interface TestRow {
  readonly name: string;
  readonly status: "passed" | "failed" | "refused";
  readonly device: Device;
  /** What went wrong, or why operators are on the CPU. */
  readonly reason?: string;
  /** Greatest errors of both runs. */
  readonly maxAbs?: number;
  readonly maxRel?: number;
  readonly seconds: number;
  /** Types of the model's operators, each once, with the device of the forced run. */
  readonly operators: readonly { readonly type: string; readonly device: "neuron" | "cpu" }[];
}

type Place = "placed" | "forced";

interface Run {
  readonly report: CompileReport;
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/** Contractions: their rounding error is bounded by the same contraction of absolute values. */
const contractions = new Set(["Conv", "ConvTranspose", "Gemm", "MatMul"]);

/** Sums of large terms that cancel: an element's error is to be seen against the greatest one. */
const transforms = new Set(["DFT", "STFT"]);

/** Of a test with operators on the CPU. */
const MOST_REASONS = 3;

const BFLOAT16_UNIT = 2 ** -8;

/** Runs a test folder. Never throws for what the model or the product does. */
export async function checkCase(folder: string, name: string): Promise<TestRow> {
  const state: State = { device: "cpu", operators: [], maxAbs: 0, maxRel: 0 };
  const row = (status: TestRow["status"], reason?: string): TestRow => {
    const { device, operators, maxAbs, maxRel } = state;
    return {
      name,
      status,
      device,
      ...(reason ? { reason } : {}),
      ...(status === "refused" ? {} : { maxAbs, maxRel }),
      seconds: 0,
      operators,
    };
  };
  try {
    const test = readCase(folder);
    const { graph: imported } = await importModel(test.model);
    state.operators = [...new Set(imported.nodes.map((node) => node.op))].map((type) => ({ type, device: "cpu" }));
    if (test.sets.length === 0) return row("failed", "it has no data set");
    for (const set of test.sets) {
      const fault = await checkSet(test, imported, set, state);
      if (fault !== undefined) return row("failed", fault);
    }
    return row("passed", state.reason);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return error instanceof UserError ? row("refused", message) : row("failed", `internal error: ${message}`);
  }
}

/** What is known of a test so far. */
interface State {
  device: Device;
  operators: TestRow["operators"];
  reason?: string;
  maxAbs: number;
  maxRel: number;
}

/** Why a data set's outputs are wrong; undefined if they are right. Throws UserError where the product refuses the model. */
async function checkSet(test: Case, imported: Graph, set: DataSet, state: State): Promise<string | undefined> {
  const inputs = new Map(imported.inputs.flatMap((name, index) => (index < set.inputs.length ? [[name, set.inputs[index]] as const] : [])));
  const inputShapes = new Map([...inputs].map(([name, { shape }]) => [name, shape]));
  const fixed = new Set(parameterInputs(imported));
  const inputValues = new Map([...inputs].filter(([name]) => fixed.has(name)));
  const { operators } = await checkModel(test.model, { inputShapes, inputValues });
  const supported = operators.flatMap((operator) => (operator.supported ? [operator.name] : []));
  const options: Record<Place, CompileOptions> = {
    forced: { inputShapes, inputValues, forceFuseOps: supported, minimumSegmentSize: 1, fastMath: ["none"] },
    placed: { inputShapes },
  };
  for (const place of ["forced", "placed"] as const) {
    const { report, outputs } = await run(test.model, options[place], inputs);
    if (place === "forced") note(report, state);
    for (const [index, output] of imported.outputs.entries()) {
      const value = outputs.get(output);
      const expected = set.outputs[index];
      if (!value || !expected) return `${place}: output ${output} is missing`;
      const fault = await judge(test, imported, inputs, { report, place, output, value, expected });
      if (fault !== undefined) return `${place}: ${fault}`;
      if (Array.isArray(value.data) || /^(complex|float8|float4)/.test(value.dtype)) continue;
      const { maxAbs, maxRel } = compareTensors(output, value, expected);
      state.maxAbs = Math.max(state.maxAbs, maxAbs);
      state.maxRel = Math.max(state.maxRel, maxRel);
    }
  }
  return undefined;
}

async function run(model: string, options: CompileOptions, inputs: ReadonlyMap<string, Tensor>): Promise<Run> {
  const { report, bytes } = await compileModel(model, { ...options, verifyEach: true });
  const loaded = await loadModel(bytes, { threads: 1 });
  try {
    const names = new Set(loaded.signature.inputs.map(({ name }) => name));
    return { report, outputs: await loaded.run(new Map([...inputs].filter(([name]) => names.has(name)))) };
  } finally {
    await loaded.dispose();
  }
}

/** Keeps where the forced run put the operators, and why not all are on the NeuronCore. */
function note({ operators, subgraphs }: CompileReport, state: State): void {
  const onNeuron = subgraphs.some(({ device }) => device === "neuron");
  const onHost = subgraphs.some(({ device }) => device === "cpu");
  state.device = onNeuron ? (onHost ? "mixed" : "neuron") : "cpu";
  const types = [...new Set(operators.map(({ type }) => type))];
  state.operators = types.map((type) => {
    const all = operators.filter((operator) => operator.type === type);
    return { type, device: onNeuron && all.every(({ device }) => device === "neuron") ? "neuron" : "cpu" };
  });
  const reasons = operators.flatMap(({ device, type, reason }) => (device === "cpu" && reason ? [`${type}: ${reason}`] : []));
  state.reason = [...new Set(reasons)].slice(0, MOST_REASONS).join("; ") || (subgraphs.length === 0 ? "folded at compile time" : undefined);
}

interface Result {
  readonly report: CompileReport;
  readonly place: Place;
  readonly output: string;
  readonly value: Tensor;
  readonly expected: Tensor;
}

/**
 * Compares an output under the class of the run. The forced run rounds matmult operands alone. The placed one stores every tensor in
 * bfloat16: its cosine counts, or, where the function magnifies the rounding of its inputs, the host's value on rounded inputs.
 */
async function judge(test: Case, graph: Graph, inputs: ReadonlyMap<string, Tensor>, result: Result): Promise<string | undefined> {
  const { report, place, output, value, expected } = result;
  const classes = graph.nodes.map((node) => recordOf(node.op, node.domain)?.exactness ?? "fp32");
  const rounds = classes.includes("rounded");
  const onNeuron = report.subgraphs.some(({ device }) => device === "neuron");
  const sums = graph.nodes.some(({ op }) => transforms.has(op));
  const plain: Tolerance = { kind: classes.every((kind) => kind === "exact") ? "exact" : "fp32", ...(sums ? { sums } : {}) };
  if (!onNeuron || (place === "forced" && !rounds)) return findFault(output, value, expected, plain);
  if (graph.nodes.length === 1 && contractions.has(graph.nodes[0].op)) {
    const positive = { ...graph, constants: mapTensors(graph.constants, absolute) };
    const magnitude = await reference(positive, mapTensors(inputs, absolute), output);
    if (magnitude) return findFault(output, value, expected, { kind: "rounded", magnitude, unit: BFLOAT16_UNIT });
  }
  const network = findFault(output, value, expected, { kind: "network", bfloat16Cosine: test.bfloat16Cosine });
  if (place === "forced" || network === undefined) return network;
  const rounded = await reference(graph, mapTensors(inputs, roundToBfloat16), output);
  if (!rounded) return network;
  const unit = BFLOAT16_UNIT;
  return findFault(output, value, rounded, { kind: "rounded", magnitude: rounded, unit }) === undefined ? undefined : network;
}

/** The host's value of an output; undefined where ONNX Runtime can't run the model as it stands. */
async function reference(graph: Graph, inputs: ReadonlyMap<string, Tensor>, output: string): Promise<Tensor | undefined> {
  try {
    return (await runGraph(graph, inputs)).get(output);
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

function mapTensors(tensors: ReadonlyMap<string, Tensor>, change: (tensor: Tensor) => Tensor): Map<string, Tensor> {
  return new Map([...tensors].map(([name, tensor]) => [name, change(tensor)]));
}

function absolute(tensor: Tensor): Tensor {
  return isFloat(tensor.dtype) ? fromNumbers(tensor.dtype, tensor.shape, toNumbers(tensor).map(Math.abs)) : tensor;
}

/** FP32 values rounded to bfloat16; others as they are. */
function roundToBfloat16(tensor: Tensor): Tensor {
  if (tensor.dtype !== "float32") return tensor;
  const count = tensor.data.length;
  const values = Array.from({ length: count }, (_, index) => fromBfloat16Bits(toBfloat16Bits(numberAt(tensor, index))));
  return fromNumbers("float32", tensor.shape, values);
}
