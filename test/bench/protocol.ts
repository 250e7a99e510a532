/** What the benchmark and the process of one engine say to each other. */

export const engineNames = ["ours", "onnxruntime-web", "onnxruntime-node"] as const;

export type EngineName = (typeof engineNames)[number];

/** One model, loaded by one engine. */
export interface Engine {
  /** One request with the input it was loaded with. */
  run(): Promise<void>;
}

/** Which values an input has: normal deviates, or whole numbers in [low, high). */
export interface InputSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: "normal" | { readonly low: number; readonly high: number };
}

/** An input of a model with its values. */
export type ModelInput = Pick<InputSpec, "name" | "shape"> &
  ({ readonly dtype: "float32"; readonly data: Float32Array } | { readonly dtype: "int64"; readonly data: BigInt64Array });

export type Request =
  | {
      readonly kind: "load";
      readonly engine: EngineName;
      readonly model: string;
      readonly inputs: readonly InputSpec[];
      readonly threads: number;
    }
  | { readonly kind: "run" }
  | { readonly kind: "rest"; readonly milliseconds: number };

/** `seconds`: what the request took; of a rest, the processor time of all the process's threads meanwhile. */
export type Response = { readonly kind: "done"; readonly seconds: number } | { readonly kind: "failed"; readonly message: string };
