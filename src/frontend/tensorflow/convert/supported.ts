/** Which of TensorFlow's operators NeuronCores run. */
import { isSupported, recordOf } from "../../../operators/index.js";
import { convertibleOperators } from "./convert.js";
import { neededOperator } from "./needs.js";

/** Whether a NeuronCore can run what an operator of TensorFlow is converted to. */
export function isSupportedTensorFlow(op: string): boolean {
  const needed = neededOperator(op);
  const record = needed === undefined ? undefined : recordOf(needed, "");
  return needed === undefined || (record !== undefined && isSupported(record));
}

/** Their names, sorted. */
export function supportedTensorFlow(): string[] {
  return convertibleOperators.filter(isSupportedTensorFlow);
}
