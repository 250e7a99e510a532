/** The process of one engine: loads a model, then runs it when asked. */
import { readFileSync } from "node:fs";
import { Random } from "../../models/random.js";
import type { Engine, EngineName, ModelInput, Request, Response } from "./protocol.js";

type Load = (path: string, input: ModelInput, threads: number) => Promise<Engine>;

/** Each is loaded only where it is asked for. Both builds of ONNX Runtime have one API. */
const engines: Readonly<Record<EngineName, Load>> = {
  ours: async (path, input, threads) => (await import("./ours.js")).loadOurs(path, input, threads),
  "onnxruntime-web": async (path, { name, shape, data }, threads) => {
    const runtime = await import("onnxruntime-web");
    runtime.env.wasm.numThreads = threads;
    const session = await runtime.InferenceSession.create(readFileSync(path), { executionProviders: ["wasm"] });
    const feeds = { [name]: new runtime.Tensor("float32", data, shape) };
    return { run: async () => void (await session.run(feeds)) };
  },
  "onnxruntime-node": async (path, { name, shape, data }, threads) => {
    const runtime = await import("onnxruntime-node");
    const session = await runtime.InferenceSession.create(path, { intraOpNumThreads: threads, interOpNumThreads: 1 });
    const feeds = { [name]: new runtime.Tensor("float32", data, shape) };
    return { run: async () => void (await session.run(feeds)) };
  },
};

let engine: Engine | undefined;

async function answer(request: Request): Promise<Response> {
  const started = performance.now();
  if (request.kind === "load") {
    const { shape } = request;
    const count = shape.reduce((product, extent) => product * extent, 1);
    engine = await engines[request.engine](
      request.model,
      { name: "input", shape, data: new Random(1, "bench").normals(count) },
      request.threads,
    );
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
