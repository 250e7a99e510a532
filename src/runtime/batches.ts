/** User requests of any batch on a model of one: `--dynamic-batch-size`. */
import { userError } from "../diagnostics/diagnostic.js";
import { allocateData, elementCount, type Tensor } from "../graph/tensor.js";
import type { Signature } from "../neff/artifact.js";

type Values = ReadonlyMap<string, Tensor>;

/** How a user request is cut into requests of the compiled batch. */
export interface Batches {
  /** Inputs of each; those of the last one are filled up with zeros. */
  readonly parts: readonly Values[];
  /** The outputs of the whole from those of the parts. */
  join(outputs: readonly Values[]): Map<string, Tensor>;
}

/**
 * Cuts inputs along their first axis. An input whose first extent is not the compiled batch goes to every part as it is. Undefined where
 * the inputs have the compiled shapes. Errors: NCC0374 inputs of different batches, NCC0375 an output without the batch in front.
 */
export function cutBatches(signature: Signature, inputs: Values): Batches | undefined {
  const changed = signature.inputs.find(({ name, shape }) => inputs.get(name)?.shape[0] !== shape[0]);
  if (!changed) return undefined;
  const size = changed.shape[0];
  const batched = signature.inputs.filter(({ shape }) => shape[0] === size);
  const count = inputs.get(changed.name)?.shape[0] ?? 0;
  for (const { name } of batched) {
    const seen = inputs.get(name)?.shape[0];
    if (seen !== count) throw userError("NCC0374", { first: changed.name, count, second: name, seen: String(seen) });
  }
  const fixed = signature.outputs.find(({ shape }) => shape?.[0] !== size);
  if (fixed) throw userError("NCC0375", { name: fixed.name, shape: fixed.shape ? `[${fixed.shape}]` : "an open shape", size });
  const names = new Set(batched.map(({ name }) => name));
  const parts = Array.from(
    { length: Math.ceil(count / size) },
    (_, part) => new Map([...inputs].map(([name, value]) => [name, names.has(name) ? items(value, part * size, size) : value])),
  );
  return {
    parts,
    join: (outputs) =>
      new Map(
        signature.outputs.map(({ name }) => [
          name,
          joined(
            outputs.map((part) => present(part, name)),
            count,
          ),
        ]),
      ),
  };
}

/** Whether an input may be given with another first extent. */
export function fitsBatch(shape: readonly number[], given: readonly number[]): boolean {
  return given.length === shape.length && given.length > 0 && given[0] > 0 && given.slice(1).join() === shape.slice(1).join();
}

/** Elements of the data array for one item of a tensor. */
function itemLength({ data, shape }: Tensor): number {
  return data.length / shape[0];
}

/** Items [start, start + size) along the first axis; zeros where there are none. */
function items(value: Tensor, start: number, size: number): Tensor {
  const length = itemLength(value);
  const shape = [size, ...value.shape.slice(1)];
  const data = value.data.slice(start * length, (start + size) * length);
  return data.length === size * length
    ? { ...value, shape, data }
    : joined([{ ...value, shape: [data.length / length, ...shape.slice(1)], data }], size);
}

/** The first `count` items of tensors one after the other; zeros where there are fewer. */
function joined(tensors: readonly Tensor[], count: number): Tensor {
  const [first] = tensors;
  const shape = [count, ...first.shape.slice(1)];
  const length = itemLength(first);
  const data = allocateData(first.dtype, elementCount(shape));
  let at = 0;
  for (const tensor of tensors) {
    for (let index = 0; index < tensor.data.length && at < count * length; index++) data[at++] = tensor.data[index];
  }
  return { dtype: first.dtype, shape, data };
}

function present(values: Values, name: string): Tensor {
  const value = values.get(name);
  if (!value) throw new Error(`no value for ${name}`);
  return value;
}
