import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkModelCommand } from "../../src/cli/check_model.js";
import { neuronc } from "../../src/cli/neuronc.js";
import { packager } from "../../src/cli/packager.js";
import { run } from "../../src/cli/run.js";
import { compileModel } from "../../src/driver/compile.js";
import { loadModel } from "../../src/driver/run.js";
import { writeTensorProto } from "../../src/frontend/onnx/tensor.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Graph, Node } from "../../src/graph/graph.js";
import { floatTensor, fromNumbers, toNumbers } from "../../src/graph/tensor.js";
import { decodeHeader } from "../../src/neff/header.js";
import { readNeff, writeNeff } from "../../src/neff/neff.js";
import { readNpy, writeNpy } from "../../src/runtime/files/npy.js";
import { randomTensor } from "../../src/runtime/random.js";
import { parseMemoryInstance } from "../../src/schedule/plan/instance.js";
import { peakLive } from "../../src/schedule/plan/items.js";
import { asyncRefusal } from "../refusal.js";
import { offsetsIn, overlaps } from "../schedule/placements.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-end-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (...names: string[]) => join(folder, ...names);

const node = (name: string, op: string, inputs: string[], output: string, attributes: Node["attributes"] = {}): Node => ({
  name,
  op,
  domain: "",
  inputs,
  outputs: [output],
  attributes,
  origins: [name],
});

/** x [N, 3, 8, 8] -> 3x3 convolution to 8 channels, Relu, global average: y [N, 8, 1, 1]; and a constant output k. */
function network(): Graph {
  const pads = { pads: { type: "ints", value: [1, 1, 1, 1] } } as const;
  return {
    name: "tiny",
    inputs: ["x"],
    outputs: ["y", "k"],
    nodes: [
      node("conv", "Conv", ["x", "w", "b"], "c", pads),
      node("relu", "Relu", ["c"], "r"),
      node("pool", "GlobalAveragePool", ["r"], "y"),
      node("fold", "Add", ["b", "b"], "k"),
    ],
    types: new Map([
      ["x", { dtype: "float32", shape: ["N", 3, 8, 8] }],
      ["y", { dtype: "float32", shape: ["N", 8, 1, 1] }],
      ["k", { dtype: "float32", shape: [8] }],
      ["w", { dtype: "float32", shape: [8, 3, 3, 3] }],
      ["b", { dtype: "float32", shape: [8] }],
    ]),
    constants: new Map([
      ["w", randomTensor("float32", [8, 3, 3, 3], 1, "w")],
      ["b", randomTensor("float32", [8], 1, "b")],
    ]),
  };
}

const model = path("tiny.onnx");
const neff = path("tiny.neff");
const mixed = path("mixed.neff");

beforeAll(async () => {
  writeFileSync(model, writeOnnx(network()));
  for (const [output, ...flags] of [
    [neff],
    [mixed, "--no-fuse-ops", "relu", "--minimum-segment-size", "1", "--force-fuse-ops", "conv", "pool"],
  ]) {
    const { code, err } = await command(neuronc, "compile", model, "--batch-size", "2", "--output", output, ...flags);
    expect({ code, err }).toEqual({ code: 0, err: "" });
  }
});

