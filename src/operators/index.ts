/** The operators: records, verdicts, inference, decompositions. */

export type { Decomposition } from "./builder.js";
export * from "./check.js";
export { GrowingTypes, inferTypes } from "./infer.js";
export { parameterInputs } from "./parameters.js";
export { allRecords, epilogueUse, ownInputs, recordOf, useOf } from "./registry.js";
