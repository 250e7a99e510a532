/** The machine's figures, read from inf1.json: the only place where a hardware number stands. */
import inf1 from "./inf1.json" with { type: "json" };

type FigureName = keyof typeof inf1.figures;

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
