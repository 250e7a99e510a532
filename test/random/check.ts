/** A random graph through compile and run, against ONNX Runtime. */
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { threadId } from "node:worker_threads";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { allocateData, type DType, elementCount, isFloat, numberAt, type TensorData } from "../../src/graph/tensor.js";
import {
  type CompileOptions,
  type CompileResult,
  compileModel,
  type LoadOptions,
  loadModel,
  type Tensor,
  UserError,
} from "../../src/index.js";
import { fp32Bound, unitRoundoff } from "../../src/operators/exactness.js";
import { parsePrecision, relayoutOf } from "../../src/passes/index.js";
import { unlikeOutput } from "../bits.js";
import type { RandomCase, Variant } from "./case.js";
import { type Expected, expectedOutputs } from "./sensitivity.js";

/** What went wrong with a case; undefined: nothing. */
export interface Failure {
  readonly kind: "refused" | "crash" | "mismatch";
  readonly detail: string;
}

type Values = ReadonlyMap<string, Tensor>;

export async function checkCase(test: RandomCase): Promise<Failure | undefined> {
  try {
    return await withFile(test, async (path) => {
      const first = await runCompiled(path, test.options, test.inputs);
      return (await judge(test, first.values)) ?? (await checkVariant(test, path, first));
    });
  } catch (error) {
    if (error instanceof UserError) return { kind: "refused", detail: error.message };
    if (error instanceof Failed) return error.failure;
    throw error;
  }
}

async function withFile<T>({ graph }: RandomCase, use: (path: string) => Promise<T>): Promise<T> {
  const path = join(tmpdir(), `neuronc-random-${process.pid}-${threadId}.onnx`);
  try {
    writeFileSync(path, writeOnnx(graph));
    return await use(path);
  } finally {
    rmSync(path);
  }
}

/** An internal error of the product: it is to be told from those of this check. */
class Failed extends Error {
  readonly failure: Failure;

  constructor(cause: unknown) {
    super("the product failed");
    this.failure = { kind: "crash", detail: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) };
  }
}

interface Run {
  readonly values: Values;
  /** Whether no part of it ran on the host. */
  readonly onNeuron: boolean;
}

async function runCompiled(
  path: string,
  options: CompileOptions,
  inputs: Values,
  load: LoadOptions & { file?: boolean } = {},
): Promise<Run> {
  try {
    const { artifact, bytes, report } = await compileForced(path, options);
    const model = await loadModel(load.file ? bytes : artifact, { threads: load.threads ?? 1 });
    try {
      return { values: await model.run(inputs), onNeuron: report.subgraphs.every(({ device }) => device === "neuron") };
    } finally {
      await model.dispose();
    }
  } catch (error) {
    throw error instanceof UserError ? error : new Failed(error);
  }
}

/** Compiles with those of the forced operators that can be forced. */
async function compileForced(path: string, options: CompileOptions): Promise<CompileResult> {
  try {
    return await compileModel(path, options);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const forced = options.forceFuseOps ?? [];
    const refused = error.diagnostics.map(({ message }) => /^(?:--force-fuse-ops )?(\w+): /.exec(message)?.[1] ?? "");
    if (!refused.some((name) => forced.includes(name))) throw error;
    return compileForced(path, { ...options, forceFuseOps: forced.filter((name) => !refused.includes(name)) });
  }
}

/** The same work done another way: all that ran on NeuronCores has to give the same bits. */
async function checkVariant(test: RandomCase, path: string, first: Run): Promise<Failure | undefined> {
  const { variant, options } = test;
  const second = await runVariant(test, variant, path);
  if (!second) return undefined;
  const comparable = variant.kind === "file" || (first.onNeuron && second.onNeuron && !relayoutRounds(options));
  return comparable ? sameBits(variant, first, second) : judge(test, second.values);
}

async function runVariant({ options, inputs }: RandomCase, variant: Variant, path: string): Promise<Run | undefined> {
  const compiled = (others: CompileOptions) => runCompiled(path, { ...options, ...others }, inputs);
  switch (variant.kind) {
    case "none":
      return undefined;
    case "cores":
      return compiled({ neuroncorePipelineCores: variant.cores });
    case "file":
      return runCompiled(path, options, inputs, { file: true, threads: variant.threads });
    case "items":
      return runItems(path, options, inputs, variant.size);
    case "saturate":
      return compiled({ enableSaturateInfinity: !options.enableSaturateInfinity });
    case "switch":
      return compiled({ enableFastContextSwitch: true });
  }
}

/**
 * How the outputs' bits differ where the case's work is done in these other ways; undefined where a part of it is the host's. Throws what compiles
 * and runs throw.
 */