describe("neuronc compile", () => {
  it("prints one JSON object with the fixed keys", async () => {
    const outcome = await command(neuronc, "compile", model, "--batch-size", "2", "--output", path("json.neff"), "--json", "--verify-each");
    expect(outcome).toMatchObject({ code: 0, err: "" });
    const report = JSON.parse(outcome.out);
    expect(report).toMatchObject({
      output: path("json.neff"),
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      seconds: expect.any(Number),
      peakMemoryBytes: expect.any(Number),
      neuronCores: 1,
      flopsOnNeuron: 1,
      predicted: { latencyMs: expect.any(Number), throughputPerSecond: expect.any(Number) },
    });
    expect(report.operators).toEqual([
      { name: "conv", type: "Conv", device: "neuron", subgraph: "sg00" },
      { name: "relu", type: "Relu", device: "neuron", subgraph: "sg00" },
      { name: "pool", type: "GlobalAveragePool", device: "neuron", subgraph: "sg00" },
      { name: "fold", type: "Add", device: "neuron", reason: "folded at compile time" },
    ]);
    expect(report.subgraphs).toHaveLength(1);
    expect(report.subgraphs[0]).toMatchObject({ id: "sg00", device: "neuron", operators: 3, flops: expect.any(Number) });
    const [stage] = report.subgraphs[0].stages;
    expect(stage).toMatchObject({ core: 0, operators: 3, weightBytes: expect.any(Number), residentWeightBytes: expect.any(Number) });
    expect(stage.sbufPeakBytes).toBeGreaterThanOrEqual(stage.sbufBoundBytes);
    expect(stage.ms).toBeGreaterThan(0);
  });

  it("gives the same bytes in another folder and under another name", async () => {
    mkdirSync(path("other"));
    copyFileSync(model, path("other", "renamed.onnx"));
    const { code } = await command(
      neuronc,
      "compile",
      path("other", "renamed.onnx"),
      "--batch-size",
      "2",
      "--output",
      path("other", "x.neff"),
    );
    expect(code).toBe(0);
    expect(readFileSync(path("other", "x.neff")).equals(readFileSync(neff))).toBe(true);
    expect(readdirSync(path("other")).sort()).toEqual(["renamed.onnx", "x.neff"]);
  });

  it("tells people what they want to know", async () => {
    const { out } = await command(neuronc, "compile", model, "--batch-size", "2", "--output", path("text.neff"));
    for (const word of ["Support: 4 of 4 operators", "Partition", "Memory", "latency", "throughput", "Wrote"]) expect(out).toContain(word);
    const partly = await command(neuronc, "compile", model, "--batch-size", "2", "--output", path("text.neff"), "--no-fuse-ops", "conv");
    expect(partly.out).toMatch(/on the CPU: 1 x Conv: .*--no-fuse-ops/);
  });

  it("shows the graph after a phase", async () => {
    const { out } = await command(
      neuronc,
      "compile",
      model,
      "--batch-size",
      "2",
      "--output",
      path("ir.neff"),
      "--print-ir-after",
      "import",
    );
    expect(out).toContain("// after import\ngraph");
    const program = await command(
      neuronc,
      "compile",
      model,
      "--batch-size",
      "2",
      "--output",
      path("ir.neff"),
      "--print-ir-after",
      "schedule",
    );
    expect(program.out).toContain('// after schedule:sg00\nprogram "sg00"');
  });

  it("shows where buffers lie as a plan that memory-plan takes", async () => {
    const flags = ["--batch-size", "2", "--output", path("ir.neff"), "--print-ir-after", "allocate"];
    const { out } = await command(neuronc, "compile", model, ...flags);
    const [, text] = /\/\/ after allocate:sg00\n((?:.+,.+\n)+)/.exec(out) ?? [];
    const items = parseMemoryInstance("plan.csv", text);
    expect(items.length).toBeGreaterThan(2);
    expect(overlaps(items, offsetsIn(text))).toBe(false);
    writeFileSync(path("plan.csv"), text);
    expect((await command(neuronc, "memory-plan", path("plan.csv"), "--capacity", String(peakLive(items)))).code).toBe(0);
  });

  it("shows where infinities are made finite, and the artifact says that they are", async () => {
    const flags = ["--batch-size", "2", "--output", path("finite.neff"), "--print-ir-after", "precision"];
    const plain = await command(neuronc, "compile", model, ...flags);
    const { code, out, err } = await command(neuronc, "compile", model, ...flags, "--enable-saturate-infinity");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/= Cast\(%x, .* then Clip\(_, #1, #2\)/);
    expect(plain.out).toMatch(/= Cast\(%x\)/);
    expect(plain.out).not.toContain("Clip");
    const { manifest } = readNeff(readFileSync(path("finite.neff")));
    expect(manifest.options).toMatchObject({ enableSaturateInfinity: true, enableFastContextSwitch: false });
  });

  it.each([
    ["an empty file", Buffer.alloc(0), []],
    ["text", Buffer.from("hello\n".repeat(100)), []],
    ["open dimensions", undefined, []],
    ["a wrong word", undefined, ["--batch-size", "1", "--fast-math", "al"]],
    ["words that exclude each other", undefined, ["--batch-size", "1", "--fast-math", "all", "none"]],
    ["an unknown input", undefined, ["--batch-size", "1", "--input-shape", "nosuch=1,2"]],
    ["an unknown dtype", undefined, ["--io-config", '{"inputs":{"x":[[1,3,8,8],"float33"]}}']],
    ["an unknown operator name", undefined, ["--batch-size", "1", "--no-fuse-ops", "cov"]],
  ])("refuses %s with a coded message and no file", async (name, content, flags) => {
    const file = content ? path(`${name}.onnx`) : model;
    if (content) writeFileSync(file, content);
    const { code, out, err } = await command(neuronc, "compile", file, "--output", path("bad.neff"), ...flags);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/^NCC\d{4}: /);
    expect(existsSync(path("bad.neff"))).toBe(false);
  });
});

describe("neuron-run", () => {
  it("gives the same values from every kind of input file, and writes outputs as .npy", async () => {
    const x = randomTensor("float32", [2, 3, 8, 8], 0, "x");
    writeFileSync(path("x.npy"), writeNpy(x));
    writeFileSync(path("x.pb"), writeTensorProto("x", x));
    const sums = new Set<string>();
    for (const source of [path("x.npy"), path("x.pb"), "random:0"]) {
      const { code, out, err } = await command(
        run,
        neff,
        "--input",
        `x=${source}`,
        "--output-dir",
        path("out"),
        "--threads",
        "1",
        "--json",
      );
      expect({ code, err }).toEqual({ code: 0, err: "" });
      const report = JSON.parse(out);
      expect(report.outputs.map((output: { name: string; file: string }) => [output.name, output.file])).toEqual([
        ["y", "y.npy"],
        ["k", "k.npy"],
      ]);
      expect(report).toMatchObject({ predictedMs: expect.any(Number), hostMs: expect.any(Number) });
      sums.add(report.outputs[0].sha256);
    }
    expect(sums.size).toBe(1);
    const bias = network().constants.get("b") ?? x;
    expect(toNumbers(readNpy(readFileSync(path("out", "k.npy")), "k.npy"))).toEqual(toNumbers(bias).map((value) => 2 * value));
  });

  it.each([neff, mixed])("compares with the original model: %s", async (artifact) => {
    const { code, out } = await command(run, artifact, "--reference", "--repeat", "2", "--threads", "1", "--json");
    expect(code).toBe(0);
    const [error] = JSON.parse(out).errors;
    expect(error).toMatchObject({ name: "y", maxAbs: expect.any(Number), maxRel: expect.any(Number) });
    expect(error.cosine).toBeGreaterThan(0.9995);
  });

  it("finds the original model by its content, or says that it can't", async () => {
    mkdirSync(path("alone"));
    copyFileSync(neff, path("alone", "x.neff"));
    const alone = await command(run, path("alone", "x.neff"), "--reference");
    expect(alone).toMatchObject({ code: 1, err: expect.stringContaining("NCC0806") });
    expect((await command(run, neff, "--reference", neff)).err).toMatch(/^NCC0106/);
    writeFileSync(path("alone", "other.onnx"), writeOnnx({ ...network(), name: "other" }));
    const wrong = await command(run, neff, "--reference", path("alone", "other.onnx"));
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining("NCC0807") });
    expect((await command(run, path("alone", "x.neff"), "--reference", model)).code).toBe(0);
  });

  it.each([neff, mixed])("predicts without computing, from the programs: %s", async (file) => {
    const artifact = readNeff(readFileSync(file));
    const { predicted } = artifact.manifest;
    const manifest = { ...artifact.manifest, predicted: { latencyMs: 1e9, throughputPerSecond: 1 } };
    writeFileSync(path("untrue.neff"), await writeNeff({ ...artifact, manifest }));
    const { out } = await command(run, path("untrue.neff"), "--timing-only", "--json");
    expect(JSON.parse(out)).toEqual({ outputs: [], predictedMs: predicted.latencyMs, predicted });
  });

  it("refuses inputs that don't fit", async () => {
    writeFileSync(path("shape.npy"), writeNpy(floatTensor([1, 3], [1, 2, 3])));
    writeFileSync(path("type.npy"), writeNpy(fromNumbers("int32", [2, 3, 8, 8], new Array<number>(384).fill(0))));
    const refused = async (source: string) => (await command(run, neff, "--input", source)).err;
    expect(await refused(`x=${path("shape.npy")}`)).toMatch(/^NCC0371: input x: shape \[1,3\]/);
    expect(await refused(`x=${path("type.npy")}`)).toMatch(/^NCC0372: input x: dtype int32/);
    expect(await refused(`x=${path("none.npy")}`)).toMatch(/^NCC0101/);
    expect(await refused("z=zeros")).toMatch(/^NCC0351/);
  });

  it("refuses a damaged artifact", async () => {
    const bytes = readFileSync(neff);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(path("flipped.neff"), bytes);
    for (const factory of [run, checkModelCommand]) {
      expect(await command(factory, path("flipped.neff"))).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/^NCC0704/) });
    }
  });
});

