/** A network of three operators, for tests of what compiling shows and checks on its way. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeOnnx } from "../src/frontend/onnx/write.js";
import { parseGraph } from "../src/graph/text.js";

/** Writes the network "net" to the folder: its path. */
export function writeSmallNet(folder: string): string {
  const path = join(folder, "net.onnx");
  const graph = parseGraph(`graph "net" { input %x: float32[4, 16]
  %a: float32[4, 16] = Tanh(%x) @a
  %b: float32[4, 16] = Softmax(%a) @b
  %c: float32[4, 16] = Softmax(%b) @c
  output %c }`);
  writeFileSync(path, writeOnnx(graph));
  return path;
}
