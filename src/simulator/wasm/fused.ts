/** Does the host have fused multiply-add (WebAssembly's relaxed SIMD)? */
import { setFlagsFromString } from "node:v8";
import { f32x4, ModuleBuilder, vector } from "./emitter.js";
import { webAssembly } from "./host.js";

function hasRelaxedSimd(): boolean {
  const module = new ModuleBuilder();
  module.function({ parameters: [] }, (f) => f.drop(vector("f32x4.relaxed_madd", f32x4(1), f32x4(1), f32x4(1))));
  return webAssembly.validate(module.encode(1));
}

let known: boolean | undefined;

/** V8 before 11.4 has it behind a flag, which may be set until a module asks for it. */
export function hasFusedMultiplyAdd(): boolean {
  if (known === undefined) {
    known = hasRelaxedSimd();
    if (!known) {
      setFlagsFromString("--experimental-wasm-relaxed-simd");
      known = hasRelaxedSimd();
    }
  }
  return known;
}
