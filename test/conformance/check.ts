/**
 * One test through compile and run, as the compiler places it and with all that can be on the NeuronCore. There, inputs that only
 * say what to do (axes, shapes) are fixed at compile time, as `--input-value` does.
 */
import { importOptions } from "../../src/driver/checked.js";
import { importModel } from "../../src/frontend/index.js";
import { capturedValues, type Graph, indexGraph, type Node } from "../../src/graph/graph.js";
import { isFloat } from "../../src/graph/tensor.js";
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
import { unitRoundoff } from "../../src/operators/exactness.js";
import { exactnessOf, parameterInputs } from "../../src/operators/index.js";
import { type Half, parsePrecision } from "../../src/passes/index.js";
import { findFault, hasNumbers, type Tolerance } from "./judge.js";
import type { Case, DataSet, Place, Suite, TestSource, WantedOutput } from "./suite.js";
import { suites } from "./suites.js";

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
  /** The least cosine of a floating-point output of either run. */
  readonly cosine?: number;
  readonly seconds: number;
  /** Types of the model's operators, each once, with the device of the forced run. */
  readonly operators: readonly { readonly type: string; readonly device: "neuron" | "cpu" }[];
  /** Whether it is as the test wants it: passed, or refused where that is wanted. */
  readonly isFine: boolean;
}

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

/** Runs a test. Never throws for what the model or the product does. */
export async function checkCase({ suite: suiteName, name, path, fastMath }: TestSource): Promise<TestRow> {
  const suite = fastMath === undefined ? suites[suiteName] : { ...suites[suiteName], fastMath: { forced: fastMath, placed: fastMath } };
  const state: State = { device: "cpu", operators: [], maxAbs: 0, maxRel: 0, cosine: 1 };
  const row = (status: TestRow["status"], reason?: string, isFine = status === "passed"): TestRow => {
    const { device, operators, maxAbs, maxRel, cosine } = state;
    return {
      name,
      status,
      device,
      ...(reason ? { reason } : {}),
      ...(status === "refused" ? {} : { maxAbs, maxRel, cosine }),
      seconds: 0,
      operators,
      isFine,
    };
  };
  let refused: string | undefined;
  try {
    const test = suite.read(path);
    refused = test.refused;
    const { graph: imported, operators } = await importModel(test.model, importOptions(test.options));
    state.operators = [...new Set(operators.map(({ type }) => type))].map((type) => ({ type, device: "cpu" }));
    if (refused !== undefined) return row("failed", `it has to be refused: ${refused}`);
    const sets = test.sets(imported);
    if (sets.length === 0) return row("failed", "it has no data set");
    for (const set of sets) {
      const fault = await checkSet(suite, test, imported, set, state);
      if (fault !== undefined) return row("failed", fault);
    }
    return row("passed", state.reason);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (!(error instanceof UserError)) return row("failed", `internal error: ${message}`);
    if (refused === undefined || message.includes(refused)) return row("refused", message, refused !== undefined);
    return row("failed", `it has to be refused for its ${refused}, not for this: ${message}`);
  }
}

/** What is known of a test so far. */
interface State {
  device: Device;
  operators: TestRow["operators"];
  reason?: string;
  maxAbs: number;
  maxRel: number;
  cosine: number;
}

