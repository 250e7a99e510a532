import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, describe, expect, it } from "vitest";
import { checkModelCommand } from "../../src/cli/check_model.js";
import { neuronc } from "../../src/cli/neuronc.js";
import { withOptions } from "../../src/cli/options.js";
import { run } from "../../src/cli/run.js";
import { compileModel } from "../../src/driver/compile.js";
import { argumentOptions, artifactOptions, type CompileOptions } from "../../src/driver/options.js";
import { writeOnnx } from "../../src/frontend/index.js";
import { floatTensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { compileSavedModel } from "../../src/index.js";
import { readNeff } from "../../src/neff/neff.js";
import { flagParts, parseArguments } from "../../src/options/arguments.js";
import { givenOptions, manifestOptions, optionsSchema } from "../../src/options/manifest.js";
import { modelOptions, type OptionName, optionNames, rows } from "../../src/options/table.js";
import { writeNpy } from "../../src/runtime/files/npy.js";
import { command } from "../cli/command.js";
import { asyncRefusal, refusal } from "../refusal.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-options-"));
afterAll(() => rmSync(folder, { recursive: true }));

const value = join(folder, "s.npy");
writeFileSync(value, writeNpy(floatTensor([4], [1, 2, 3, 4])));

/** Of each option, the words that give it and what they say. */
const samples: { readonly [Name in OptionName]: readonly [words: readonly string[], option: unknown] } = {
  framework: [["--framework", "onnx"], "ONNX"],
  signature: [["--signature", "serve"], "serve"],
  tagSet: [["--tag-set", "a,b"], "a,b"],
  ioConfig: [["--io-config", '{"outputs": ["y"]}'], { outputs: ["y"] }],
  batchSize: [["--batch-size", "3"], 3],
  inputShapes: [["--input-shape", "b=1,2", "--input-shape", "a="], new Map([["b", [1, 2]], ["a", []]])], // biome-ignore format: one line
  inputValues: [["--input-value", `s=${value}`], new Map([["s", floatTensor([4], [1, 2, 3, 4])]])],
  dynamicBatchSize: [["--dynamic-batch-size"], true],
  neuroncorePipelineCores: [["--num-neuroncores", "auto"], "auto"],
  fastMath: [
    ["--fast-math", "fp32-cast-matmult", "fast-relayout"],
    ["fp32-cast-matmult", "fast-relayout"],
  ],
  fp32Cast: [["--fp32-cast=matmult"], "matmult"],
  minimumSegmentSize: [["--minimum-segment-size", "0"], 0],
  noFuseOps: [
    ["--no-fuse-ops", "a", "b", "--no-fuse-ops", "c"],
    ["a", "b", "c"],
  ],
  forceFuseOps: [["--force-fuse-ops", "d"], ["d"]],
  supportedOpTypes: [
    ["--supported-op-types", "Add", "Mul"],
    ["Add", "Mul"],
  ],
  enableSaturateInfinity: [["--enable-saturate-infinity"], true],
  enableFastLoadingNeuronBinaries: [["--enable-fast-loading-neuron-binaries"], true],
  enableFastContextSwitch: [["--enable-fast-context-switch"], true],
  verifyEach: [["--verify-each"], true],
};

describe("the table of options", () => {
  it("is what command lines say, by commander as by the list of compiler arguments", async () => {
    for (const name of optionNames) {
      const [words, option] = samples[name];
      expect(await argumentOptions(words)).toEqual({ [name]: option });
      const parsed = withOptions(new Command(), optionNames).parse([...words], { from: "user" });
      expect(parsed.opts()).toEqual(parseArguments(words));
    }
    expect(parseArguments([])).toEqual(withOptions(new Command(), optionNames).parse([], { from: "user" }).opts());
  });

  it("is in each command's help as far as the command has to do with it", async () => {
    const flagsOf = async (...words: string[]) => {
      const { out } = await (words[0] === "check" ? command(checkModelCommand, "--help") : command(neuronc, ...words, "--help"));
      return optionNames.filter((name) => out.includes(`\n  ${rows[name].flag} `) || out.includes(`\n  ${rows[name].flag}\n`));
    };
    expect(await flagsOf("compile")).toEqual(optionNames);
    expect(await flagsOf("reduce")).toEqual(optionNames);
    expect(await flagsOf("check")).toEqual(modelOptions);
    const suggested = ["batchSize", "neuroncorePipelineCores"];
    expect(await flagsOf("suggest")).toEqual(optionNames.filter((name) => !suggested.includes(name)));
  });

  it("is in the manifest, from which the options are made again", () => {
    const all: CompileOptions = Object.fromEntries(optionNames.map((name) => [name, samples[name][1]]));
    const again = givenOptions(JSON.parse(JSON.stringify(manifestOptions(all))));
    // The first two are elsewhere in the artifact; the last changes nothing that is in it.
    const elsewhere: readonly OptionName[] = ["framework", "inputValues", "verifyEach"];
    for (const name of optionNames) expect([name, again[name]]).toEqual([name, elsewhere.includes(name) ? undefined : all[name]]);
    expect(Object.keys(optionsSchema.fields)).toEqual(optionNames.filter((name) => rows[name].kept !== undefined));
    expect(optionNames.filter((name) => rows[name].kept === undefined)).toEqual(["framework", "verifyEach"]);
    expect(manifestOptions({})).toEqual(manifestOptions(givenOptions(manifestOptions({}))));
  });
});

