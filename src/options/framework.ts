/** The frameworks whose models are imported. */
export const frameworks = ["ONNX", "TENSORFLOW"] as const;
export type Framework = (typeof frameworks)[number];
