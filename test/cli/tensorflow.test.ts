import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { checkModelCommand } from "../../src/cli/check_model.js";
import { neuronc } from "../../src/cli/neuronc.js";
import { run } from "../../src/cli/run.js";
import { tables } from "../../src/driver/tables.js";
import { compileSavedModel, floatTensor, supportedOperators, writeNpy } from "../../src/index.js";
import { asyncRefusal } from "../refusal.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-tensorflow-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

const models = join(import.meta.dirname, "../frontend/tensorflow/models");
const variables = join(models, "two_variables");
const output = join(folder, "out.neff");
const compile = (...flags: string[]) => command(neuronc, "compile", variables, "--output", output, "--json", ...flags);

describe("neuronc compile on a SavedModel", () => {
  it("takes shapes by tensor, with or without its index, or by the signature's key", async () => {
    for (const flags of [
      ["--batch-size", "3"],
      ["--input-shape", "serving_default_x:0=3,2"],
      ["--input-shape", "serving_default_x=3,2"],
      ["--input-shape", "x=3,2"],
      ["--framework", "tensorflow", "--io-config", '{"inputs": {"serving_default_x:0": [[3, 2], "float32"]}}'],
    ]) {
      const { signature, operators } = JSON.parse((await compile(...flags)).out);
      expect(signature).toMatchObject({ inputs: [{ name: "serving_default_x:0", shape: [3, 2] }], aliases: { x: "serving_default_x:0" } });
      expect(operators.map(({ type }: { type: string }) => type)).toContain("Unpack");
    }
  });

  it("compiles the part that the io-config names", async () => {
    const config = (inputs: object, outputs: string[]) => ["--io-config", JSON.stringify({ inputs, outputs })];
    const first = await compile(...config({ x: [[3, 2], "float32"] }, ["first"]));
    expect(JSON.parse(first.out).signature.outputs).toHaveLength(1);
    const { out } = await command(
      neuronc,
      ...["compile", join(models, "loop_in_condition"), "--output", output, "--json"],
      ...config({}, ["cond/Merge:0"]),
    );
    expect(JSON.parse(out).signature).toMatchObject({ inputs: [{ name: "x:0" }], outputs: [{ name: "cond/Merge:0" }] });
    expect((await compile(...config({}, ["nothing:0"]))).err).toContain("NCC0152: nothing:0");
    expect((await compile(...config({ x: [[3, 2], "int32"] }, []))).err).toContain("NCC0361");
  });

  it("takes types of operators that may be on NeuronCores", async () => {
    const listed = JSON.parse((await compile("--batch-size", "3", "--supported-op-types", "Unpack", "--minimum-segment-size", "1")).out);
    const device = (type: string) => listed.operators.find((item: { type: string }) => item.type === type).device;
    expect(device("Mul")).toBe("cpu");
  });

  it("names faults", async () => {
    for (const [flags, message] of [
      [["--signature", "nothing"], "NCC0136: "],
      [["--tag-set", "gpu"], "NCC0134: "],
      [["--tag-set", "serve", "--tag-set", "train"], "NCC0402: --tag-set train: given twice, serve before"],
      [["--framework", "ONNX"], "NCC0107: "],
      [[], "NCC0356: open dimensions: serving_default_x:0"],
    ] as const) {
      expect(await compile(...flags)).toMatchObject({ code: 1, out: "", err: expect.stringContaining(message) });
    }
  });

  it("runs, with inputs by key", async () => {
    await compile("--batch-size", "3", "--fast-math", "none");
    const input = join(folder, "x.npy");
    writeFileSync(input, writeNpy(floatTensor([3, 2], [1, 2, 3, 4, 5, 6])));
    const { out, err } = await command(run, output, "--input", `x=${input}`, "--output-dir", folder, "--json");
    expect(err).toBe("");
    expect(JSON.parse(out).outputs).toHaveLength(2);
    const { errors } = JSON.parse((await command(run, output, "--reference", variables, "--json")).out);
    expect(errors.map(({ cosine }: { cosine: number }) => Math.round(1e6 * cosine))).toEqual([1e6, 1e6]);
    expect((await command(run, output, "--reference", join(models, "loop_in_condition"))).err).toMatch(/NCC0152|NCC0807/);
    expect((await command(run, output, "--input", "y=zeros")).err).toContain("NCC0351");
  });
});

describe("list-operators --framework TENSORFLOW", () => {
  it("prints those that NeuronCores run, by TensorFlow's names", async () => {
    const names = (await command(neuronc, "list-operators", "--framework", "TENSORFLOW")).out.trim().split("\n");
    expect(names).toEqual(await supportedOperators("TENSORFLOW"));
    for (const name of ["AddV2", "BiasAdd", "Conv2D", "FusedBatchNormV3", "MatMul", "Placeholder"]) expect(names).toContain(name);
    expect(names).not.toContain("Unique");
  });

  it("is what the support table says", async () => {
    const { operators } = JSON.parse(tables().get("tensorflow.json") ?? "");
    const supported = operators.filter((row: { supported: boolean }) => row.supported);
    expect(supported.map((row: { operator: string }) => row.operator)).toEqual(await supportedOperators("TENSORFLOW"));
    expect(operators.filter((row: { needs?: string }) => row.needs !== undefined).length).toBeGreaterThan(30);
  });
});

describe("neuron-check-model on TensorFlow models", () => {
  it("counts by TensorFlow's names, without the vendor's excluded types", async () => {
    const { out } = await command(checkModelCommand, variables);
    expect(out).toContain("'Placeholder', 'PlaceholderWithDefault', 'NoOp', 'Const', 'Identity', 'IdentityN', 'VarHandleOp'");
    expect(out).toMatch(/Mul +2 +Yes/);
    expect(out).toContain("* Total inference operations: 3\n");
  });

  it("tells of operators that can't be converted, with the others", async () => {
    const path = join(folder, "graph.pbtxt");
    const float = 'attr { key: "T" value { type: DT_FLOAT } } attr { key: "dtype" value { type: DT_FLOAT } }';
    const nodes = [
      `name: "x" op: "Placeholder" ${float}`,
      `name: "a" op: "Neg" input: "x" ${float}`,
      `name: "b" op: "Frobnicate" input: "a"`,
    ];
    writeFileSync(path, nodes.map((fields) => `node { ${fields} }`).join("\n"));
    const { out, code } = await command(checkModelCommand, path, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ framework: "TENSORFLOW", total: 2, supported: 1, note: expect.stringContaining("NCC0290") });
  });
});

describe("compileSavedModel", () => {
  it("takes the arguments of the vendor's compile", async () => {
    const { onNeuronRatio, report } = await compileSavedModel(variables, {
      modelShapeFeedDict: { x: [5, 2] },
      tags: ["serve"],
      signatureDefKey: "serving_default",
      minimumSegmentSize: 1,
      compilerArgs: ["--fast-math", "none"],
    });
    expect(report.signature.inputs[0].shape).toEqual([5, 2]);
    expect(onNeuronRatio).toBeGreaterThanOrEqual(0);
    const fed = await compileSavedModel(variables, { modelFeedDict: { x: floatTensor([2, 2], [1, 2, 3, 4]) } });
    expect(fed.report.signature.inputs[0].shape).toEqual([2, 2]);
    expect((await compileSavedModel(variables)).report.signature.inputs[0].shape).toEqual([1, 2]);
    expect(await asyncRefusal(() => compileSavedModel(variables, { compilerArgs: ["--fast-mat"] }))).toContain("NCC0401");
  });
});
