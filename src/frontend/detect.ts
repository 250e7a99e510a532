/** Which framework a model file is of, told by its name and its first bytes. */
import { join } from "node:path";
import type { Framework } from "../options/framework.js";
import { readRange, statsOf, withFile } from "./files.js";

/** The forms of a SavedModel's own file, the first that is there goes. */
export const savedModelFiles = ["saved_model.pb", "saved_model.pbtxt"] as const;

const headBytes = 4096;

/** ONNX where nothing tells of another: its importer says what else the file may be. */
export function detectFramework(path: string): Framework {
  try {
    const stats = statsOf(path);
    if (stats === undefined) return "ONNX";
    if (stats.isDirectory()) return savedModelFiles.some((name) => statsOf(join(path, name))) ? "TENSORFLOW" : "ONNX";
    if (!stats.isFile() || path.endsWith(".onnx")) return "ONNX";
    if (path.endsWith(".pbtxt") || savedModelFiles.some((name) => path.endsWith(`/${name}`))) return "TENSORFLOW";
    const head = withFile(path, (file) => readRange(file, 0, headBytes));
    return tensorFlowKind(head, stats.size) === undefined ? "ONNX" : "TENSORFLOW";
  } catch {
    return "ONNX";
  }
}

/**
 * Which TensorFlow file this is, by the shape of its first fields: a SavedModel (version 1, then MetaGraphDefs), or a GraphDef of nodes.
 * `head` is its start, `size` its length in bytes.
 */
export function tensorFlowKind(head: Uint8Array, size: number): string | undefined {
  if (head[0] === 0x08 && head[1] === 0x01 && head[2] === 0x12) {
    const { length, next } = varintAt(head, 3);
    const ends = next + length === size || (next + length < size && (next + length >= head.length || head[next + length] === 0x12));
    if (ends && head[next] === 0x0a) return "a SavedModel";
  }
  if (head[0] !== 0x0a) return undefined;
  const node = varintAt(head, 1);
  const name = varintAt(head, node.next + 1);
  const op = name.next + name.length;
  const isNode =
    head[node.next] === 0x0a && op < node.next + node.length && head[op] === 0x12 && head[op + 2] > 0x40 && head[op + 2] < 0x80;
  return isNode ? "a frozen GraphDef" : undefined;
}

function varintAt(bytes: Uint8Array, start: number): { length: number; next: number } {
  let length = 0;
  let next = start;
  for (let scale = 1; next < bytes.length && scale < 2 ** 42; scale *= 128) {
    const byte = bytes[next++];
    length += (byte & 127) * scale;
    if (byte < 128) break;
  }
  return { length, next };
}
