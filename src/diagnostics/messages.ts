/**
 * Every message that a user can meet, by id. A message names the node, attribute and value, and says what would work.
 * Ranges: 01xx files and formats, 02xx model contents, 03xx shapes and inputs, 04xx flags, 05xx support and partition,
 * 06xx lowering and memory, 07xx artifact, 08xx run time.
 */
export const messages = {
  NCC0101: "{path}: no such file; give the path of an ONNX model",
  NCC0102: "{path}: is a directory; give the path of an ONNX file",
} as const;

export type MessageId = keyof typeof messages;
