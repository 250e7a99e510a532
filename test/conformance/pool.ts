/** Tests shared out among child processes, so that a crash or an endless loop costs one test. */
import { type ChildProcess, fork } from "node:child_process";
import type { TestRow } from "./check.js";
import type { TestSource } from "./suite.js";

export interface PoolOptions {
  readonly processes: number;
  /** Longest time of one test. */
  readonly limitSeconds: number;
  /** The compiled `worker.js`. */
  readonly worker: URL;
  done?(row: TestRow): void;
}

/** The rows of the tests, in their order. */
export async function runPool(tests: readonly TestSource[], options: PoolOptions): Promise<TestRow[]> {
  const rows = new Array<TestRow>(tests.length);
  let next = 0;
  const work = async (): Promise<void> => {
    let child: ChildProcess | undefined;
    while (next < tests.length) {
      const index = next++;
      child ??= fork(options.worker, { stdio: ["ignore", "ignore", "ignore", "ipc"] });
      const row = await ask(child, tests[index], options.limitSeconds);
      if (typeof row === "string") child = undefined;
      rows[index] = typeof row === "string" ? crashed(tests[index], row, options.limitSeconds) : row;
      options.done?.(rows[index]);
    }
    child?.kill();
  };
  await Promise.all(Array.from({ length: Math.min(options.processes, tests.length) }, work));
  return rows;
}

function crashed({ name }: TestSource, reason: string, seconds: number): TestRow {
  return { name, status: "failed", device: "cpu", reason, seconds, operators: [], isFine: false };
}

/** One test in a child: its row, or how the child ended. */
function ask(child: ChildProcess, test: TestSource, limitSeconds: number): Promise<TestRow | string> {
  return new Promise((resolve) => {
    const finish = (result: TestRow | string): void => {
      clearTimeout(timer);
      child.off("exit", ended);
      child.off("message", finish);
      resolve(result);
    };
    const ended = (code: number | null, signal: string | null): void => finish(`its process ended with ${signal ?? code}`);
    const timer = setTimeout(() => {
      finish(`it took longer than ${limitSeconds} s`);
      child.kill("SIGKILL");
    }, 1000 * limitSeconds);
    child.once("message", finish);
    child.once("exit", ended);
    child.send(test);
  });
}
