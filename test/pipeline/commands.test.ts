import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { checkModelCommand } from "../../src/cli/check_model.js";
import { neuronc } from "../../src/cli/neuronc.js";
import { packager } from "../../src/cli/packager.js";
import { run } from "../../src/cli/run.js";
import { loadModel } from "../../src/driver/run.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Node, TensorType } from "../../src/graph/graph.js";
import { parseGraph } from "../../src/graph/text.js";
import { decodeHeader } from "../../src/neff/header.js";
import { randomTensor } from "../../src/runtime/random.js";
import { command } from "../cli/command.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-pipeline-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string) => join(folder, name);

/** Six convolutions of 64 channels on [N, 64, 24, 24]. */
function chain(): string {
  const layers = [0, 1, 2, 3, 4, 5];
  const conv = (layer: number): Node => ({
    name: `conv${layer}`,
    op: "Conv",
    domain: "",
    inputs: [`v${layer}`, `w${layer}`],
    outputs: [`v${layer + 1}`],
    attributes: { pads: { type: "ints", value: [1, 1, 1, 1] } },
    origins: [`conv${layer}`],
  });
  const weights = layers.map((layer) => [`w${layer}`, randomTensor("float32", [64, 64, 3, 3], layer, "w")] as const);
  const value: TensorType = { dtype: "float32", shape: ["N", 64, 24, 24] };
  const file = path("chain.onnx");
  writeFileSync(
    file,
    writeOnnx({
      name: "chain",
      inputs: ["v0"],
      outputs: ["v6"],
      nodes: layers.map(conv),
      types: new Map<string, TensorType>([["v0", value], ["v6", value], ...weights]),
      constants: new Map(weights),
    }),
  );
  return file;
}

/** Four products with 512 x 512 weights for a single row: their way on chip takes longer than the work. */
function dense(): string {
  const layers = [0, 1, 2, 3];
  const graph = parseGraph(`graph "dense" { input %v0: float32[1, 512]
    ${layers.map((layer) => `%v${layer + 1}: float32[1, 512] = MatMul(%v${layer}, %w${layer}) @product${layer}`).join("\n")}
    output %v4 }`);
  const weights = layers.map((layer) => [`w${layer}`, randomTensor("float32", [512, 512], layer, "w")] as const);
  const file = path("dense.onnx");
  writeFileSync(file, writeOnnx({ ...graph, types: new Map([...graph.types, ...weights]), constants: new Map(weights) }));
  return file;
}

