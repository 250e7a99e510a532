/** What each operator costs as it was lowered: the figures on which a pipeline's cut rests. */
import type { Graph } from "../graph/graph.js";
import { hardware } from "../hardware/hardware.js";
import { computeCycles, dmaCost } from "../program/cost.js";
import type { ComputeEngine, Operation } from "../program/program.js";
import type { LoweredProgram } from "./lowered.js";
import { weightShape } from "./plan.js";
import { weightBytes } from "./weights.js";

export interface OperatorCost {
  /** Of a request: each compute engine's own work, and the DMA queues' on values that don't stay on chip, all queues together. */
  readonly busySeconds: Readonly<Record<ComputeEngine | "dma", number>>;
  /** SBUF bytes a partition that its weights take where they stay on chip. */
  readonly weightBytes: number;
  /** SBUF bytes a partition that values take while it runs. */
  readonly valueBytes: number;
}

/** By node name. `lowered` is the graph's own program: where its weights lie does not matter. */
export function operatorCosts(graph: Graph, lowered: LoweredProgram): Map<string, OperatorCost> {
  const buffers = new Map(lowered.buffers.map((buffer) => [buffer.name, buffer]));
  const previous = new Map<ComputeEngine, Operation>();
  const busy = new Map(graph.nodes.map((node) => [node.name, { tensor: 0, scalar: 0, vector: 0, dma: 0 }]));
  for (const { operation, engine, origin } of lowered.infer) {
    const own = busy.get(origin)!;
    if (operation.kind === "dma") {
      const [out, source] = [buffers.get(operation.out.buffer)!, buffers.get(operation.in.buffer)!];
      if (source.space === "dram" && source.kind === "constant") continue;
      const { chargedBytes } = dmaCost(operation, out, source, hardware);
      own.dma += (hardware.dmaSetupSeconds + chargedBytes / hardware.dmaBandwidthPerQueue) / hardware.dmaQueues;
    } else if (engine !== "dma") {
      own[engine] += computeCycles(operation, previous.get(engine), engine, hardware) / hardware.clockHz;
      previous.set(engine, operation);
    }
  }
  return new Map(
    graph.nodes.map((node) => {
      const shape = weightShape(graph, node);
      const valueBytes = lowered.valueBytes.get(node.name) ?? 0;
      return [node.name, { busySeconds: busy.get(node.name)!, weightBytes: shape ? weightBytes(shape) : 0, valueBytes }];
    }),
  );
}
