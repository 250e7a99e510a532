/**
 * The host around the cores, the only model of it: one vCPU works on a request at a time. A request to a Neuron subgraph takes a processor
 * (framework, runtime, copies between their buffers), the bus to the chip, and a gap in which the subgraph's first core is idle. Seconds.
 */
import { type Hardware, hardware } from "./hardware.js";

/** Beside the cores' own time, of one request to a Neuron subgraph. */
export interface HostCost {
  readonly processorSeconds: number;
  readonly busSeconds: number;
  /** From the end of a request to the start of the next one, whoever waits. */
  readonly gapSeconds: number;
}

/** With so many bytes of inputs and outputs. */
export function hostCost(bytes: number, figures: Hardware = hardware): HostCost {
  return {
    processorSeconds: figures.hostRequestSeconds + bytes / figures.hostCopyBandwidth,
    busSeconds: bytes / figures.hostBandwidth,
    gapSeconds: figures.requestGapSeconds,
  };
}

/** What a request that is alone waits beside the cores' own time. */
export function totalSeconds({ processorSeconds, busSeconds, gapSeconds }: HostCost): number {
  return processorSeconds + busSeconds + gapSeconds;
}

/** One operator on one vCPU: the longer of its arithmetic and its memory traffic. */
export function operatorSeconds(flops: number, bytes: number, figures: Hardware = hardware): number {
  return Math.max(flops / figures.hostFlops, bytes / figures.hostBytesPerSecond);
}