describe("pipelines from the command line", () => {
  const model = chain();

  it("compile to so many stages, are shown by every command, and give the bits of one core", async () => {
    const compile = (name: string, ...flags: string[]) =>
      command(neuronc, "compile", model, "--batch-size", "1", "--output", path(name), "--verify-each", ...flags);
    expect((await compile("one.neff")).code).toBe(0);
    const { code, out } = await compile("three.neff", "--num-neuroncores", "3");
    expect(code).toBe(0);
    const summary =
      /Pipeline sg00: 3 stages, filled in [\d.]+ ms; core \d is slowest with [\d.]+ ms\n.*no cut is below [\d.]+ ms \(gap .*\n.*streamed: \d+ %, \d+ %, \d+ %/;
    expect(out).toMatch(summary);
    const header = decodeHeader(readFileSync(path("three.neff")));
    expect(header).toMatchObject({ cores: 3, requestedCores: 3, coresPerNode: expect.arrayContaining([3]) });
    expect((await command(checkModelCommand, path("three.neff"))).out).toContain("at least 3 NeuronCore(s)");
    expect((await command(packager, "info", path("three.neff"))).out).toMatch(summary);
    const [one, three] = await Promise.all(
      ["one.neff", "three.neff"].map(async (name) => JSON.parse((await command(run, path(name), "--json")).out)),
    );
    expect(three.outputs[0].sha256).toBe(one.outputs[0].sha256);
    expect(three.pipelines).toMatchObject([{ id: "sg00", stages: [{ core: 0 }, { core: 1 }, { core: 2 }] }]);
    expect(one.pipelines).toEqual([]);
    expect(three.predicted.throughputPerSecond).toBeGreaterThanOrEqual(one.predicted.throughputPerSecond);
    expect((await command(run, path("three.neff"))).out).toMatch(summary);
  }, 30_000);

  it("with auto take the fewest cores, here one", async () => {
    const { code, out } = await command(
      neuronc,
      ...["compile", model, "--batch-size", "1", "--output", path("auto.neff"), "--json"],
      ...["--neuroncore-pipeline-cores", "auto"],
    );
    expect(code).toBe(0);
    const { neuronCores, subgraphs } = JSON.parse(out);
    expect(neuronCores).toBe(1);
    expect(subgraphs[0].stages[0].residentWeightBytes).toBe(subgraphs[0].stages[0].weightBytes);
    expect(decodeHeader(readFileSync(path("auto.neff"))).requestedCores).toBe(1);
  });

  it("bring every weight with each request for fast context switches, with the same bits", async () => {
    const [fast, model] = ["--enable-fast-context-switch", dense()];
    const compile = async (...flags: string[]) => {
      const all = ["--output", path("switch.neff"), "--verify-each", "--json", ...flags];
      const { code, out, err } = await command(neuronc, "compile", model, ...all);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      const { subgraphs, predicted } = JSON.parse(out);
      const { outputs } = JSON.parse((await command(run, path("switch.neff"), "--json")).out);
      const memory = subgraphs[0].stages.map(({ weightBytes, residentWeightBytes }: Record<string, number>) => [
        weightBytes,
        residentWeightBytes,
      ]);
      return { memory, ms: predicted.latencyMs, sha256: outputs[0].sha256 };
    };
    const weightsOf = ({ memory }: { memory: number[][] }) => memory.reduce((sum, [bytes]) => sum + bytes, 0);
    for (const cores of [1, 3]) {
      const flags = ["--neuroncore-pipeline-cores", String(cores)];
      const [kept, brought] = [await compile(...flags), await compile(...flags, fast)];
      expect(kept.memory.every(([bytes, resident]: number[]) => resident === bytes)).toBe(true);
      expect(brought.memory.every(([, resident]: number[]) => resident === 0)).toBe(true);
      expect(weightsOf(brought)).toBe(weightsOf(kept));
      expect(brought.ms).toBeGreaterThan(kept.ms);
      expect(brought.sha256).toBe(kept.sha256);
    }
    const flags = ["--output", path("switch.neff"), fast];
    expect((await command(neuronc, "compile", model, ...flags)).out).toContain("No weight stays on chip between requests");
    const refused = await command(neuronc, "compile", model, ...flags, "--neuroncore-pipeline-cores", "auto");
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/NCC0455: --neuroncore-pipeline-cores auto: .*--enable-fast-context-switch/);
  }, 30_000);

  it("take user batches of any size", async () => {
    const flags = ["--batch-size", "2", "--dynamic-batch-size", "--neuroncore-pipeline-cores", "2"];
    expect((await command(neuronc, "compile", model, "--output", path("dynamic.neff"), ...flags)).code).toBe(0);
    const [one, two] = await Promise.all(["one.neff", "dynamic.neff"].map((name) => loadModel(path(name), { threads: 1 })));
    const items = randomTensor("float32", [3, 64, 24, 24], 5, "v0");
    const size = items.data.length / 3;
    const whole = (await two.run(new Map([["v0", items]]))).get("v6");
    expect(whole?.shape).toEqual([3, 64, 24, 24]);
    for (let item = 0; item < 3; item++) {
      const data = items.data.slice(item * size, (item + 1) * size);
      const alone = (await one.run(new Map([["v0", { dtype: "float32", shape: [1, 64, 24, 24], data }]]))).get("v6");
      expect(whole?.data.slice(item * size, (item + 1) * size)).toEqual(alone?.data);
    }
    await Promise.all([one.dispose(), two.dispose()]);
  }, 30_000);
});
