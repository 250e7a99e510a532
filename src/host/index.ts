/** The host's processor: ONNX Runtime behind the graph's own types. */
export { hostModel } from "./prepare.js";
export { createHostSession, type HostOptions, type HostSession, runGraph } from "./session.js";
export { fromOrtTensor, toOrtTensor } from "./tensors.js";
