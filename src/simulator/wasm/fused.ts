/** Does the host have fused multiply-add (WebAssembly's relaxed SIMD)? */
import { setFlagsFromString } from "node:v8";
import { FunctionBuilder, f32x4, i32, ModuleBuilder, vector } from "./emitter.js";
import { webAssembly } from "./host.js";

/** Whether the host takes the instruction, and means a * b + c by it: drafts of it had another order. */
function hasRelaxedSimd(): boolean {
  const module = new ModuleBuilder();
  const run = new FunctionBuilder({ parameters: [] }, (f) =>
    f.storeVector(i32(0), vector("f32x4.relaxed_madd", f32x4(2), f32x4(3), f32x4(5))),
  );
  module.export("run", run);
  const bytes = module.encode(1);
  if (!webAssembly.validate(bytes)) return false;
  const memory = new webAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  new webAssembly.Instance(new webAssembly.Module(bytes), { environment: { memory } }).exports.run();
  return new Float32Array(memory.buffer)[0] === 11;
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
