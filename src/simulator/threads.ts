/** A core's threads: the calling thread is number 0; workers wait between requests and never keep the process alive. */
import { Worker } from "node:worker_threads";
import type { Memory } from "./memory.js";
import { type CompiledModule, webAssembly } from "./wasm/host.js";
import { control, stopWorking } from "./wasm/kernels/run.js";

/** A worker needs nothing but the module and the memory, so its source is a string: the same from `dist/` and from TypeScript. */
const workerSource = `
const { workerData } = require("node:worker_threads");
const { module, memory, thread, threads } = workerData;
new WebAssembly.Instance(module, { environment: { memory } }).exports.work(thread, threads);
`;

export class Threads {
  private readonly workers: Worker[] = [];
  private readonly exports: Readonly<Record<string, (...values: number[]) => void>>;
  private disposed = false;

  constructor(
    module: CompiledModule,
    private readonly memory: Memory,
    readonly count: number,
  ) {
    this.exports = new webAssembly.Instance(module, { environment: { memory: memory.shared } }).exports;
    for (let thread = 1; thread < count; thread++) {
      const workerData = { module, memory: memory.shared, thread, threads: count };
      const worker = new Worker(workerSource, { eval: true, workerData });
      worker.unref();
      this.workers.push(worker);
    }
  }

  /** Executes the records at [first, last) on all threads. */
  run(first: number, last: number): void {
    if (this.disposed) throw new Error("the core has been disposed of");
    if (this.count > 1) this.start(first, last);
    this.exports.run(first, last, 0, this.count);
  }

  private start(first: number, last: number): void {
    this.memory.ints[control.first / 4] = first;
    this.memory.ints[control.last / 4] = last;
    this.exports.start(this.count);
  }

  /** Ends the workers. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    if (this.count > 1) this.start(0, stopWorking);
  }
}
