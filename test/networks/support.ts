/** What the tests and benchmarks of whole networks share: a compile, requests on the simulator, and the reference in FP32. */
import { readFileSync } from "node:fs";
import { importModel } from "../../src/frontend/index.js";
import type { Graph, Node } from "../../src/graph/graph.js";
import { seeded } from "../../src/graph/random.js";
import { createHostSession, type HostSession } from "../../src/host/index.js";
import {
  type Artifact,
  type Comparison,
  type CompileOptions,
  type CompileReport,
  compareTensors,
  compileModel,
  floatTensor,
  loadModel,
  type Model,
  type Tensor,
  toFloat32,
} from "../../src/index.js";
import { NETWORK_LOSS } from "../../src/operators/exactness.js";
import { type BindOptions, normalise } from "../../src/passes/index.js";
import { checkProgram, describeFault } from "../../src/program/check.js";
import { options as normaliseOptions } from "../passes/support.js";

/** Matrix multiplications in FP16, everything else in FP32. */
export const MATMULT_FP16 = ["fp32-cast-matmult-fp16"];
/** Every operation and every stored value in BF16: the default. */
export const ALL = ["all"];

/** What a whole network keeps where it is rounded to 16 bits. */
export const LEAST_COSINE = 1 - NETWORK_LOSS;

export interface Network {
  readonly report: CompileReport;
  readonly artifact: Artifact;
  readonly model: Model;
  dispose(): Promise<void>;
}

/** Compiles a model and loads it. Throws if the independent checker finds a fault in one of its programs. */
export async function compileNetwork(path: string, options: CompileOptions = {}): Promise<Network> {
  const { report, artifact } = await compileModel(path, options);
  for (const loaded of [...artifact.programs.values()].flat()) {
    const faults = checkProgram(loaded.program);
    if (faults.length > 0) throw new Error(`${loaded.program.name}: ${faults.slice(0, 5).map(describeFault).join("; ")}`);
  }
  const model = await loadModel(artifact, { threads: 1 });
  return { report, artifact, model, dispose: () => model.dispose() };
}

/** The file as it is, on ONNX Runtime. */
export function referenceSession(path: string): Promise<HostSession> {
  return createHostSession(readFileSync(path));
}

/** ONNX's number of a 16-bit type. */
const halfNumbers = { bfloat16: 16, float16: 10 } as const;
export type Half = keyof typeof halfNumbers;

/** A convolution in which no channel meets another: it has no matmult, so that nothing of it is rounded. */
function isDepthwise({ types, constants }: Graph, node: Node): boolean {
  const channels = types.get(node.inputs[0])?.shape?.[1];
  const group = node.attributes.group;
  return group?.type === "int" && group.value === channels && constants.get(node.inputs[1])?.shape[0] === channels;
}

const isContraction = ({ op }: Node): boolean => ["Conv", "ConvTranspose", "Gemm", "MatMul"].includes(op);

function castNode(input: string, output: string, to: number): Node {
  return {
    name: output,
    op: "Cast",
    domain: "",
    inputs: [input],
    outputs: [output],
    attributes: { to: { type: "int", value: to } },
    origins: [],
  };
}

/** The graph with the two factors of each matrix multiplication and convolution rounded to 16 bits by a pair of Casts; all else as it is. */
export function withRoundedFactors(graph: Graph, half: Half): Graph {
  const rounded = new Map<string, string>();
  const types = new Map(graph.types);
  const nodes: Node[] = [];
  const roundedName = (value: string) => {
    const known = rounded.get(value);
    if (known !== undefined) return known;
    const [low, high] = [`${value}/${half}`, `${value}/rounded`];
    nodes.push(castNode(value, low, halfNumbers[half]), castNode(low, high, 1));
    types.set(low, { ...graph.types.get(value), dtype: half });
    types.set(high, { ...graph.types.get(value), dtype: "float32" });
    rounded.set(value, high);
    return high;
  };
  for (const node of graph.nodes) {
    const rounds = isContraction(node) && !isDepthwise(graph, node);
    const inputs = node.inputs.map((input, index) => (rounds && index < 2 ? roundedName(input) : input));
    nodes.push({ ...node, inputs });
  }
  return { ...graph, nodes, types };
}

/**
 * The graph as a framework computes it that stores 16 bits: inputs, the weights of contractions and whatever a node makes are rounded by a pair of
 * Casts. Reductions stay: they are steps inside of a framework's normalisations and Softmax, which it computes in FP32.
 */
export function withRoundedValues(graph: Graph, half: Half): Graph {
  const types = new Map(graph.types);
  const nodes: Node[] = [];
  const isFloat32 = (value: string) => graph.types.get(value)?.dtype === "float32";
  const round = (from: string, to: string) => {
    const low = `${to}/${half}`;
    nodes.push(castNode(from, low, halfNumbers[half]), castNode(low, to, 1));
    for (const [value, dtype] of [
      [from, "float32"],
      [low, half],
      [to, "float32"],
    ] as const) {
      types.set(value, { ...(graph.types.get(from) ?? graph.types.get(to)), dtype });
    }
  };
  const weights = graph.nodes
    .filter(isContraction)
    .flatMap(({ inputs }) => inputs.slice(0, 2).filter((input) => graph.constants.has(input)));
  const sources = new Map([...new Set([...graph.inputs, ...weights])].filter(isFloat32).map((value) => [value, `${value}/rounded`]));
  for (const [from, to] of sources) round(from, to);
  for (const node of graph.nodes) {
    const isRounded = (output: string) => isFloat32(output) && !node.op.startsWith("Reduce");
    nodes.push({
      ...node,
      inputs: node.inputs.map((input) => sources.get(input) ?? input),
      outputs: node.outputs.map((output) => (isRounded(output) ? `${output}/exact` : output)),
    });
    for (const output of node.outputs) if (isRounded(output)) round(`${output}/exact`, output);
  }
  return { ...graph, nodes, types };
}