describe("the other commands", () => {
  it("neuron-check-model before compiling", async () => {
    const { out } = await command(checkModelCommand, model);
    const lines = out.split("\n");
    expect(lines[0]).toBe("");
    expect(lines).toContain("Op Type            Num Instances   Neuron Supported ?");
    expect(lines).toContain("-------            -------------   ------------------");
    expect(lines).toContain("GlobalAveragePool  1               Yes ");
    expect(out).toMatch(/: 4\n.*: 4\n.*: 100\.0\n/);
    const names = await command(checkModelCommand, "--show_names", model);
    expect(names.out).toContain("Op Name   Op Type            Neuron Supported ?\n");
    expect(names.out).toContain("relu      Relu               Yes \n");
    expect(JSON.parse((await command(checkModelCommand, "--json", model)).out)).toMatchObject({
      compiled: false,
      total: 4,
      supported: 4,
      percent: 100,
    });
  });

  it("neuron-check-model after compiling", async () => {
    const { out } = await command(checkModelCommand, mixed, "--expand_subgraph");
    expect(out).toMatch(/^\n\* Found [12] Neuron subgraph\(s\) \(NeuronOp\(s\)\) in this compiled model\./);
    expect(out).toMatch(/NeuronOp {2}[12] {15}Yes \n.*Relu {6}1 {15}No /s);
    expect(out).toContain("at least 1 NeuronCore(s)");
    expect(out).toContain("\n     Op Type   Num Instances \n");
    const { manifest } = readNeff(readFileSync(mixed));
    expect(manifest).toMatchObject({ neuronCores: 2, subgraphs: [{ firstCore: 0 }, {}, { firstCore: 1 }] });
    expect(JSON.parse((await command(checkModelCommand, "--json", mixed)).out)).toMatchObject({
      compiled: true,
      neuronCores: 2,
      leastNeuronCores: 1,
      subgraphs: [{ firstCore: 0, cores: 1 }, { cores: 0 }, { firstCore: 1, cores: 1 }],
    });
    expect(decodeHeader(readFileSync(mixed))).toMatchObject({ cores: 2 });
  });

  it("neuron-packager info and unpack", async () => {
    const { out } = await command(packager, "info", mixed);
    expect(out).toMatch(/NEFF Header:\n {2}Package Version +2\n {2}Header Size \(bytes\) +1024\n/);
    expect(out).toContain("NEFF Nodes:");
    expect(JSON.parse((await command(packager, "info", neff, "--json")).out)).toMatchObject({ header: { packageVersion: 2, cores: 1 } });
    expect((await command(packager, "unpack", mixed, path("unpacked"))).code).toBe(0);
    const listed = execFileSync("sh", ["-c", `tail -c +1025 ${mixed} | tar tz`], { encoding: "utf8" })
      .trim()
      .split("\n");
    for (const name of listed) expect(existsSync(path("unpacked", name))).toBe(true);
    expect(listed.some((name) => name.endsWith("model.onnx"))).toBe(true);
  });

  it("neuronc list-operators", async () => {
    const { code, out } = await command(neuronc, "list-operators", "--framework", "ONNX");
    expect(code).toBe(0);
    expect(out.split("\n")).toEqual(expect.arrayContaining(["Conv", "Relu"]));
    expect(out).toMatch(/^\w+\n(\w+\n)+$/);
  });
});

