import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { run } from "../../src/cli/run.js";
import { writeOnnx } from "../../src/frontend/index.js";
import { floatTensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { writeNpy } from "../../src/runtime/files/npy.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-forensics-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [model, neff] = [join(folder, "net.onnx"), join(folder, "net.neff")];

/** What is subtracted at the end leaves rounding alone. */
const graph = parseGraph(`graph "net" { input %x: float32[4, 16]
  const %w: float32[16, 16] = [${Array.from({ length: 256 }, (_, index) => (index % 17 === 0 ? 1 : 0.001)).join(", ")}]
  %a: float32[16, 4] = Transpose(%x) {perm = [1, 0]} @a
  %b: float32[4, 16] = Transpose(%a) {perm = [1, 0]} @b
  %c: float32[4, 16] = Softmax(%b) @c
  %d: float32[4, 16] = MatMul(%c, %w) @d
  %e: float32[4, 16] = Softmax(%d) @e
  %f: float32[4, 16] = Sub(%d, %c) @f
  output %e
  output %f }`);
writeFileSync(model, writeOnnx(graph));

describe("forensics", () => {
  it("name the class of each tensor that both sides have, and the first that leaves it", async () => {
    const flags = ["--fast-math", "none", "--minimum-segment-size", "1", "--output", neff];
    expect((await command(neuronc, "compile", model, ...flags)).code).toBe(0);
    const { code, out } = await command(run, neff, "--per-tensor", "--json");
    expect(code).toBe(0);
    const { tensors } = JSON.parse(out);
    expect(tensors.map(({ name, exactness }: { name: string; exactness: string }) => [name, exactness])).toEqual([
      ["c", "fp32"],
      ["d", "rounded"],
      ["e", "rounded"],
      ["f", "rounded"],
    ]);
    for (const { maxAbs, maxRel, cosine } of tensors) expect([maxAbs, maxRel, cosine].every(Number.isFinite)).toBe(true);
    expect(tensors.map(({ within }: { within: boolean }) => within)).toEqual([true, true, true, false]);
    const text = (await command(run, neff, "--per-tensor")).out;
    expect(text).toMatch(/Tensor +Class +Max abs +Max rel +Cosine/);
    expect(text).toMatch(/The first outside its exactness class: f \(rounded\)/);
  });

  it("tell the type in which each layer is stored", async () => {
    const flags = ["--minimum-segment-size", "1", "--output", neff];
    const { out } = await command(neuronc, "compile", model, ...flags, "--layer-types");
    expect(out).toMatch(/sg00 +d +MatMul +bfloat16/);
    const { layers } = JSON.parse((await command(neuronc, "compile", model, "--fast-math", "none", ...flags, "--json")).out);
    expect(layers).toContainEqual({ name: "d", type: "MatMul", dtype: "float32", subgraph: "sg00" });
  });

  it("take the values of inputs that were fixed from the artifact", async () => {
    const shift = parseGraph(`graph "shift" { input %x: float32[4]
  input %s: float32[4]
  %y: float32[4] = Add(%x, %s) @y
  output %y }`);
    const [path, file, value] = ["shift.onnx", "shift.neff", "s.npy"].map((name) => join(folder, name));
    writeFileSync(path, writeOnnx(shift));
    writeFileSync(value, writeNpy(floatTensor([4], [1, 2, 3, 4])));
    expect((await command(neuronc, "compile", path, "--input-value", `s=${value}`, "--fast-math", "none", "--output", file)).code).toBe(0);
    const { code, out } = await command(run, file, "--per-tensor", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out).errors[0]).toMatchObject({ name: "y", maxAbs: 0, maxRel: 0 });
  });
});
