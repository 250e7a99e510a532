/** `--enable-saturate-infinity`, from the model to the values. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/index.js";
import { floatTensor, numberAt, type Tensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { runGraph } from "../../src/host/index.js";
import { type CompileOptions, compileModel, loadModel } from "../../src/index.js";
import { fastMathWords } from "../../src/passes/index.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-saturate-"));
afterAll(() => rmSync(folder, { recursive: true }));

const { POSITIVE_INFINITY: infinity } = Number;

interface Case {
  readonly body: string;
  /** Elements of the input x [4, 8], repeated. */
  readonly x: readonly number[];
}

/** Each gives NaN, of infinities, in FP32. */
const cases: Readonly<Record<string, Case>> = {
  "the difference of two quotients by zero": {
    body: `
      const %zero: float32[8] = [0, 0, 0, 0, 1, 1, 1, 1]
      %double: float32[4, 8] = Add(%x, %x) @double
      %a: float32[4, 8] = Div(%x, %zero) @a
      %b: float32[4, 8] = Div(%double, %zero) @b
      %y: float32[4, 8] = Sub(%a, %b) @y`,
    x: [1, 2, 3, -4],
  },
  "an exponential that overflows before a softmax": {
    body: `
      %a: float32[4, 8] = Exp(%x) @a
      %y: float32[4, 8] = Softmax(%a) @y`,
    x: [200, 1, 300, 2],
  },
  "an infinity beside zero weights": {
    body: `
      const %w: float32[8, 2] = [0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0]
      %y: float32[4, 2] = MatMul(%x, %w) @y`,
    x: [infinity, 1, 2, 3],
  },
  "a convolution over infinities": {
    body: `
      const %shape: int64[4] = [1, 1, 4, 8]
      const %w: float32[2, 1, 3, 3] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0]
      %image: float32[1, 1, 4, 8] = Reshape(%x, %shape) @image
      %y: float32[1, 2, 4, 8] = Conv(%image, %w) {pads = [1, 1, 1, 1]} @y`,
    x: [infinity, 1, 2, 3, 4, 5, 6, 7],
  },
  "a layer normalisation of an infinity": {
    body: `
      const %scale: float32[8] = [1, 1, 1, 1, 1, 1, 1, 1]
      %y: float32[4, 8] = LayerNormalization(%x, %scale) @y`,
    x: [infinity, 1, 2, 3, 4, 5, 6, 7],
  },
  "a row of attention that sees nothing": {
    body: `
      const %mask: float32[4, 8] = [-inf, -inf, -inf, -inf, -inf, -inf, -inf, -inf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -inf, 0, 0, 0, 0, 0, 0, 0]
      %a: float32[4, 8] = Add(%x, %mask) @a
      %y: float32[4, 8] = Softmax(%a) @y`,
    x: [1, 2, 3],
  },
  "a sum over both signs": {
    body: `
      const %axes: int64[1] = [1]
      %y: float32[4, 1] = ReduceSum(%x, %axes) @y`,
    x: [infinity, 1, -infinity, 2],
  },
  "a sine, and an infinity that is moved before it meets zero": {
    body: `
      const %zero: float32[4] = [0, 1, 0, 1]
      %sine: float32[4, 8] = Sin(%x) @sine
      %turned: float32[8, 4] = Transpose(%x) {perm = [1, 0]} @turn
      %scaled: float32[8, 4] = Mul(%turned, %zero) @scaled
      %back: float32[4, 8] = Transpose(%scaled) {perm = [1, 0]} @back
      %y: float32[4, 8] = Add(%sine, %back) @y`,
    x: [infinity, 1, -infinity, 2],
  },
};

const modes: readonly (readonly string[])[] = [
  ...fastMathWords.map((word) => [word]),
  ["none", "fast-relayout"],
  ["fp32-cast-matmult", "fast-relayout"],
  ["fp32-cast-matmult-fp16", "fast-relayout"],
];

function graphOf(name: string, { body }: Pick<Case, "body">) {
  const output = /.*%y: (\S+\[.*?\])/s.exec(body);
  if (!output) throw new Error("no output");
  return parseGraph(`graph "${name}" { input %x: float32[4, 8] ${body}\n output %y }`);
}

