/** What NeuronCores run, by each framework's names. */
import { supportedOperators as supportedOnnx } from "../operators/index.js";
import type { Framework } from "../options/framework.js";

/** Names of the operators that can run on a NeuronCore, directly or decomposed, sorted. */
export async function supportedOperators(framework: Framework): Promise<string[]> {
  switch (framework) {
    case "ONNX":
      return supportedOnnx();
    case "TENSORFLOW":
      return (await import("../frontend/tensorflow/convert/supported.js")).supportedTensorFlow();
  }
}
