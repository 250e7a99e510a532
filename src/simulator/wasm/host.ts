/** The part of the WebAssembly JavaScript API that the simulator uses, typed here because the compiler's library for it is the browser's. */

export interface SharedMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

/** A compiled module: opaque, and may be sent to another thread. */
export type CompiledModule = object;

export interface WebAssemblyHost {
  readonly Memory: new (type: { initial: number; maximum: number; shared: true }) => SharedMemory;
  readonly validate: (bytes: Uint8Array<ArrayBuffer>) => boolean;
  readonly Module: new (bytes: Uint8Array) => CompiledModule;
  readonly Instance: new (
    module: CompiledModule,
    imports: { environment: { memory: SharedMemory } },
  ) => { readonly exports: Readonly<Record<string, (...values: number[]) => void>> };
}

function isHost(value: unknown): value is WebAssemblyHost {
  return (
    typeof value === "object" && value !== null && "Memory" in value && "validate" in value && "Module" in value && "Instance" in value
  );
}

function find(): WebAssemblyHost {
  const found: unknown = Reflect.get(globalThis, "WebAssembly");
  if (!isHost(found)) throw new Error("this JavaScript host has no WebAssembly");
  return found;
}

export const webAssembly: WebAssemblyHost = find();
