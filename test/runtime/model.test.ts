import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fromNumbers, type Tensor, toNumbers } from "../../src/graph/tensor.js";
import { writeNeff } from "../../src/neff/neff.js";
import { type Devices, loadModel } from "../../src/runtime/model.js";
import { sampleArtifact } from "../neff/sample.js";
import { asyncRefusal } from "../refusal.js";

const folder = mkdtempSync(join(tmpdir(), "neuronc-model-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Cores that copy x to y, and count what is alive. */
function copyingDevices(): Devices & { alive: number } {
  const devices = {
    alive: 0,
    async core() {
      devices.alive++;
      return {
        run: async (inputs: ReadonlyMap<string, Tensor>) => {
          const x = inputs.get("x");
          if (!x) throw new Error("no x");
          return new Map([["y", x]]);
        },
        dispose: async () => {
          devices.alive--;
        },
      };
    },
    host: () => Promise.reject(new Error("no CPU subgraph here")),
  };
  return devices;
}

const x = fromNumbers("float32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);

describe("a loaded model", () => {
  it("runs from a path, from bytes and from an artifact", async () => {
    const bytes = await writeNeff(sampleArtifact());
    const path = join(folder, "x.neff");
    writeFileSync(path, bytes);
    for (const source of [path, bytes, sampleArtifact()]) {
      const devices = copyingDevices();
      const model = await loadModel(source, devices, { threads: 1 });
      const outputs = await model.run(new Map([["x", x]]));
      expect([...outputs.keys()]).toEqual(["y", "k"]);
      expect(outputs.get("y")).toEqual(x);
      expect(toNumbers(outputs.get("k") ?? x)).toEqual([2, 4]);
      expect(model.predicted).toEqual({ latencyMs: 0.1, throughputPerSecond: 10000 });
      expect(devices.alive).toBe(1);
      await model.dispose();
      expect(devices.alive).toBe(0);
    }
  });

  it("refuses inputs that don't fit", async () => {
    const model = await loadModel(sampleArtifact(), copyingDevices(), { threads: 1 });
    const run = (inputs: [string, Tensor][]) => asyncRefusal(() => model.run(new Map(inputs)));
    expect(await run([["X", x]])).toBe("NCC0351: input X: the model has no such input (did you mean x?); its inputs are x");
    expect(await run([["x", { ...x, shape: [4, 2] }]])).toContain("NCC0371: input x: shape [4,2], but the model was compiled for [2,4]");
    expect(await run([["x", fromNumbers("int32", [2, 4], toNumbers(x))]])).toContain(
      "NCC0372: input x: dtype int32, but the model takes float32",
    );
    expect(await run([])).toBe("NCC0373: input x has no value; give a float32 tensor of shape [2,4]");
  });

  it("frees what it took when loading fails", async () => {
    const sample = sampleArtifact();
    const [subgraph] = sample.manifest.subgraphs;
    const cpu = { ...subgraph, id: "sg01", device: "cpu" as const, stages: undefined };
    const artifact = {
      ...sample,
      manifest: { ...sample.manifest, subgraphs: [subgraph, cpu] },
      models: new Map([["sg01", new Uint8Array()]]),
    };
    const devices = copyingDevices();
    await expect(loadModel(artifact, devices)).rejects.toThrow("no CPU subgraph here");
    expect(devices.alive).toBe(0);
  });
});