const inputOf = ({ x }: Case): Tensor =>
  floatTensor(
    [4, 8],
    Float32Array.from({ length: 32 }, (_, index) => x[index % x.length]),
  );

async function outputOf(path: string, x: Tensor, options: CompileOptions): Promise<Tensor> {
  const { artifact, report } = await compileModel(path, { minimumSegmentSize: 1, verifyEach: true, ...options });
  expect(report.subgraphs.map(({ device }) => device)).toEqual(["neuron"]);
  expect(report.notes).toEqual([]);
  const model = await loadModel(artifact, { threads: 1 });
  try {
    return (await model.run(new Map([["x", x]]))).get("y")!;
  } finally {
    await model.dispose();
  }
}

const numbers = (tensor: Tensor): number[] => Array.from({ length: tensor.data.length }, (_, index) => numberAt(tensor, index));
const hasNaN = (tensor: Tensor): boolean => numbers(tensor).some(Number.isNaN);

describe("infinities before what would make NaN of them", () => {
  it.each(Object.entries(cases))("%s", { timeout: 60_000 }, async (name, test) => {
    const graph = graphOf(name, test);
    const [path, x] = [join(folder, "model.onnx"), inputOf(test)];
    writeFileSync(path, writeOnnx(graph));
    expect(hasNaN((await runGraph(graph, new Map([["x", x]]))).get("y")!)).toBe(true);
    const forceFuseOps = graph.nodes.map((node) => node.name);
    for (const fastMath of modes) {
      const words = fastMath.join(" ");
      expect(hasNaN(await outputOf(path, x, { fastMath, forceFuseOps })), words).toBe(true);
      expect(hasNaN(await outputOf(path, x, { fastMath, forceFuseOps, enableSaturateInfinity: true })), words).toBe(false);
    }
  });

  it("that rounding to 16 bits makes, of values and of weights", async () => {
    const graph = parseGraph(`graph "large" { input %x: float32[4, 8]
      const %w: float32[8, 2] = [100000, 0, 100000, 0, 100000, 0, 100000, 0, 100000, 0, 100000, 0, 100000, 0, 100000, 0]
      %zero: float32[4, 8] = Sub(%x, %x) @zero
      %y: float32[4, 2] = MatMul(%zero, %w) @y
      output %y }`);
    const path = join(folder, "large.onnx");
    writeFileSync(path, writeOnnx(graph));
    const x = floatTensor([4, 8], new Float32Array(32).fill(1e5));
    const forceFuseOps = graph.nodes.map((node) => node.name);
    const rounded = { forceFuseOps, fastMath: ["fp32-cast-all-fp16"] };
    expect(numbers(await outputOf(path, x, rounded)).every(Number.isNaN)).toBe(true);
    expect(numbers(await outputOf(path, x, { ...rounded, enableSaturateInfinity: true }))).toEqual(new Array(8).fill(0));
    expect(numbers(await outputOf(path, x, { forceFuseOps, fastMath: ["none"] }))).toEqual(new Array(8).fill(0));
  });

  it("but not those that meet nothing", async () => {
    const graph = parseGraph(`graph "plain" { input %x: float32[4, 8]
      %exp: float32[4, 8] = Exp(%x) @exp
      %turned: float32[8, 4] = Transpose(%exp) {perm = [1, 0]} @turn
      %y: float32[8, 4] = Add(%turned, %turned) @y
      output %y }`);
    const path = join(folder, "plain.onnx");
    writeFileSync(path, writeOnnx(graph));
    const x = floatTensor([4, 8], new Float32Array(32).fill(1e3));
    const values = await outputOf(path, x, { fastMath: ["none"], enableSaturateInfinity: true });
    expect(numbers(values)).toEqual(new Array(32).fill(infinity));
  });

  it("on any number of cores with the same bits", async () => {
    const test = cases["a layer normalisation of an infinity"];
    const path = join(folder, "cores.onnx");
    writeFileSync(path, writeOnnx(graphOf("cores", test)));
    const forceFuseOps = graphOf("cores", test).nodes.map((node) => node.name);
    const options = { fastMath: ["none"], forceFuseOps, enableSaturateInfinity: true };
    const alone = await outputOf(path, inputOf(test), options);
    expect(await outputOf(path, inputOf(test), { ...options, neuroncorePipelineCores: 3 })).toEqual(alone);
  });
});
