/** What the manifest and `--json` say of a compile, from what the phases made. */

import type { SourceOperator } from "../frontend/index.js";
import { type Graph, staticType } from "../graph/graph.js";
import { hardware } from "../hardware/hardware.js";
import type { OperatorPlacement, Signature, SubgraphManifest, ValueSignature } from "../neff/artifact.js";
import { describeReason } from "../operators/index.js";
import { type Partition, sourceOperators } from "../partition/index.js";
import { type DeviceType, deviceBytes, freeCount, type LoadedProgram, type Operation, type Program } from "../program/program.js";

/** What the user should know of where the model runs. */
export function notesOn(parts: Partition): string[] {
  const onNeuron = parts.subgraphs.some((part) => part.device === "neuron");
  return onNeuron ? [] : ["no operator is placed on a NeuronCore; the whole model runs on the CPU"];
}

/**
 * Where each operator of the source model went, in its order. One that became several nodes is on the CPU if any of them is. Of one
 * that is in no subgraph nothing was left to run.
 */
export function placeOperators(source: readonly SourceOperator[], graph: Graph, parts: Partition): OperatorPlacement[] {
  const found = new Map<string, Pick<OperatorPlacement, "device" | "subgraph" | "reason">>();
  for (const node of graph.nodes) {
    const placement = parts.placements.get(node.name);
    if (!placement) throw new Error(`node ${node.name} has no place`);
    const { device, subgraph, reason } = placement;
    for (const name of sourceOperators(node)) {
      if (found.get(name)?.device === "cpu") continue;
      found.set(name, { device, subgraph, ...(reason ? { reason: describeReason(reason) } : {}) });
    }
  }
  return source.map(({ name, type }) => ({ name, type, ...(found.get(name) ?? { device: "neuron", reason: "folded at compile time" }) }));
}

/** Share of the work on NeuronCores; of a model without arithmetic, whether no subgraph is on the CPU. */
export function shareOnNeuron(subgraphs: readonly SubgraphManifest[]): number {
  const flops = (list: readonly SubgraphManifest[]) => list.reduce((sum, part) => sum + part.flops, 0);
  const neuron = subgraphs.filter((part) => part.device === "neuron");
  const total = flops(subgraphs);
  return total > 0 ? flops(neuron) / total : neuron.length === subgraphs.length ? 1 : 0;
}

export function valueSignatures(graph: Graph, names: readonly string[]): ValueSignature[] {
  return names.map((name) => {
    const type = graph.types.get(name);
    if (!type) throw new Error(`value ${name} has no type`);
    return { name, dtype: type.dtype, ...(type.shape ? { shape: [...type.shape] } : {}) };
  });
}

/** The same for values whose shape is known: the model's inputs. */
export function staticSignatures(graph: Graph, names: readonly string[]): Signature["inputs"] {
  return names.map((name) => {
    const { dtype, shape } = staticType(graph, name);
    return { name, dtype, shape: [...shape] };
  });
}

type DmaOperation = Extract<Operation, { kind: "dma" }>;

/** What a stage holds, in bytes of all partitions. */
export interface StageMemory {
  readonly weightBytes: number;
  readonly residentWeightBytes: number;
  readonly sbufPeakBytes: number;
  readonly sbufBoundBytes: number;
  readonly psumPeakBytes: number;
  readonly psumBoundBytes: number;
}

/** Peaks and what lives at once, in bytes a partition. */
type Peaks = Pick<StageMemory, "sbufPeakBytes" | "sbufBoundBytes" | "psumPeakBytes" | "psumBoundBytes">;

/**
 * Weights are the constants that the tensor engine multiplies with, and what else `load` moves. Others come with every request: tables, and rows
 * that are repeated over partitions (scales and shifts of normalisations).
 */
export function stageMemory({ program, constants }: LoadedProgram, peaks: Peaks): StageMemory {
  const constantTypes = new Map(
    program.buffers.flatMap((buffer) =>
      buffer.space === "dram" && buffer.kind === "constant" ? [[buffer.name, buffer.dtype] as const] : [],
    ),
  );
  const multiplied = new Set<string>();
  for (const { operation } of [...program.load, ...program.infer].flatMap((stream) => stream.instructions)) {
    if (operation.kind === "matmul") multiplied.add(operation.stationary.buffer).add(operation.moving.buffer);
  }
  const weights = new Set<string>();
  let resident = 0;
  const moves = (streams: Program["load"], visit: (constant: string, dtype: DeviceType, move: DmaOperation) => void) => {
    for (const { operation } of streams.flatMap((stream) => stream.instructions)) {
      const dtype = operation.kind === "dma" ? constantTypes.get(operation.in.buffer) : undefined;
      if (operation.kind === "dma" && dtype) visit(operation.in.buffer, dtype, operation);
    }
  };
  moves(program.load, (constant, dtype, { in: from }) => {
    weights.add(constant);
    resident += from.partitionCount * freeCount(from) * deviceBytes(dtype, "dram");
  });
  moves(program.infer, (constant, _, { out }) => {
    if (multiplied.has(out.buffer)) weights.add(constant);
  });
  const weightBytes = [...weights].reduce((sum, name) => sum + (constants.get(name)?.length ?? 0), 0);
  return {
    weightBytes,
    residentWeightBytes: Math.min(weightBytes, resident),
    sbufPeakBytes: peaks.sbufPeakBytes * hardware.sbufPartitions,
    sbufBoundBytes: peaks.sbufBoundBytes * hardware.sbufPartitions,
    psumPeakBytes: peaks.psumPeakBytes * hardware.psumPartitions,
    psumBoundBytes: peaks.psumBoundBytes * hardware.psumPartitions,
  };
}
