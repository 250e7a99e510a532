import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { importModel } from "../../../src/frontend/index.js";
import { verifyGraph } from "../../../src/graph/verify.js";
import { checkCase } from "../../conformance/check.js";
import { suites } from "../../conformance/suites.js";
import { graphModelAsSavedModel } from "./graph_model.js";
import { modelFolder, writeCase } from "./tfjs.js";

const folder = mkdtempSync(join(tmpdir(), "graph-models-"));
afterAll(() => rmSync(folder, { recursive: true }));

// Small ones: TF.js's plain backend is slow. `npm run graph-models` takes all of a folder.
describe("TF.js graph models as SavedModels compute what TF.js does", () => {
  it.each(["antispoof", "emotion", "facemesh", "liveness"])("%s", { timeout: 120_000 }, async (name) => {
    const out = join(folder, name);
    await writeCase(join(modelFolder, `${name}.json`), out, 64);
    const [test] = suites.TENSORFLOW.find(out);
    expect(await checkCase(test)).toMatchObject({ status: "passed", device: "neuron" });
  });
});

it.each(["blazeface", "centernet", "faceres", "handlandmark-lite", "handtrack", "iris", "movenet-lightning"])(
  "%s is converted",
  async (name) => {
    const path = join(folder, name);
    mkdirSync(path);
    writeFileSync(join(path, "saved_model.pb"), graphModelAsSavedModel(join(modelFolder, `${name}.json`)));
    const { graph } = await importModel(path, {});
    expect(verifyGraph(graph)).toEqual([]);
  },
);
