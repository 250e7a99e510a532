import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { checkModelCommand } from "../../src/cli/check_model.js";
import { checkFolder, checkWritable, fileNames, inside, writeWhole } from "../../src/cli/files.js";
import { inputSource, logLevel } from "../../src/cli/flags.js";
import { bytes, columns, flops, significant } from "../../src/cli/format.js";
import { neuronc } from "../../src/cli/neuronc.js";
import { packager } from "../../src/cli/packager.js";
import { run } from "../../src/cli/run.js";
import { Terminal } from "../../src/cli/terminal.js";
import { inputShape } from "../../src/options/values.js";
import { refusal } from "../refusal.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-flags-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("wrong flags", () => {
  const output = join(folder, "out.neff");

  it.each([
    [["--batch-size", "0"], "NCC0402: --batch-size 0: not a whole number from 1"],
    [["--batch-size", "-1"], "NCC0402: --batch-size -1"],
    [["--batch-size", "1e9"], "NCC0402: --batch-size 1e9"],
    [["--batch-size", "x"], "NCC0402: --batch-size x"],
    [["--neuroncore-pipeline-cores", "0"], "NCC0402: --neuroncore-pipeline-cores 0: not a whole number from 1 to 64"],
    [["--neuroncore-pipeline-cores", "65"], "NCC0402"],
    [["--num-neuroncores", "65"], "NCC0402"],
    [["--minimum-segment-size", "-3"], "NCC0402"],
    [["--input-shape", "x"], "NCC0405: --input-shape x: not of the form"],
    [["--input-shape", "x=1,-2"], "NCC0405"],
    [["--input-value", "axes"], "NCC0409: --input-value axes: not of the form NAME=FILE"],
    [["--io-config", "{"], "NCC0406: --io-config: it is not JSON"],
    [["--io-config", "nosuchfile"], "NCC0406: --io-config: nosuchfile is neither JSON nor a file"],
    [["--framework", "CAFFE"], "NCC0403: --framework CAFFE: no such word; known are ONNX, TENSORFLOW"],
    [["--framework", "TENSORFLOW"], "NCC0101: model.onnx: no such file"],
    [["--verbose", "LOUD"], "NCC0403: --verbose LOUD"],
    [["--print-ir-after", "partitoin"], "NCC0403: --print-ir-after partitoin: no such word (did you mean partition?)"],
    [["--nosuchflag"], "NCC0401: unknown option '--nosuchflag'"],
    [["--ouptut", "x"], "(Did you mean --output?)"],
    [["--batch-size"], "NCC0401: option '--batch-size <n>' argument missing"],
    [["second.onnx"], "NCC0402: MODEL"],
    [["--output", join(folder, "no", "x.neff")], "NCC0706"],
    [["--output", folder], "NCC0706"],
    [["--output", join(folder, "x".repeat(300))], "NCC0706"],
    [["--output", "\0"], "NCC0706"],
  ])("%j", async (flags, message) => {
    const { code, out, err } = await command(neuronc, "compile", "model.onnx", "--output", output, ...flags);
    expect(err).toContain(message);
    expect(err).not.toMatch(/\n\s+at /);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(existsSync(output)).toBe(false);
  });

  it("of the other commands", async () => {
    expect((await command(neuronc)).err).toContain("NCC0401: a command is missing");
    expect((await command(neuronc, "comple")).err).toContain("Did you mean compile?");
    expect((await command(neuronc, "compile")).err).toContain("NCC0401: missing required argument");
    expect((await command(neuronc, "list-operators")).err).toContain("NCC0401: required option");
    expect((await command(neuronc, "list-operators", "--framework", "CAFFE")).err).toContain("NCC0403");
    expect((await command(run, "x.neff", "--input", "x")).err).toContain("NCC0408");
    expect((await command(run, "x.neff", "--input", "x=random:y")).err).toContain("NCC0408");
    expect((await command(run, "x.neff", "--repeat", "0")).err).toContain("NCC0402");
    expect((await command(checkModelCommand)).err).toContain("NCC0401");
  });

  it("gives help and the version on stdout", async () => {
    for (const factory of [neuronc, run, packager, checkModelCommand]) {
      const help = await command(factory, "--help");
      expect(help).toMatchObject({ code: 0, err: "" });
      expect(help.out).toContain("Usage: neuron");
      expect((await command(factory, "--version")).out).toMatch(/^\d+\.\d+\.\d+\n$/);
    }
  });
});

