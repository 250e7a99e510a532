/** The process of one engine: loads a model, then runs it when asked. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../../models/random.js";
import type { Engine, EngineName, InputSpec, ModelInput, Request, Response } from "./protocol.js";

type Load = (path: string, inputs: readonly ModelInput[], threads: number) => Promise<Engine>;

/** Each is loaded only where it is asked for. Both builds of ONNX Runtime have one API. */
const engines: Readonly<Record<EngineName, Load>> = {
  ours: async (path, inputs, threads) => (await import("./ours.js")).loadOurs(path, inputs, threads),
  "onnxruntime-web": async (path, inputs, threads) => {
    const runtime = await import("onnxruntime-web");
    runtime.env.wasm.numThreads = threads;
    const session = await runtime.InferenceSession.create(readFileSync(path), { executionProviders: ["wasm"] });
    const feeds = Object.fromEntries(inputs.map(({ name, dtype, data, shape }) => [name, new runtime.Tensor(dtype, data, shape)]));
    return { run: async () => void (await session.run(feeds)) };
  },
  "onnxruntime-node": async (path, inputs, threads) => {
    const runtime = await import("onnxruntime-node");
    const session = await runtime.InferenceSession.create(path, { intraOpNumThreads: threads, interOpNumThreads: 1 });
    const feeds = Object.fromEntries(inputs.map(({ name, dtype, data, shape }) => [name, new runtime.Tensor(dtype, data, shape)]));
    return { run: async () => void (await session.run(feeds)) };
  },
};

function withValues({ name, shape, values }: InputSpec): ModelInput {
  const count = shape.reduce((product, extent) => product * extent, 1);
  const random = new Random(1, "bench");
  if (values === "normal") return { name, shape, dtype: "float32", data: random.normals(count) };
  const numbers = BigInt64Array.from({ length: count }, () => BigInt(Math.floor(random.uniform(values.low, values.high))));
  return { name, shape, dtype: "int64", data: numbers };
}

let engine: Engine | undefined;

async function answer(request: Request): Promise<Response> {
  if (request.kind === "rest") {
    const before = process.cpuUsage();
    await sleep(request.milliseconds);
    const { user, system } = process.cpuUsage(before);
    return { kind: "done", seconds: (user + system) / 1e6 };
  }
  const started = performance.now();
  if (request.kind === "load") {
    engine = await engines[request.engine](request.model, request.inputs.map(withValues), request.threads);
  } else {
    await engine?.run();
  }
  return { kind: "done", seconds: (performance.now() - started) / 1e3 };
}

process.on("message", async (request: Request) => {
  const response: Response = await answer(request).catch((error: unknown) => ({ kind: "failed", message: String(error) }));
  process.send?.(response);
});
process.on("disconnect", () => process.exit());
