/** The suites by name. */
import { onnxSuite } from "./onnx.js";
import type { Suite, SuiteName } from "./suite.js";
import { tensorFlowSuite } from "./tensorflow.js";

export const suites: Readonly<Record<SuiteName, Suite>> = { ONNX: onnxSuite, TENSORFLOW: tensorFlowSuite };