/** Why a data set's outputs are wrong; undefined if they are right. Throws UserError where the product refuses the model. */
async function checkSet(suite: Suite, test: Case, imported: Graph, set: DataSet, state: State): Promise<string | undefined> {
  const { inputs } = set;
  const inputShapes = new Map([...inputs].map(([name, { shape }]) => [name, shape]));
  const fixed = new Set(parameterInputs(imported));
  const inputValues = new Map([...inputs].filter(([name]) => fixed.has(name)));
  const { operators } = await checkModel(test.model, { ...test.options, inputShapes, inputValues });
  const supported = operators.flatMap((operator) => (operator.supported ? [operator.name] : []));
  const { fastMath } = suite;
  const options: Record<Place, CompileOptions> = {
    forced: { ...test.options, inputShapes, inputValues, forceFuseOps: supported, minimumSegmentSize: 1, fastMath: fastMath.forced },
    placed: { ...test.options, inputShapes, fastMath: fastMath.placed },
  };
  for (const place of ["forced", "placed"] as const) {
    const { report, outputs } = await run(test.model, options[place], inputs);
    if (place === "forced") note(report, state);
    for (const wanted of set.outputs) {
      const output = wanted.name;
      const value = outputs.get(output);
      if (!value) return `${place}: output ${output} is missing`;
      const expected = wanted.tensor(value.dtype);
      if (hasNumbers(value) && hasNumbers(expected) && `${value.shape}` === `${expected.shape}`) {
        const { maxAbs, maxRel, cosine } = compareTensors(output, value, expected);
        state.maxAbs = Math.max(state.maxAbs, maxAbs);
        state.maxRel = Math.max(state.maxRel, maxRel);
        if (isFloat(value.dtype)) state.cosine = Math.min(state.cosine, cosine);
      }
      const fault = await judge(suite, test, imported, inputs, { report, place, wanted, value, expected });
      if (fault !== undefined) return `${place}: ${fault}`;
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
  // With nothing left to run, everything was folded at compile time.
  state.device = onHost ? (onNeuron ? "mixed" : "cpu") : "neuron";
  const types = [...new Set(operators.map(({ type }) => type))];
  state.operators = types.map((type) => {
    const all = operators.filter((operator) => operator.type === type);
    return { type, device: all.every(({ device }) => device === "neuron") ? "neuron" : "cpu" };
  });
  const reasons = operators.flatMap(({ device, type, reason }) => (device === "cpu" && reason ? [`${type}: ${reason}`] : []));
  state.reason = [...new Set(reasons)].slice(0, MOST_REASONS).join("; ") || (subgraphs.length === 0 ? "folded at compile time" : undefined);
}

interface Result {
  readonly report: CompileReport;
  readonly place: Place;
  readonly wanted: WantedOutput;
  readonly value: Tensor;
  readonly expected: Tensor;
}

/**
 * Compares an output under the class of the run. Where tensors are stored in FP32, matmult operands alone are rounded. Where they are
 * stored in 16 bits, the cosine counts, or, where the function magnifies the rounding of its inputs, the host's value on rounded inputs.
 */
async function judge(
  suite: Suite,
  test: Case,
  graph: Graph,
  inputs: ReadonlyMap<string, Tensor>,
  { report, place, wanted, value, expected }: Result,
): Promise<string | undefined> {
  const { name: output, tolerance: given } = wanted;
  const { tensors, matmult } = parsePrecision(suite.fastMath[place], undefined);
  const nodes = nodesBehind(graph, output);
  const classes = nodes.map((node) => exactnessOf(node));
  const rounds = classes.includes("rounded");
  const onNeuron = report.subgraphs.some(({ device }) => device === "neuron");
  const sums = nodes.some(({ op }) => transforms.has(op));
  const kind = classes.every((one) => one === "exact") ? "exact" : "fp32";
  const plain: Tolerance = { kind, ...(sums ? { sums } : {}), ...(given ? { given } : {}) };
  // A model that stores tensors in 16 bits rounds them wherever it runs.
  const rounded16 = rounds && /16$/.test(expected.dtype);
  if ((!onNeuron && !rounded16) || (tensors === "float32" && !rounds)) return findFault(output, value, expected, plain);
  const unit = unitRoundoff[matmult];
  if (graph.nodes.length === 1 && contractions.has(graph.nodes[0].op)) {
    const positive = { ...graph, constants: mapTensors(graph.constants, absolute) };
    const magnitude = await reference(positive, mapTensors(inputs, absolute), output);
    if (magnitude) return findFault(output, value, expected, { kind: "rounded", magnitude, unit });
  }
  // What the framework loses in bfloat16 is no measure of FP16, which has eight times its digits.
  const framework = (tensors === "float32" ? matmult : tensors) === "bfloat16" ? { bfloat16Cosine: test.bfloat16Cosine } : {};
  const network = findFault(output, value, expected, { kind: "network", ...framework });
  // A cosine says nothing of infinities.
  if (network === undefined || findFault(output, value, expected, plain) === undefined) return undefined;
  if (tensors === "float32") return network;
  const rounded = await reference(
    graph,
    mapTensors(inputs, (tensor) => rounded16Bits(tensor, tensors)),
    output,
  );
  if (!rounded) return network;
  return findFault(output, value, rounded, { kind: "rounded", magnitude: rounded, unit }) === undefined ? undefined : network;
}

/** The nodes that a value is computed by, those of bodies included. */
function nodesBehind(graph: Graph, output: string): Node[] {
  const { producer } = indexGraph(graph);
  const found = new Set<Node>();
  const pending = [output];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    const node = producer.get(value);
    if (node === undefined || found.has(node)) continue;
    found.add(node);
    pending.push(...node.inputs, ...capturedValues(node));
  }
  const bodies = (node: Node): Node[] => [
    node,
    ...Object.values(node.attributes).flatMap((attribute) => (attribute.type === "graph" ? attribute.value.nodes.flatMap(bodies) : [])),
  ];
  return [...found].flatMap(bodies);
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

/** FP32 values rounded to 16 bits; others as they are. */
function rounded16Bits(tensor: Tensor, half: Half): Tensor {
  if (tensor.dtype !== "float32") return tensor;
  return fromNumbers("float32", tensor.shape, toNumbers(fromNumbers(half, tensor.shape, toNumbers(tensor))));
}
