import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { phases } from "../../src/driver/phases.js";
import { passNames } from "../../src/passes/names.js";
import { writeSmallNet } from "../small_net.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-print-ir-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [model, output] = [writeSmallNet(folder), join(folder, "net.neff")];

const cores = ["--neuroncore-pipeline-cores", "2"];
const after = (word: string, ...flags: string[]) =>
  command(neuronc, "compile", model, "--output", output, "--minimum-segment-size", "1", "--print-ir-after", word, ...flags);
const heads = (text: string) => [...text.matchAll(/^\/\/ after (\S+)/gm)].map((match) => match[1]);

describe("--print-ir-after", () => {
  it("shows each phase, and says so where one made nothing", async () => {
    const parts = { precision: ["sg00"], pipeline: ["sg00"], lower: ["sg00.0"], allocate: ["sg00.0"], schedule: ["sg00.0"] };
    for (const phase of phases) {
      const { code, out, err } = await after(phase, ...cores);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(heads(out)).toEqual(phase in parts ? parts[phase as keyof typeof parts].map((part) => `${phase}:${part}`) : [phase]);
    }
    const { code, out, err } = await after("pipeline");
    expect({ code, heads: heads(out), err }).toEqual({
      code: 0,
      heads: [],
      err: "WARN: --print-ir-after pipeline: pipeline made nothing in this compile\n",
    });
  });

  it("shows a pass, a subgraph and a stage, and with --json beside the object", async () => {
    for (const pass of passNames) expect(heads((await after(`normalise:${pass}`)).out)).toEqual([`normalise:${pass}`]);
    expect(heads((await after("lower:sg00", ...cores)).out)).toEqual(["lower:sg00.0"]);
    expect(heads((await after("lower:sg00.0", ...cores)).out)).toEqual(["lower:sg00.0"]);
    expect(heads((await after("schedule:sg00")).out)).toEqual(["schedule:sg00"]);
    const { out, err } = await after("Check", "--json", "--print-ir-after", "normalise:bind");
    expect(JSON.parse(out).output).toBe(output);
    expect(err).toMatch(/^\/\/ after normalise:bind\ngraph/);
    expect(heads(err)).toEqual(["normalise:bind", "check"]);
  });

  it.each([
    ["bind", "NCC0403: --print-ir-after bind: no such word (did you mean normalise:bind?)"],
    ["normalise:fusee", "NCC0403: --print-ir-after normalise:fusee: no such word (did you mean normalise:fuse?)"],
    ["normalise:", "NCC0403: --print-ir-after normalise:"],
    ["check:a", "NCC0402: --print-ir-after check:a: check is shown whole; give check"],
    ["lower:sg0", "NCC0403: --print-ir-after lower:sg0: no such word (did you mean lower:sg00?); known are lower:sg00"],
    ["", "NCC0403: --print-ir-after : no such word"],
  ])("refuses %j, and writes nothing", async (word, message) => {
    rmSync(output, { force: true });
    const { code, err } = await after(word);
    expect({ code, written: existsSync(output) }).toEqual({ code: 1, written: false });
    expect(err).toContain(message);
  });

  it("is told of by --help, with all that there is", async () => {
    const { out } = await command(neuronc, "compile", "--help");
    const text = out.replace(/\s+/g, " ");
    expect(text).toContain(
      `print what a phase made: ${phases.join(", ")}; of normalise a pass, as normalise:bind (${passNames.join(", ")})`,
    );
  });
});
