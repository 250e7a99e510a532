import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { writeOnnx, writeTensorProto } from "../../src/frontend/index.js";
import type { Attributes, Graph, TensorType } from "../../src/graph/graph.js";
import { floatTensor, fromNumbers, type Tensor } from "../../src/graph/tensor.js";
import { checkCase } from "./check.js";
import { findFault } from "./judge.js";
import { suites } from "./suites.js";
import { countOperators, formatPage, formatTable, heldTo } from "./table.js";

const folder = mkdtempSync(join(tmpdir(), "conformance-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Sample {
  readonly op: string;
  readonly attributes?: Attributes;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
}

/** Writes a test folder of a one-node model. */
function write(name: string, { op, attributes, inputs, output }: Sample): string {
  const path = join(folder, name);
  const names = inputs.map((_, index) => `x${index}`);
  const types = new Map<string, TensorType>([...inputs.map((tensor, index) => [names[index], tensor] as const), ["y", output]]);
  const node = { name: "node", op, domain: "", inputs: names, outputs: ["y"], attributes: attributes ?? {}, origins: [] };
  const graph: Graph = { name, inputs: names, outputs: ["y"], nodes: [node], types, constants: new Map() };
  mkdirSync(join(path, "test_data_set_0"), { recursive: true });
  writeFileSync(join(path, "model.onnx"), writeOnnx(graph));
  for (const [index, tensor] of inputs.entries()) {
    writeFileSync(join(path, "test_data_set_0", `input_${index}.pb`), writeTensorProto(names[index], tensor));
  }
  writeFileSync(join(path, "test_data_set_0", "output_0.pb"), writeTensorProto("y", output));
  return path;
}

const matrix = floatTensor([2, 2], [0.1, 0.2, 0.3, 0.4]);

describe("the conformance runner", () => {
  it("passes a contraction on the NeuronCore, within the bound of its rounding", async () => {
    const path = write("matmul", { op: "MatMul", inputs: [matrix, matrix], output: floatTensor([2, 2], [0.07, 0.1, 0.15, 0.22]) });
    const row = await checkCase({ suite: "ONNX", name: "matmul", path });
    expect(row).toMatchObject({ status: "passed", device: "neuron", operators: [{ type: "MatMul", device: "neuron" }] });
    expect(row.maxAbs).toBeGreaterThan(0);
  });

  it("gives both runs other words of --fast-math, with the bounds of their types", async () => {
    const inputs = [floatTensor([1, 2], [1, 1]), floatTensor([2, 1], [1 + 2 ** -10, 0])];
    const path = write("precise", { op: "MatMul", inputs, output: floatTensor([1, 1], [1 + 2 ** -10]) });
    const errorWith = async (fastMath?: readonly string[]) => {
      const row = await checkCase({ suite: "ONNX", name: "precise", path, fastMath });
      expect(row).toMatchObject({ status: "passed", device: "neuron", cosine: 1 });
      return row.maxAbs;
    };
    expect(await errorWith()).toBe(2 ** -10);
    expect(await errorWith(["fp32-cast-matmult-fp16"])).toBe(0);
    const off = write("imprecise", { op: "MatMul", inputs, output: floatTensor([1, 1], [1 + 2 ** -10 + 2 ** -8]) });
    expect(await checkCase({ suite: "ONNX", name: "imprecise", path: off })).toMatchObject({ status: "passed" });
    const fp16 = { suite: "ONNX", name: "imprecise", path: off, fastMath: ["fp32-cast-matmult-fp16"] } as const;
    expect(await checkCase(fp16)).toMatchObject({ status: "failed", reason: expect.stringContaining("class rounded") });
  });

  it("fails where an output is wrong, saying which element", async () => {
    const path = write("wrong", { op: "Neg", inputs: [matrix], output: floatTensor([2, 2], [-0.1, -0.2, 0.3, -0.4]) });
    const row = await checkCase({ suite: "ONNX", name: "wrong", path });
    expect(row).toMatchObject({ status: "failed", device: "neuron" });
    expect(row.reason).toMatch(/^forced: y\[2\] is -0\.3\d*, not 0\.3/);
  });

  it("names why an operator is on the CPU, where types without a kernel are widened", async () => {
    const wide = (values: readonly number[]) => fromNumbers("float64", [3], values);
    const path = write("wide", { op: "Softsign", inputs: [wide([1, -3, 0])], output: wide([0.5, -0.75, 0]) });
    expect(await checkCase({ suite: "ONNX", name: "wide", path })).toMatchObject({
      status: "passed",
      device: "cpu",
      reason: expect.stringContaining("Softsign:"),
    });
  });

  it("refuses an operator that nothing runs", async () => {
    const row = await checkCase({
      suite: "ONNX",
      name: "unknown",
      path: write("unknown", { op: "Frobnicate", inputs: [matrix], output: matrix }),
    });
    expect(row).toMatchObject({ status: "refused", reason: expect.stringMatching(/^NCC\d{4}.*Frobnicate/) });
  });

  it("counts a test once for each of its operators", () => {
    const row = { name: "a", status: "passed", device: "mixed", seconds: 0, isFine: true } as const;
    const operators = [
      { type: "Add", device: "neuron" },
      { type: "Det", device: "cpu" },
    ] as const;
    const rows = [{ ...row, operators }, { ...row, name: "b", status: "failed", operators: operators.slice(0, 1) } as const];
    expect(countOperators(rows)).toEqual({
      Add: { neuron: 1, cpu: 0, failed: 1, refused: 0 },
      Det: { neuron: 0, cpu: 1, failed: 0, refused: 0 },
    });
    expect(formatTable(rows, () => "fp32")).toContain("1 of 2 tests passed");
    const page = formatPage(rows, () => "fp32");
    expect(["MatMul", "Tanh", "Transpose", "BitCast"].map(heldTo)).toEqual(["rounded", "fp32", "exact", "host"]);
    expect(page).toMatch(/\| Add +\| fp32 +\| 1 +\| 0 +\| 1 +\| 0 +\|/);
    expect(page).toMatch(/\| b +\| failed +\|/);
  });

  it("finds test folders behind links", () => {
    const other = mkdtempSync(join(tmpdir(), "conformance-links-"));
    symlinkSync(write("linked", { op: "Neg", inputs: [matrix], output: matrix }), join(other, "linked"));
    expect(suites.ONNX.find(other)).toEqual([{ suite: "ONNX", name: "linked", path: join(other, "linked") }]);
    rmSync(other, { recursive: true });
  });
});

describe("the TensorFlow runner", () => {
  const models = join(import.meta.dirname, "../frontend/tensorflow/models");

  it("passes what TensorFlow made", async () => {
    const tests = suites.TENSORFLOW.find(models);
    expect(tests.map(({ name }) => name)).toEqual([
      "condition_in_loop",
      "loop_in_condition",
      "partitioned",
      "row_lengths",
      "two_variables",
    ]);
    for (const test of tests) expect(await checkCase(test)).toMatchObject({ status: "passed", isFine: true });
  });

  it("wants refusals where the case says so, for its reason", async () => {
    const path = join(folder, "refused");
    mkdirSync(path);
    writeFileSync(
      join(path, "graph.pbtxt"),
      'node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_STRING } } } node { name: "y" op: "StringLength" input: "x" }',
    );
    const wanting = async (name: string, refused?: string) => {
      const expected = { signature: null, inputs: [], outputs: [{ tensor: "y:0", shape: [] }], ...(refused ? { refused } : {}) };
      writeFileSync(join(path, name), JSON.stringify(expected));
      const [test] = suites.TENSORFLOW.find(path).filter((item) => item.path.endsWith(name));
      return checkCase(test);
    };
    expect(await wanting("expected.json", "string input")).toMatchObject({ name: "refused", status: "refused", isFine: true });
    expect(await wanting("expected_other.json", "statefulness")).toMatchObject({ name: "refused/other", status: "failed", isFine: false });
    expect(await wanting("expected_none.json")).toMatchObject({ status: "refused", isFine: false });
  });
});

describe("tolerances", () => {
  const value = floatTensor([1], [1.003]);
  const expected = floatTensor([1], [1]);

  it("hold each class to its bound", () => {
    expect(findFault("y", value, expected, { kind: "exact" })).toContain("class exact");
    expect(findFault("y", value, expected, { kind: "fp32" })).toContain("class fp32");
    expect(findFault("y", value, expected, { kind: "rounded", magnitude: expected, unit: 2 ** -8 })).toBeUndefined();
    expect(findFault("y", value, expected, { kind: "network" })).toBeUndefined();
  });

  it("never forgive a NaN, another shape or another integer", () => {
    expect(findFault("y", floatTensor([1], [Number.NaN]), expected, { kind: "fp32" })).toBeDefined();
    expect(findFault("y", floatTensor([1, 1], [1]), expected, { kind: "fp32" })).toContain("float32[1,1]");
    expect(findFault("y", fromNumbers("int32", [1], [100000]), fromNumbers("int32", [1], [100001]), { kind: "fp32" })).toBeDefined();
  });
});

const shared = new URL("../../../shared/onnx-backend-tests/", import.meta.url);

describe.skipIf(!existsSync(shared))("ONNX's backend tests (skipped where ../shared is missing)", () => {
  it("pass in a sample of 100", async () => {
    const index: readonly { name: string; tensorOnly: boolean }[] = JSON.parse(readFileSync(new URL("index.json", shared), "utf8"));
    const names = index.filter(({ tensorOnly }) => tensorOnly).map(({ name }) => name);
    const present = new Set(readdirSync(shared));
    let state = 1;
    const chosen = Array.from({ length: 100 }, () => {
      state = (state * 48271) % 2147483647;
      return names[state % names.length];
    });
    const failed: string[] = [];
    for (const name of new Set(chosen)) {
      if (!present.has(name)) continue;
      const { status, reason } = await checkCase({ suite: "ONNX", name, path: new URL(name, shared).pathname });
      if (status !== "passed") failed.push(`${name}: ${status}: ${reason}`);
    }
    expect(failed).toEqual([]);
  });
});
