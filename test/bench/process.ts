/** Child processes: one for each engine and thread count, and commands that run once. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import type { Request, Response } from "./protocol.js";

/** Runs `node ARGUMENTS...` to its end; its stdout. Throws where it fails, with its stderr. */
export function runProcess(nodeArguments: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, nodeArguments, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0 ? resolve(output) : reject(new Error(`${nodeArguments.join(" ")}: exit ${code}: ${errors.trim()}`)),
    );
  });
}

/** An engine in a process of its own, so that thread pools and memory of one don't touch another's. */
export class EngineProcess {
  private readonly child: ChildProcess;

  constructor() {
    this.child = fork(new URL("./engine_process.js", import.meta.url), { serialization: "advanced" });
  }

  /** One request and its answer. Throws what the engine reports. */
  ask(request: Request): Promise<number> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null) => reject(new Error(`the engine's process ended with ${code}`));
      this.child.once("exit", ended);
      this.child.once("message", (response: Response) => {
        this.child.off("exit", ended);
        if (response.kind === "done") resolve(response.seconds);
        else reject(new Error(response.message));
      });
      this.child.send(request);
    });
  }

  stop(): void {
    this.child.kill();
  }
}
