/** The operators: records, verdicts, inference, decompositions. */
export * from "./check.js";
export { type Decomposition, decompose } from "./decompositions.js";
export { GrowingTypes, inferTypes } from "./infer.js";
export { parameterInputs } from "./parameters.js";
export { allRecords, epilogueUse, ownInputs, recordOf, useOf } from "./registry.js";
