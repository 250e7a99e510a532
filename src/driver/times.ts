/** What a request takes on one copy of a model that has the machine, at the stated rates, to itself: the cores' own time, and the host's around them. */
import { bytesPerElement, elementCount } from "../graph/tensor.js";
import type { Hardware } from "../hardware/hardware.js";
import { type HostCost, hostCost, totalSeconds } from "../hardware/host.js";
import type { Manifest, SubgraphManifest, ValueSignature } from "../neff/artifact.js";
import type { SubgraphTime, TimeReport } from "../simulator/time.js";

/** What the host has to know of a subgraph. */
type Crossing = Pick<SubgraphManifest, "inputs" | "outputs">;

function bytesOf(values: readonly ValueSignature[]): number {
  return values.reduce((sum, { name, dtype, shape = [] }) => {
    const extents = shape.map((extent) => {
      if (typeof extent !== "number") throw new Error(`${name}: open extent ${extent} on a NeuronCore`);
      return extent;
    });
    return sum + elementCount(extents) * bytesPerElement[dtype];
  }, 0);
}

/** The host's part in a request to a Neuron subgraph. */
export function hostCostOf({ inputs, outputs }: Crossing, figures?: Hardware): HostCost {
  return hostCost(bytesOf(inputs) + bytesOf(outputs), figures);
}

/** Of a Neuron subgraph: a request alone, and the requests a second that its slowest core could take. */
export function subgraphTimes(subgraph: Crossing, time: SubgraphTime): Pick<SubgraphManifest, "ms" | "throughputPerSecond"> {
  return { ms: 1000 * (totalSeconds(hostCostOf(subgraph)) + time.latencySeconds), throughputPerSecond: time.throughputPerSecond };
}

/**
 * Of the model. One request takes the subgraphs one after the other. Streamed, requests overlap: one vCPU works on one while the bus and the cores
 * of each Neuron subgraph have others, so the busiest of them sets the pace. A subgraph's first core has its gap after each request.
 */
export function modelTimes(subgraphs: readonly SubgraphManifest[], time: TimeReport): Manifest["predicted"] {
  const sum = (list: readonly number[]) => list.reduce((total, value) => total + value, 0);
  const costs = subgraphs.filter(({ device }) => device === "neuron").map((subgraph) => hostCostOf(subgraph));
  const cpuSeconds = subgraphs.filter(({ device }) => device === "cpu").map(({ ms }) => ms / 1000);
  const cyclesOfFirst = time.subgraphs.map(({ stages }, index) => stages[0].streamedSeconds + costs[index].gapSeconds);
  const busiest = Math.max(
    sum([...costs.map(({ processorSeconds }) => processorSeconds), ...cpuSeconds]),
    sum(costs.map(({ busSeconds }) => busSeconds)),
    time.subgraphs.length > 0 ? 1 / time.throughputPerSecond : 0,
    ...cyclesOfFirst,
  );
  return {
    latencyMs: 1000 * sum([...costs.map(totalSeconds), ...cpuSeconds, time.latencySeconds]),
    throughputPerSecond: busiest > 0 ? 1 / busiest : 0,
  };
}
