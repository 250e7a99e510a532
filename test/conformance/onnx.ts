/** Test folders in the form of the ONNX project's backend tests: `model.onnx`, `test_data_set_N/input_I.pb`, `output_I.pb`. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { readTensorFile, type Tensor } from "../../src/index.js";
import { foldersWith } from "./folders.js";
import type { Case, Suite } from "./suite.js";

const model = "model.onnx";

export const onnxSuite: Suite = {
  find: (folder) => foldersWith(folder, model).map((path) => ({ suite: "ONNX", name: basename(path), path })),
  holds: `a ${model}`,
  read: readCase,
  fastMath: { forced: ["none"], placed: undefined },
};

function readCase(folder: string): Case {
  const sets = readdirSync(folder)
    .filter((name) => name.startsWith("test_data_set_"))
    .sort()
    .map((name) => ({ inputs: tensors(join(folder, name), "input"), outputs: tensors(join(folder, name), "output") }));
  return {
    model: join(folder, model),
    options: {},
    sets: (graph) =>
      sets.map(({ inputs, outputs }) => ({
        inputs: new Map(graph.inputs.flatMap((name, index) => (index < inputs.length ? [[name, inputs[index]] as const] : []))),
        outputs: graph.outputs.map((name, index) => ({
          name,
          tensor: () => {
            if (outputs[index] === undefined) throw new Error(`the test has no value for output ${name}`);
            return outputs[index];
          },
        })),
      })),
    ...info(join(folder, "info.json")),
  };
}

function tensors(folder: string, kind: string): Tensor[] {
  const files = new Set(readdirSync(folder));
  const found: Tensor[] = [];
  for (let index = 0; files.has(`${kind}_${index}.pb`); index++) found.push(readTensorFile(join(folder, `${kind}_${index}.pb`), kind));
  return found;
}

function info(path: string): Pick<Case, "bfloat16Cosine"> {
  if (!existsSync(path)) return {};
  const content: unknown = JSON.parse(readFileSync(path, "utf8"));
  const hasCosine = typeof content === "object" && content !== null && "bfloat16Cosine" in content;
  return hasCosine && typeof content.bfloat16Cosine === "number" ? { bfloat16Cosine: content.bfloat16Cosine } : {};
}