export async function differences(test: RandomCase, variants: readonly Variant[]): Promise<string[] | undefined> {
  return withFile(test, async (path) => {
    const first = await runCompiled(path, test.options, test.inputs);
    if (!first.onNeuron || relayoutRounds(test.options)) return undefined;
    const found: string[] = [];
    for (const variant of variants) {
      const second = await runVariant(test, variant, path);
      const failure = second && sameBits(variant, first, second);
      if (failure) found.push(failure.detail);
    }
    return found;
  });
}

/** Whether FP32 values are rounded where their layout changes: another program may change it in other places. */
function relayoutRounds({ fastMath, fp32Cast }: CompileOptions): boolean {
  return relayoutOf(parsePrecision(fastMath, fp32Cast)).fast;
}

/** `size` items of a batch at a time, by compiles for so many. */
async function runItems(path: string, options: CompileOptions, inputs: Values, size: number): Promise<Run> {
  const runs: Run[] = [];
  const batch = [...inputs.values()][0].shape[0];
  for (let from = 0; from < batch; from += size) {
    const to = Math.min(batch, from + size);
    const own = new Map([...inputs].map(([name, tensor]) => [name, itemsOf(tensor, from, to)]));
    runs.push(await runCompiled(path, { ...options, batchSize: to - from }, own));
  }
  const values = [...runs[0].values.keys()].map((name): [string, Tensor] => [name, joined(runs.map((run) => run.values.get(name)!))]);
  return { values: new Map(values), onNeuron: runs.every((run) => run.onNeuron) };
}

/** Items [from, to) along the first axis. */
function itemsOf({ dtype, shape, data }: Tensor, from: number, to: number): Tensor {
  const size = elementCount(shape.slice(1));
  return { dtype, shape: [to - from, ...shape.slice(1)], data: data.slice(from * size, to * size) };
}

function joined(tensors: readonly Tensor[]): Tensor {
  const [{ dtype, shape }] = tensors;
  const size = elementCount(shape.slice(1));
  const count = tensors.reduce((sum, tensor) => sum + tensor.shape[0], 0);
  const data = allocateData(dtype, count * size);
  let at = 0;
  for (const tensor of tensors) {
    if (!Array.isArray(data)) copyInto(data, tensor, at);
    at += tensor.shape[0] * size;
  }
  return { dtype, shape: [count, ...shape.slice(1)], data };
}

function copyInto(target: TensorData, { data }: Tensor, offset: number): void {
  for (let index = 0; index < data.length; index++) target[offset + index] = data[index];
}

function sameBits(variant: Variant, first: Run, second: Run): Failure | undefined {
  if (!first.onNeuron || !second.onNeuron) return undefined;
  const name = unlikeOutput(first.values, second.values);
  return name === undefined ? undefined : { kind: "mismatch", detail: `${name} has other bits with ${JSON.stringify(variant)}` };
}

/** Rounding moves single elements further than the greatest change that a few samples show. */
const SAFETY = 5;

async function judge(test: RandomCase, values: Values): Promise<Failure | undefined> {
  const expected = await expectedOutputs(test);
  for (const output of test.graph.outputs) {
    const fault = faultOf(values.get(output), expected.get(output)!, !test.rounded.has(output));
    if (fault !== undefined) return { kind: "mismatch", detail: `${output}${fault}` };
  }
  return undefined;
}

/** Between neighbours of a 16-bit type, relative to them, at most. */
const spacing = (dtype: DType): number => (dtype === "float16" || dtype === "bfloat16" ? 2 * unitRoundoff[dtype] : 0);

/** Why a value is not what is expected; undefined if it is. */
function faultOf(value: Tensor | undefined, { value: reference, spread }: Expected, exact: boolean): string | undefined {
  const typeOf = (tensor: Tensor | undefined) => `${tensor?.dtype}[${tensor?.shape}]`;
  if (value === undefined || typeOf(value) !== typeOf(reference)) return ` is ${typeOf(value)}, not ${typeOf(reference)}`;
  for (let index = 0; index < elementCount(value.shape); index++) {
    const [seen, wanted] = [numberAt(value, index), numberAt(reference, index)];
    if (seen === wanted || (Number.isNaN(seen) && Number.isNaN(wanted))) continue;
    const share = Math.max(fp32Bound.relative, spacing(value.dtype));
    const bound = exact || !isFloat(value.dtype) ? 0 : SAFETY * spread + share * Math.abs(wanted) + fp32Bound.absolute;
    if (spread < Number.POSITIVE_INFINITY && !(Math.abs(seen - wanted) <= bound))
      return `[${index}] is ${seen}, not ${wanted} within ${bound}`;
  }
  return undefined;
}
