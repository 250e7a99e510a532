/**
 * Threads that execute cores' records: the calling thread is number 0; workers wait between requests and never keep the process alive.
 * All cores of a process that use the same number of threads share them: a request runs on one core after the other.
 */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type { Memory } from "./memory.js";
import { type CompiledModule, webAssembly } from "./wasm/host.js";

/** Words of the control block: how many commands there were, the last one's core, and the addresses of its records. */
const control = { commands: 0, core: 1, first: 2, last: 3 } as const;
/** The core of the command that ends the workers. */
const stopWorking = -1;
/** Polls before a waiting worker sleeps: some tens of microseconds. */
const polls = 20000;

/** A worker learns of cores by its port and then runs what the control block says. A string: the same from `dist/` and from TypeScript. */
const workerSource = `
const { receiveMessageOnPort, workerData } = require("node:worker_threads");
const { control, port, thread, threads } = workerData;
const cores = new Map();
for (let seen = 0; ; seen++) {
  for (let left = ${polls}; left > 0 && Atomics.load(control, ${control.commands}) === seen; left--);
  while (Atomics.load(control, ${control.commands}) === seen) Atomics.wait(control, ${control.commands}, seen);
  for (let received = receiveMessageOnPort(port); received; received = receiveMessageOnPort(port)) {
    const { core, module, memory } = received.message;
    if (module) cores.set(core, new WebAssembly.Instance(module, { environment: { memory } }).exports);
    else cores.delete(core);
  }
  const core = control[${control.core}];
  if (core === ${stopWorking}) break;
  cores.get(core).run(control[${control.first}], control[${control.last}], thread, threads);
}
port.close();
`;

/** The workers of one number of threads. */
class Workers {
  static readonly #ofCount = new Map<number, Workers>();
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * Object.keys(control).length));
  readonly #ports: MessagePort[] = [];
  readonly #cores = new Set<number>();
  #next = 0;

  static get(count: number): Workers {
    let workers = Workers.#ofCount.get(count);
    if (!workers) {
      workers = new Workers(count);
      Workers.#ofCount.set(count, workers);
    }
    return workers;
  }

  private constructor(private readonly count: number) {
    for (let thread = 1; thread < count; thread++) {
      const { port1, port2 } = new MessageChannel();
      const workerData = { control: this.#control, port: port2, thread, threads: count };
      const worker = new Worker(workerSource, { eval: true, workerData, transferList: [port2] });
      worker.unref();
      port1.unref();
      this.#ports.push(port1);
    }
  }

  add(module: CompiledModule, memory: Memory): number {
    const core = this.#next++;
    this.#cores.add(core);
    for (const port of this.#ports) port.postMessage({ core, module, memory: memory.shared });
    return core;
  }

  /** The workers join the caller in the core's records at [first, last): each leaves them when all have come to the end. */
  start(core: number, first: number, last: number): void {
    this.#control.set([core, first, last], control.core);
    Atomics.add(this.#control, control.commands, 1);
    Atomics.notify(this.#control, control.commands);
  }

  /** Forgets a core, and ends the workers after the last one. */
  remove(core: number): void {
    this.#cores.delete(core);
    for (const port of this.#ports) port.postMessage({ core });
    if (this.#cores.size > 0) return;
    Workers.#ofCount.delete(this.count);
    this.start(stopWorking, 0, 0);
    for (const port of this.#ports) port.close();
  }
}

/** A core's part of the threads. */
export class Threads {
  readonly #exports: Readonly<Record<string, (...values: number[]) => void>>;
  readonly #workers: Workers | undefined;
  readonly #core: number;
  #disposed = false;

  constructor(
    module: CompiledModule,
    memory: Memory,
    readonly count: number,
  ) {
    this.#exports = new webAssembly.Instance(module, { environment: { memory: memory.shared } }).exports;
    this.#workers = count > 1 ? Workers.get(count) : undefined;
    this.#core = this.#workers?.add(module, memory) ?? 0;
  }

  /** Executes the records at [first, last) on all threads. */
  run(first: number, last: number): void {
    if (this.#disposed) throw new Error("the core has been disposed of");
    this.#workers?.start(this.#core, first, last);
    this.#exports.run(first, last, 0, this.count);
  }

  /** Leaves the threads to the other cores. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#workers?.remove(this.#core);
  }
}
