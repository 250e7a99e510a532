/** A simulated NeuronCore: executes a program for its values, the same bits on every host and for every number of threads. */
import type { TensorData } from "../graph/tensor.js";
import type { DramBuffer, LoadedProgram } from "../program/program.js";
import { isNumericData, loadElements, storeElements } from "./boundary.js";
import { elementsOf, Layout, Memory } from "./memory.js";
import { Threads } from "./threads.js";
import { translate } from "./translate.js";
import { controlBytes } from "./wasm/kernels/run.js";

export interface CoreOptions {
  /** Threads that execute a request, the caller's included. */
  readonly threads: number;
  /** `false`: multiply and add one after the other, as a host does that has no fused multiply-add. The same bits, more slowly. */
  readonly fusedMultiplyAdd?: boolean;
}

export interface Core {
  /**
   * One request: input buffers' elements by name, in the buffer's dtype (`TensorData`'s forms); gives the output buffers' elements.
   * Throws if an input is missing or has the wrong number of elements.
   */
  run(inputs: ReadonlyMap<string, TensorData>): Map<string, TensorData>;
  /** Ends the core's threads. Not needed for the process to exit. */
  dispose(): void;
}

/** Loads a program: translates it and runs its `load` streams. Throws on a program whose streams deadlock. Errors: NCC0855. */
export function createCore(loaded: LoadedProgram, options: CoreOptions): Core {
  // What the core's functions hold on to has no part of `loaded.constants`: their bytes may be freed once they are in memory.
  const { program } = loaded;
  const memory = new Memory(controlBytes, program.name);
  const layout = new Layout(memory, program);
  const ofKind = (kind: string) =>
    program.buffers.filter((buffer): buffer is DramBuffer => buffer.space === "dram" && buffer.kind === kind);
  const [inputs, outputs] = [ofKind("input"), ofKind("output")];
  for (const buffer of [...inputs, ...outputs]) layout.dram(buffer);
  const { module, load, infer } = translate(loaded, layout, options.threads, options.fusedMultiplyAdd);
  const threads = new Threads(module, memory, options.threads);
  threads.run(load.first, load.last);
  return {
    run(values) {
      for (const buffer of inputs) {
        const data = values.get(buffer.name);
        if (!data || !isNumericData(data)) throw new Error(`no elements for input ${buffer.name}`);
        if (data.length !== elementsOf(buffer)) throw new Error(`input ${buffer.name}: ${data.length} elements, not ${elementsOf(buffer)}`);
        storeElements(memory, layout.dram(buffer), buffer.dtype, data);
      }
      threads.run(infer.first, infer.last);
      return new Map(outputs.map((buffer) => [buffer.name, loadElements(memory, layout.dram(buffer), buffer.dtype, elementsOf(buffer))]));
    },
    dispose: () => threads.dispose(),
  };
}
