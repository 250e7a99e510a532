/** What costs time outside of the cores, from the machine's figures. Seconds. */
import { type Hardware, hardware } from "./hardware.js";

/** Between host and chip, one way. */
export function transferSeconds(bytes: number, figures: Hardware = hardware): number {
  return bytes / figures.hostBandwidth;
}

/** One operator on the host's processor: the longer of its arithmetic and its memory traffic. */
export function hostSeconds(flops: number, bytes: number, figures: Hardware = hardware): number {
  return Math.max(flops / figures.hostFlops, bytes / figures.hostBytesPerSecond);
}

/** Values of so many bytes in all from one chip of the chain to the next. */
export function linkSeconds(values: number, bytes: number, figures: Hardware = hardware): number {
  return values * figures.neuronLinkHopSeconds + (bytes * figures.neuronLinkLanesPerChip) / figures.neuronLinkBandwidthPerChip;
}