describe("flag values", () => {
  it("are parsed", () => {
    expect(inputShape("b=", inputShape("a:0=1,3"))).toEqual(new Map([["a:0", [1, 3]], ["b", []]])); // biome-ignore format: one line
    expect(["DEBUG", "info", "0", "1", "2", "35"].map(logLevel)).toEqual(["DEBUG", "INFO", "WARN", "INFO", "DEBUG", "WARN"]);
    expect([...inputSource("x=a=b.npy").values()]).toEqual([{ kind: "file", path: "a=b.npy" }]);
    expect([...inputSource("x=random").values()]).toEqual([{ kind: "random", seed: 0 }]);
    expect([...inputSource("x=zeros").values()]).toEqual([{ kind: "zeros" }]);
  });
});

describe("output files", () => {
  it("are written whole, and leave nothing behind when they can't be", () => {
    const path = join(folder, "w.neff");
    writeWhole(path, "content");
    mkdirSync(join(folder, "taken", "inner"), { recursive: true });
    expect(refusal(() => writeWhole(join(folder, "taken"), "content"))).toContain("NCC0706");
    expect(refusal(() => writeWhole(join(folder, "none", "x"), "content"))).toContain("NCC0706");
    expect(refusal(() => checkWritable(join(path, "x")))).toContain("NCC0706");
    expect(readdirSync(folder).filter((name) => name.endsWith(".partial"))).toEqual([]);
  });

  it("have folders that are checked before the work and made after it", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "content");
    for (const path of [file, join(file, "x"), "", "\0"]) expect(refusal(() => checkFolder(path))).toContain("NCC0706");
    checkFolder(join(folder, "not", "yet"));
    const absent = join(folder, "none.onnx");
    for (const [factory, ...words] of [[neuronc, "reduce", absent] as const, [run, absent] as const]) {
      expect((await command(factory, ...words, "--output-dir", file)).err).toContain("NCC0706");
      expect((await command(factory, ...words, "--output-dir", join(folder, "not"))).err).toContain("NCC0101");
    }
    expect(existsSync(join(folder, "not"))).toBe(false);
  });

  it("get safe, distinct names", () => {
    expect(fileNames(["a/b:0", "a_b_0", "..", "", "A/b:0"], ".npy")).toEqual([
      "a_b_0.npy",
      "a_b_0_2.npy",
      "_.npy",
      "__2.npy",
      "A_b_0_3.npy",
    ]);
    expect(refusal(() => inside(folder, "../x", "x.neff"))).toContain("NCC0705");
  });
});

describe("text", () => {
  it("has three digits and fitting units", () => {
    expect([0, 999, 1000, 51_100_000, 1.5e13].map(bytes)).toEqual(["0 B", "999 B", "1.00 kB", "51.1 MB", "15.0 TB"]);
    expect(flops(8.18e9)).toBe("8.18 GFLOP");
    expect([0.00123, 1.234, 123.4, 12345].map(significant)).toEqual(["0.00123", "1.23", "123", "12345"]);
    expect(columns(["A", "Bee"], [3, 4], [["1", "2"]])).toBe("A    Bee \n-    --- \n1    2   ");
  });

  it("goes where the vendor's logs go", () => {
    const lines: string[] = [];
    const streams = {
      out: (text: string) => lines.push(`out ${text}`),
      err: (text: string) => lines.push(`err ${text}`),
      interactive: false,
    };
    const terminal = new Terminal(streams, "INFO");
    terminal.log("DEBUG", "a");
    terminal.log("INFO", "b");
    terminal.log("WARN", "c");
    terminal.progress("d");
    new Terminal(streams, "INFO", true).log("INFO", "e");
    new Terminal(streams, "INFO", true).print("f");
    expect(lines).toEqual(["out b\n", "err WARN: c\n", "err e\n"]);
  });
});

describe("neuron-packager", () => {
  it("refuses what is no artifact", async () => {
    const path = join(folder, "x.neff");
    writeFileSync(path, "hello");
    for (const word of ["info", "unpack"]) {
      expect(await command(packager, word, path)).toMatchObject({ code: 1, out: "", err: expect.stringContaining("NCC0701") });
      expect(await command(packager, word, join(folder, "none.neff"))).toMatchObject({ code: 1, err: expect.stringContaining("NCC0101") });
    }
    expect(await command(checkModelCommand, path)).toMatchObject({ code: 1, err: expect.stringContaining("NCC0701") });
    expect(await command(run, path)).toMatchObject({ code: 1 });
  });
});
