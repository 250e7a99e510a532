/** The machine's figures, read from inf1.json: the only place where a hardware number stands. */
import inf1 from "./inf1.json" with { type: "json" };

export type FigureName = keyof typeof inf1.figures;

/** Every figure by name, in the unit that inf1.json states. */
export type Hardware = Readonly<Record<FigureName, number>>;

/** Where a figure comes from; `inf1.json` explains each word. */
export interface Figure {
  readonly value: number;
  readonly unit: string;
  readonly from: string;
  readonly note?: string;
}

/** The figures with their units and provenance, for documentation. */
export const figures: Readonly<Record<FigureName, Figure>> = inf1.figures;

/** What `npm run calibrate -- --fit` searches for. */
export const fittedFigures: readonly FigureName[] = figureNames().filter((name) => figures[name].from === "fitted");

function isFigureName(name: string): name is FigureName {
  return Object.hasOwn(figures, name);
}

function figureNames(): FigureName[] {
  return Object.keys(figures).filter(isFigureName);
}

function isComplete(values: Record<string, number>): values is Record<FigureName, number> {
  return Object.keys(figures).every((name) => Number.isFinite(values[name]));
}

function read(): Hardware {
  const values = Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, figure.value]));
  if (!isComplete(values)) throw new Error("inf1.json: a figure is not a number");
  return Object.freeze(values);
}

/** The NeuronCore-v1 as configured. */
export const hardware: Hardware = read();

/** An instance: its Inferentia chips, which form a chain, and the processors of its host. */
export interface Instance {
  readonly chips: number;
  readonly vcpus: number;
}

export type InstanceName = keyof typeof inf1.instances;

/** The instances by name, smallest first. */
export const instances: Readonly<Record<InstanceName, Instance>> = inf1.instances;

/** Their names, smallest first. */
export const instanceNames = ["inf1.xlarge", "inf1.2xlarge", "inf1.6xlarge", "inf1.24xlarge"] as const satisfies readonly InstanceName[];

/**
 * The machine at the rates that it sustains, for predictions: the stated figures times the fitted shares. Instructions take the same
 * cycles and DMAs the same bytes.
 */
export function sustained(figures: Hardware): Hardware {
  return {
    ...figures,
    clockHz: figures.clockHz * figures.sustainedClockShare,
    dramBandwidthPerChip: figures.dramBandwidthPerChip * figures.sustainedDramShare,
    dmaBandwidthPerQueue: figures.dmaBandwidthPerQueue * figures.sustainedCoreDmaShare,
  };
}

/** NeuronCores of the largest instance. */
export const MOST_CORES = Math.max(...instanceNames.map((name) => instances[name].chips)) * hardware.coresPerChip;
