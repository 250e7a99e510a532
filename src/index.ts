/** The package's API: everything that the commands do. */

export { type Diagnostic, UserError } from "./diagnostics/diagnostic.js";
export { checkModel, type ModelCheck } from "./driver/check_model.js";
export { type CompileReport, type CompileResult, compileModel } from "./driver/compile.js";
export type { CompileOptions } from "./driver/options.js";
export type { Observe, Phase } from "./driver/phases.js";
export { predictService, type Service, type ServiceOptions } from "./driver/predict.js";
export { type Failure, type Reduced, type ReduceOptions, reduceModel } from "./driver/reduce.js";
export { loadModel, predictArtifact, type RunOptions, type RunReport, runArtifact } from "./driver/run.js";
export { type CompiledSavedModel, compileSavedModel, type SavedModelOptions } from "./driver/saved_model.js";
export {
  batchByRoofline,
  coresByWeights,
  type PipelineTrial,
  type Suggestion,
  type SuggestOptions,
  suggest,
  type Trial,
} from "./driver/suggest.js";
export { supportedOperators } from "./driver/supported.js";
export {
  bytesPerElement,
  type DType,
  elementCount,
  floatTensor,
  fromNumbers,
  int64Tensor,
  type Tensor,
  toFloat32,
  toNumbers,
} from "./graph/tensor.js";
export { type Instance, type InstanceName, instanceNames, instances } from "./hardware/hardware.js";
export type { Artifact, Manifest, OperatorPlacement, Signature, StageManifest, SubgraphManifest, ValueSignature } from "./neff/artifact.js";
export { readNeff, writeNeff } from "./neff/neff.js";
export { type Comparison, compareTensors } from "./runtime/compare.js";
export { readTensorFile } from "./runtime/files/files.js";
export { readNpy, writeNpy } from "./runtime/files/npy.js";
export type { LoadOptions, Model } from "./runtime/model.js";
export { randomTensor, zeros } from "./runtime/random.js";
export { version } from "./version.js";
