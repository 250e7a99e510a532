/** `--print-ir-after`: a phase, or a phase and a part of what it makes. */
import { userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { isPhase, type Observe, type Phase, phaseParts, phases } from "../driver/phases.js";
import { passNames } from "../passes/names.js";

const FLAG = "--print-ir-after";

export const printIrHelp = [
  `print what a phase made: ${phases.join(", ")}`,
  `of normalise a pass, as normalise:bind (${passNames.join(", ")})`,
  `of ${phases.filter((phase) => phaseParts[phase] === "subgraph").join(", ")} a Neuron subgraph, as lower:sg00, or a stage of it, as lower:sg00.1`,
  "may be repeated",
].join("; ");

interface Wish {
  readonly word: string;
  readonly phase: Phase;
  readonly part?: string;
}

function unknown(word: string, suggestion: string, known: readonly string[]): Error {
  return userError("NCC0403", { flag: FLAG, value: word, suggestion, words: known.join(", ") });
}

/** Errors: NCC0402 for a part of what has none, NCC0403 for what is no phase or no pass. */
function parseWish(word: string): Wish {
  const [name, ...rest] = word.toLowerCase().split(":");
  const passes = passNames.map((pass) => `normalise:${pass}`);
  if (!isPhase(name)) {
    const pass = passes.find((known) => known === `normalise:${name}`);
    throw unknown(word, pass ? ` (did you mean ${pass}?)` : didYouMean(name, phases), phases);
  }
  if (rest.length === 0) return { word, phase: name };
  if (phaseParts[name] === "none")
    throw userError("NCC0402", { flag: FLAG, value: word, expected: `${name} is shown whole; give ${name}` });
  const whole = `${name}:${rest.join(":")}`;
  if (phaseParts[name] === "pass" && !passes.includes(whole)) throw unknown(word, didYouMean(whole, passes), passes);
  return { word, phase: name, part: rest.join(":") };
}

/** Shows what the words ask for, as it is made. Errors: those of the words. */
export class IrPrinter {
  readonly #wishes: readonly Wish[];
  readonly #seen = new Map<Phase, Set<string>>();
  readonly #shown = new Set<Wish>();

  constructor(
    words: readonly string[],
    private readonly show: (text: string) => void,
  ) {
    this.#wishes = words.map(parseWish);
  }

  readonly observe: Observe = (phase, part, text) => {
    this.#seen.set(phase, (this.#seen.get(phase) ?? new Set()).add(part ?? ""));
    const granted = this.#wishes.filter((wish) => wish.phase === phase && asksFor(wish, part));
    for (const wish of granted) this.#shown.add(wish);
    if (granted.length > 0) this.show(`// after ${part === undefined ? phase : `${phase}:${part}`}\n${text()}`);
  };

  /** To call after the compile: what to say of wishes that showed nothing. Errors: NCC0403 for a part that the phase did not make. */
  finish(): string[] {
    return this.#wishes
      .filter((wish) => !this.#shown.has(wish))
      .map(({ word, phase }) => {
        const made = [...(this.#seen.get(phase) ?? [])].map((part) => `${phase}:${part}`);
        if (made.length > 0) throw unknown(word, didYouMean(word, made), made);
        return `${FLAG} ${word}: ${phase} made nothing in this compile`;
      });
  }
}

/** Without a part: the whole of normalise, every part of the later phases. A subgraph's name stands for its stages too. */
function asksFor({ phase, part: wanted }: Wish, part: string | undefined): boolean {
  if (wanted === undefined) return part === undefined || phaseParts[phase] === "subgraph";
  return part === wanted || part?.startsWith(`${wanted}.`) === true;
}