/**
 * What ONNX Runtime itself gives with the factors of every matmult rounded, on the graph as the compiler normalises it (batch norms
 * folded into weights before those are rounded).
 */
export function roundedSession(path: string, half: Half, binding: BindOptions = {}): Promise<HostSession> {
  return sessionOf(path, binding, (graph) => withRoundedFactors(graph, half));
}

/** What ONNX Runtime gives with every value in 16 bits: the measure of what the rounding of whole networks costs by itself. */
export function storedSession(path: string, half: Half, binding: BindOptions = {}): Promise<HostSession> {
  return sessionOf(path, binding, (graph) => withRoundedValues(graph, half));
}

async function sessionOf(path: string, binding: BindOptions, rounded: (graph: Graph) => Graph): Promise<HostSession> {
  const { graph } = await importModel(path);
  return createHostSession(rounded(await normalise(graph, normaliseOptions(binding))), { optimise: false });
}

/**
 * `maximaOf` names outputs that hold another output's local maxima, and that other one: it is compared at the reference's maxima, since
 * rounding changes which of near neighbours is one.
 */
export function compareOutputs(
  values: ReadonlyMap<string, Tensor>,
  reference: ReadonlyMap<string, Tensor>,
  maximaOf: Readonly<Record<string, string>> = {},
): Comparison[] {
  return [...values].map(([name, value]) => {
    const expected = reference.get(name)!;
    const dense = maximaOf[name];
    if (dense === undefined) return compareTensors(name, value, expected);
    const places = toFloat32(expected);
    const atMaxima = (tensor: Tensor) =>
      floatTensor(
        value.shape,
        toFloat32(tensor).map((each, index) => (places[index] === 0 ? 0 : each)),
      );
    return compareTensors(name, atMaxima(values.get(dense)!), atMaxima(reference.get(dense)!));
  });
}

/** Bilinear enlargement of a `rows` x `columns` grid of uniform noise in [-1, 1), added to `plane` with `share`. */
function addNoise(plane: Float32Array, [height, width]: readonly [number, number], cell: number, share: number, next: () => number): void {
  const rows = Math.ceil(height / cell) + 1;
  const columns = Math.ceil(width / cell) + 1;
  const grid = Float32Array.from({ length: rows * columns }, () => 2 * next() - 1);
  for (let y = 0; y < height; y++) {
    const [row, down] = [Math.floor(y / cell), (y % cell) / cell];
    for (let x = 0; x < width; x++) {
      const [column, right] = [Math.floor(x / cell), (x % cell) / cell];
      const at = row * columns + column;
      const above = grid[at] * (1 - right) + grid[at + 1] * right;
      const below = grid[at + columns] * (1 - right) + grid[at + columns + 1] * right;
      plane[y * width + x] += share * (above * (1 - down) + below * down);
    }
  }
}

export interface ImageOptions {
  /** Values of black and white. */
  readonly low: number;
  readonly high: number;
  /** Channels last, as TensorFlow has them. */
  readonly channelsLast?: boolean;
  /** Dark marks in rows on the noise: something like a page of text. */
  readonly marks?: boolean;
}

/** Smooth noise with detail at several scales, like a photograph; its channels alike but not equal. A fourth channel is alpha: 1. */
export function image(shape: readonly number[], seed: number, { low, high, channelsLast = false, marks = false }: ImageOptions): Tensor {
  const [height, width] = channelsLast ? [shape[1], shape[2]] : [shape[2], shape[3]];
  const channels = channelsLast ? shape[3] : shape[1];
  const next = seeded(Math.imul(seed + 1, 0x9e3779b9));
  const size = height * width;
  const common = new Float32Array(size);
  const cells = [
    [Math.ceil(Math.max(height, width) / 3), 0.7],
    [24, 0.4],
    [6, 0.2],
  ];
  for (const [cell, share] of cells) addNoise(common, [height, width], cell, share, next);
  const dark = marks ? rowsOfMarks([height, width], next) : undefined;
  const data = new Float32Array(size * channels);
  for (let channel = 0; channel < channels; channel++) {
    const plane = common.slice();
    addNoise(plane, [height, width], 20, 0.3, next);
    addNoise(plane, [height, width], 1, 0.05, next);
    for (let index = 0; index < size; index++) {
      const shade = dark ? 0.6 + 0.4 * plane[index] - 1.5 * dark[index] : plane[index];
      const value = channel === 3 ? 1 : low + ((high - low) * (Math.min(1, Math.max(-1, shade)) + 1)) / 2;
      data[channelsLast ? index * channels + channel : channel * size + index] = value;
    }
  }
  return floatTensor(shape, data);
}

/** 1 where there is ink: words of strokes, 2 pixels wide, in a few rows of some height; 0 elsewhere. */
function rowsOfMarks([height, width]: readonly [number, number], next: () => number): Float32Array {
  const ink = new Float32Array(height * width);
  const fill = (top: number, left: number, rows: number, columns: number) => {
    for (let y = top; y < Math.min(height, top + rows); y++) ink.fill(1, y * width + left, y * width + Math.min(width, left + columns));
  };
  for (let top = 12; top + 24 < height; top += 30 + Math.floor(next() * 30)) {
    const tall = 14 + Math.floor(next() * 8);
    for (let left = 10; left + 20 < width; left += 11 + (next() < 0.15 ? 12 : 0)) {
      fill(top, left + (next() < 0.5 ? 0 : 5), tall, 2);
      fill(top + Math.floor(next() * (tall - 2)), left, 2, 8);
      if (next() < 0.5) fill(top, left, 2, 8);
    }
  }
  return ink;
}
