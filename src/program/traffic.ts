/** What a program moves between DRAM and the chip for one request. */
import { deviceBytes, freeCount, type Program } from "./program.js";

/** Bytes of elements, descriptors not counted, by what they belong to. A scratch buffer holds what found no room on chip. */
export interface Traffic {
  readonly weights: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly spills: number;
}

const ofKind = { constant: "weights", input: "inputs", output: "outputs", scratch: "spills" } as const;

/** Both ends of a move within DRAM count, as in `dmaCost`. */
export function dramTraffic({ buffers, infer }: Program): Traffic {
  const kinds = new Map(buffers.flatMap((buffer) => (buffer.space === "dram" ? [[buffer.name, buffer] as const] : [])));
  const traffic = { weights: 0, inputs: 0, outputs: 0, spills: 0 };
  for (const { operation } of infer.flatMap(({ instructions }) => instructions)) {
    if (operation.kind !== "dma") continue;
    for (const access of [operation.in, operation.out]) {
      const buffer = kinds.get(access.buffer);
      if (buffer) traffic[ofKind[buffer.kind]] += access.partitionCount * freeCount(access) * deviceBytes(buffer.dtype, "dram");
    }
  }
  return traffic;
}