describe("the API", () => {
  it("compiles, loads from bytes and runs", async () => {
    const { bytes, report } = await compileModel(model, { inputShapes: new Map([["x", [1, 3, 8, 8]]]) });
    expect(report.signature.inputs).toEqual([{ name: "x", dtype: "float32", shape: [1, 3, 8, 8] }]);
    const loaded = await loadModel(bytes, { threads: 1 });
    try {
      const outputs = await loaded.run(new Map([["x", randomTensor("float32", [1, 3, 8, 8], 0, "x")]]));
      expect(outputs.get("y")?.shape).toEqual([1, 8, 1, 1]);
      expect(await asyncRefusal(() => loaded.run(new Map()))).toContain("NCC0373");
    } finally {
      await loaded.dispose();
    }
  });
});

describe.skipIf(!existsSync("dist/src/cli/main.js"))("the bin entries (skipped without a build)", () => {
  it("run as processes", () => {
    const outcome = spawnSync(process.execPath, ["bin/neuron-packager.js", "info", neff], { encoding: "utf8" });
    expect(outcome).toMatchObject({ status: 0, stderr: "" });
    const wrong = spawnSync(process.execPath, ["bin/neuronc.js", "compile", "nosuch.onnx", "--output", path("none.neff")], {
      encoding: "utf8",
    });
    expect(wrong).toMatchObject({ status: 1, stdout: "", stderr: expect.stringMatching(/^NCC0101/) });
  });
});
