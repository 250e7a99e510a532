/** Collects the buffers, steps and constants of a lowered program. */
import { userError } from "../diagnostics/diagnostic.js";
import type { DeviceType, DramKind, Operation } from "../program/program.js";
import type { LoweredBuffer, LoweredProgram, Step } from "./lowered.js";
import type { View } from "./view.js";

/** Instructions of a program beyond which compiling it takes minutes, and gigabytes of the host's memory. */
export const MAX_INSTRUCTIONS = 2 ** 19;

export class Emitter {
  readonly #buffers: LoweredBuffer[] = [];
  readonly #names = new Set<string>();
  /** How many names were made from each stem. */
  readonly #counts = new Map<string, number>();
  readonly #sections = { load: [] as Step[], infer: [] as Step[] };
  readonly #constants = new Map<string, () => Uint8Array>();
  #section: "load" | "infer" = "infer";
  #origin = "";

  constructor(
    private readonly name: string,
    private readonly limit: number,
  ) {}

  /** Names the graph node that the following steps work for. */
  set origin(node: string) {
    this.#origin = node;
  }

  #unique(name: string): string {
    let count = this.#counts.get(name) ?? 0;
    let candidate = count === 0 ? name : `${name}.${count}`;
    while (this.#names.has(candidate)) candidate = `${name}.${++count}`;
    this.#counts.set(name, count + 1);
    this.#names.add(candidate);
    return candidate;
  }

  /** A new buffer on chip; the view covers all of it, as one free dimension. */
  chip(name: string, space: "sbuf" | "psum", dtype: DeviceType, partitions: number, elements: number): View {
    const unique = this.#unique(name);
    this.#buffers.push({ name: unique, space, dtype, partitions, elements });
    return {
      buffer: unique,
      space,
      dtype,
      partitionStart: 0,
      partitionCount: partitions,
      partitionStride: 0,
      offset: 0,
      dims: [{ size: elements, stride: 1 }],
    };
  }

  /** `data` gives a constant's bytes; it is called when the program's constants are read. */
  dram(name: string, kind: DramKind, dtype: DeviceType, shape: readonly number[], data?: () => Uint8Array): string {
    const unique = kind === "input" || kind === "output" ? name : this.#unique(name);
    this.#names.add(unique);
    this.#buffers.push({ name: unique, space: "dram", kind, dtype, shape });
    if (data) this.#constants.set(unique, data);
    return unique;
  }

  /** Errors: NCC0693 where the program gets too long. */
  step(engine: Step["engine"], operation: Operation): void {
    const length = this.#sections[this.#section].push({ operation, engine, origin: this.#origin });
    if (length > this.limit) throw userError("NCC0693", { name: this.name, limit: this.limit, node: this.#origin });
  }

  /** Runs `emit` so that its steps go to the load section. */
  whileLoading<T>(emit: () => T): T {
    this.#section = "load";
    const result = emit();
    this.#section = "infer";
    return result;
  }

  /** What was emitted; with every request loading all that it needs unless the program keeps it. */
  finish(valueBytes: ReadonlyMap<string, number>, keepsConstants: boolean): LoweredProgram {
    const sources = this.#constants;
    const { load, infer } = this.#sections;
    let constants: Map<string, Uint8Array> | undefined;
    return {
      name: this.name,
      buffers: this.#buffers,
      load: keepsConstants ? load : [],
      infer: keepsConstants ? infer : [...load, ...infer],
      valueBytes,
      get constants() {
        constants ??= new Map([...sources].map(([buffer, data]) => [buffer, data()]));
        return constants;
      },
    };
  }
}
