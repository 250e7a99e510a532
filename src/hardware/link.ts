/** What costs time between chips, from the machine's figures. Seconds. */
import { type Hardware, hardware } from "./hardware.js";

/** Values of so many bytes in all from one chip of the chain to the next. */
export function linkSeconds(values: number, bytes: number, figures: Hardware = hardware): number {
  return values * figures.neuronLinkHopSeconds + (bytes * figures.neuronLinkLanesPerChip) / figures.neuronLinkBandwidthPerChip;
}
