/** What a compile shows of what its phases make. */
/** The phases that show something, in their order, with what a part of it is: a pass, or a Neuron subgraph or one of its stages. */
export const phaseParts = {
  import: "none",
  normalise: "pass",
  check: "none",
  partition: "none",
  precision: "subgraph",
  pipeline: "subgraph",
  lower: "subgraph",
  allocate: "subgraph",
  schedule: "subgraph",
} as const;

export type Phase = keyof typeof phaseParts;

export function isPhase(word: string): word is Phase {
  return Object.hasOwn(phaseParts, word);
}

export const phases: readonly Phase[] = Object.keys(phaseParts).filter(isPhase);

/** Sees what a phase made: as a whole, or of a part. */
export type Observe = (phase: Phase, part: string | undefined, text: () => string) => void;
