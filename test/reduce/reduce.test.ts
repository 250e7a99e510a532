import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Random } from "../../models/random.js";
import { neuronc } from "../../src/cli/neuronc.js";
import { reduceModel } from "../../src/driver/reduce.js";
import { writeOnnx } from "../../src/frontend/index.js";
import { floatTensor, type Tensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { runGraph } from "../../src/host/index.js";
import { randomTensor } from "../../src/index.js";
import { withExtent, withoutNodes } from "../../src/reduce/edit.js";
import { shrink } from "../../src/reduce/shrink.js";
import { command } from "../cli/command.js";

const graph = parseGraph(`graph "net" { input %x: float32[4, 8]
  const %w: float32[8, 6] = [${new Random(1).normals(48).join(", ")}]
  const %shape: int64[2] = [4, 6]
  %a: float32[4, 8] = Tanh(%x) @a
  %b: float32[4, 6] = MatMul(%a, %w) @b
  %c: float32[4, 6] = Reshape(%b, %shape) @c
  %d: float32[4, 6] = Sigmoid(%c) @d
  %e: float32[4, 6] = Exp(%c) @e
  %f: float32[4, 6] = Add(%d, %e) @f
  output %f
  output %d }`);
const inputs = new Map<string, Tensor>([["x", floatTensor([4, 8], new Random(2).normals(32))]]);
const folder = mkdtempSync(join(tmpdir(), "neuronc-reduce-test-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, "net.onnx");
writeFileSync(path, writeOnnx(graph));

const given = async () => inputs;

describe("delta debugging", () => {
  const evaluate = (subject: { graph: typeof graph; inputs: ReadonlyMap<string, Tensor> }) =>
    runGraph({ ...subject.graph, outputs: subject.graph.nodes.flatMap((node) => node.outputs) }, subject.inputs);

  it("finds the operators and the extents that matter", async () => {
    const { subject, minimal } = await shrink(
      { graph, inputs },
      {
        limit: 300,
        evaluate,
        fails: async (candidate) => {
          const values = await evaluate(candidate).catch(() => undefined);
          const has = (op: string) => candidate.graph.nodes.some((node) => node.op === op);
          return values !== undefined && has("MatMul") && has("Exp") && (values.get("b")?.shape[1] ?? 0) >= 2;
        },
      },
    );
    expect(minimal).toBe(true);
    expect(subject.graph.nodes.map(({ op }) => op)).toEqual(["MatMul", "Exp"]);
    expect([...subject.graph.constants.values(), ...subject.inputs.values()].map(({ shape }) => Math.max(...shape))).toContain(2);
  });

  it("gives up at the limit", async () => {
    const { tried, minimal } = await shrink({ graph, inputs }, { limit: 3, evaluate, fails: async () => true });
    expect({ tried, minimal }).toEqual({ tried: 3, minimal: false });
  });

  it("puts known values in the place of operators, and asks for what they read", async () => {
    const known = await evaluate({ graph, inputs });
    const part = withoutNodes({ graph, inputs }, new Set([1, 2]), known);
    expect(part?.graph.inputs).toEqual(["x", "c"]);
    expect(part?.graph.outputs).toEqual(["f", "d", "a"]);
    expect(withoutNodes({ graph, inputs }, new Set([1]), new Map())).toBeUndefined();
  });

  it("cuts an extent off wherever it is, in shapes too", () => {
    const cut = withExtent({ graph, inputs }, 6, 3);
    expect(cut.graph.constants.get("w")?.shape).toEqual([8, 3]);
    expect(cut.graph.constants.get("shape")?.data).toEqual(BigInt64Array.of(4n, 3n));
  });
});

describe("reducing a model", () => {
  it("that is refused: to the operator that is", async () => {
    const refused = { inputs: given, forceFuseOps: ["e", "unique"] };
    const unique = parseGraph(`graph "net" { input %x: float32[4]
      %a: float32[4] = Tanh(%x) @a
      %u: float32[*] = Unique(%a) @unique
      %e: float32[4] = Exp(%a) @e
      output %u
      output %e }`);
    const file = join(folder, "unique.onnx");
    writeFileSync(file, writeOnnx(unique));
    const {
      failure,
      graph: part,
      nodesBefore,
    } = await reduceModel(file, {
      ...refused,
      inputs: async () => new Map([["x", randomTensor("float32", [4], 0, "x")]]),
    });
    expect([failure.kind, failure.id, nodesBefore]).toEqual(["refused", "NCC0562", 3]);
    expect(part.nodes.map(({ op }) => op)).toEqual(["Unique"]);
  });

  it("whose values are others: to one operator, whose file fails again", async () => {
    const options = { inputs: given, tolerance: 1e-6, minimumSegmentSize: 1, fastMath: ["all"], forceFuseOps: ["b", "e"] };
    const { failure, graph: part, inputs: values, model } = await reduceModel(path, options);
    expect(failure.kind).toBe("mismatch");
    expect(part.nodes.length).toBe(1);
    const again = join(folder, "again.onnx");
    writeFileSync(again, model);
    const second = await reduceModel(again, { ...options, forceFuseOps: undefined, inputs: async () => values });
    expect(second.failure).toEqual(failure);
  });

  it("that does not fail is refused", async () => {
    await expect(reduceModel(path, { inputs: given })).rejects.toThrow(/NCC0860: .*net\.onnx: does not fail/);
  });
});

describe("neuronc reduce", () => {
  it("writes the part with its inputs, and says how to go on", async () => {
    const output = join(folder, "out");
    const flags = ["--tolerance", "0.000001", "--minimum-segment-size", "1", "--input", "x=random:3", "--output-dir", output];
    const { code, out } = await command(neuronc, "reduce", path, ...flags);
    expect(code).toBe(0);
    expect(out).toMatch(/mismatch: .*greatest error[\s\S]*1 of 6 operators of net\.onnx after \d+ tries; nothing more can be taken out/);
    expect(readdirSync(output)).toContain("model.onnx");
    const again = await command(neuronc, "reduce", path, ...flags, "--json");
    const report = JSON.parse(again.out);
    expect(report).toMatchObject({ nodes: 1, nodesBefore: 6, minimal: true, failure: { kind: "mismatch" } });
    expect(readFileSync(report.output).length).toBeGreaterThan(0);
  });

  it("takes the flags of the compile, whatever the framework", async () => {
    const saved = join(import.meta.dirname, "../frontend/tensorflow/models/two_variables");
    const cut = JSON.stringify({ inputs: { "serving_default_x:0": [[3, 2], "float32"] }, outputs: ["first"] });
    const flags = ["--io-config", cut, "--tolerance", "0", "--minimum-segment-size", "1", "--output-dir", join(folder, "cut"), "--json"];
    const whole = await command(neuronc, "reduce", saved, ...flags, "--neuroncore-pipeline-cores", "auto");
    expect(whole).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(whole.out)).toMatchObject({ failure: { kind: "mismatch" } });
    // With its only kind of operator on the host the values are ONNX Runtime's own.
    const onHost = await command(neuronc, "reduce", saved, ...flags, "--supported-op-types", "Exp");
    expect(onHost).toMatchObject({ code: 1, err: expect.stringContaining("NCC0860") });
  });

  it("names a wrong tolerance", async () => {
    const { code, err } = await command(neuronc, "reduce", path, "--tolerance", "2");
    expect(code).toBe(1);
    expect(err).toContain("NCC0402: --tolerance 2: not a number from 0 to 1");
  });
});