describe("compiler arguments", () => {
  it("take what the vendor's integrations pass besides", () => {
    expect(parseArguments(["--verbose", "1", "--pipeline", "compile", "SaveTemps", "--batch-size", "2"])).toEqual({ batchSize: 2 });
  });

  it.each([
    [["--fast-mat", "none"], "NCC0401: compiler arguments: --fast-mat is no flag of a compile (did you mean --fast-math?)"],
    [["--output", "x"], "NCC0401: compiler arguments: --output is no flag of a compile"],
    [["model.onnx"], "NCC0401: compiler arguments: model.onnx is no flag"],
    [["--batch-size"], "NCC0401: compiler arguments: --batch-size lacks its word"],
    [["--verify-each=yes"], "NCC0401: compiler arguments: --verify-each takes no word, yes is one"],
    [["--num-neuroncores", "0"], "NCC0402: --num-neuroncores 0: not a whole number from 1 to 64"],
  ])("%j are refused", (words, message) => {
    expect(refusal(() => parseArguments(words))).toContain(message);
  });

  it("name no flag's words", () => {
    expect(flagParts("--fast-math <words...>")).toEqual({ name: "--fast-math", arity: "many" });
  });
});

describe("an artifact's options", () => {
  const model = join(folder, "net.onnx");
  writeFileSync(
    model,
    writeOnnx(
      parseGraph(`graph "net" { input %x: float32[N, 4]
  input %s: float32[4]
  %a: float32[N, 4] = Add(%x, %s) @a
  %m: float32[N, 4] = Mul(%a, %a) @m
  %e: float32[N, 4] = Exp(%m) @e
  output %e }`),
    ),
  );
  const inputValues = new Map([["s", floatTensor([4], [1, 2, 3, 4])]]);
  const folders = join(import.meta.dirname, "../frontend/tensorflow/models");

  it.each<[string, CompileOptions]>([
    ["types of operators", { batchSize: 2, inputValues, supportedOpTypes: ["Add", "Mul"], minimumSegmentSize: 1 }],
    ["an io-config", { ioConfig: { inputs: { x: [[3, 4], "float32"] } }, inputValues, neuroncorePipelineCores: "auto" }],
    ["operators by name", { inputShapes: new Map([["x", [2, 4]]]), inputValues, noFuseOps: ["m"], forceFuseOps: ["e"], fp32Cast: "all" }],
  ])("with %s, compile the model to the same artifact again", async (_, options) => {
    const { bytes } = await compileModel(model, options);
    const again = await compileModel(model, artifactOptions(readNeff(bytes)));
    expect(again.bytes).toEqual(bytes);
  });

  it("let neuron-run look inside the part of a TensorFlow model that an io-config cuts out", async () => {
    const cut = JSON.stringify({ inputs: { "serving_default_x:0": [[3, 2], "float32"] }, outputs: ["first"] });
    const [path, output] = [join(folders, "two_variables"), join(folder, "cut.neff")];
    const compiled = await command(neuronc, "compile", path, "--io-config", cut, "--minimum-segment-size", "1", "--output", output);
    expect(compiled).toMatchObject({ code: 0, err: "" });
    const { code, out, err } = await command(run, output, "--reference", path, "--per-tensor", "--json");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(JSON.parse(out).tensors.length).toBeGreaterThan(0);
  });

  it("are also those that compiler arguments give, values of inputs among them", async () => {
    const path = join(folder, "x.npy");
    writeFileSync(path, writeNpy(floatTensor([3, 2], [1, 2, 3, 4, 5, 6])));
    const { artifact } = await compileSavedModel(join(folders, "two_variables"), { compilerArgs: ["--input-value", `x=${path}`] });
    expect(artifactOptions(artifact).inputValues).toEqual(new Map([["x", floatTensor([3, 2], [1, 2, 3, 4, 5, 6])]]));
    expect(artifact.manifest.signature.inputs).toEqual([]);
    const missing = { compilerArgs: ["--input-value", `x=${path}.none`] };
    expect(await asyncRefusal(() => compileSavedModel(join(folders, "two_variables"), missing))).toContain("NCC0101");
  });

  it("let cores be found where everything follows from constants", async () => {
    const output = join(folder, "folded.neff");
    const flags = ["--batch-size", "1", "--input-value", `s=${value}`, "--neuroncore-pipeline-cores", "auto", "--output", output];
    const folded = join(folder, "folded.onnx");
    writeFileSync(
      folded,
      writeOnnx(
        parseGraph(`graph "folded" { input %s: float32[4]
  %y: float32[4] = Exp(%s) @y
  output %y }`),
      ),
    );
    expect(await command(neuronc, "compile", folded, ...flags.slice(2))).toMatchObject({ code: 0 });
    expect(await command(run, output)).toMatchObject({ code: 0 });
  });
});
