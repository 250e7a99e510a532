/** What the benchmark and the process of one engine say to each other. */

export const engineNames = ["ours", "onnxruntime-web", "onnxruntime-node"] as const;

export type EngineName = (typeof engineNames)[number];

/** One model, loaded by one engine. */
export interface Engine {
  /** One request with the input it was loaded with. */
  run(): Promise<void>;
}

/** A float32 input of a model. */
export interface ModelInput {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type Request =
  | {
      readonly kind: "load";
      readonly engine: EngineName;
      readonly model: string;
      readonly shape: readonly number[];
      readonly threads: number;
    }
  | { readonly kind: "run" };

/** `seconds`: what the request took. */
export type Response = { readonly kind: "done"; readonly seconds: number } | { readonly kind: "failed"; readonly message: string };
