/**
 * What all kernels share. A kernel is `(arguments address, thread, threads)`. Lanes (partitions, relative to the access's start) are
 * shared out in groups of 16, one 64-byte line: group g belongs to thread g mod threads.
 */
import {
  add,
  type FunctionBuilder,
  type FunctionType,
  i32,
  type Local,
  multiply,
  scalar,
  select,
  shuffleWords,
  type V128,
} from "../emitter.js";

export const kernelType: FunctionType = { parameters: ["i32", "i32", "i32"] };
export const groupLanes = 16;
export const groupBytes = groupLanes * 4;
export const vectorBytes = 16;

export interface KernelParameters {
  readonly arguments: Local<"i32">;
  readonly thread: Local<"i32">;
  readonly threads: Local<"i32">;
}

export function kernelParameters(f: FunctionBuilder): KernelParameters {
  return { arguments: f.parameter(0, "i32"), thread: f.parameter(1, "i32"), threads: f.parameter(2, "i32") };
}

/**
 * Walks this thread's lanes from 0 up to `end` bytes: `body` is for so many vectors from `lane` on. With `byGroups` it is emitted for
 * the four vectors of a group beside the one for a single vector, so that they share their addresses and none waits for another.
 */
export function forLanes(
  f: FunctionBuilder,
  p: KernelParameters,
  lane: Local<"i32">,
  end: Local<"i32">,
  byGroups: boolean,
  body: (vectors: number) => void,
): void {
  const skip = f.let(multiply(add(p.threads, -1), groupBytes));
  f.set(lane, multiply(p.thread, groupBytes));
  if (byGroups) {
    f.while(scalar("i32.le_s", lane, add(end, -groupBytes)), () => {
      body(groupBytes / vectorBytes);
      f.set(lane, add(add(lane, groupBytes), skip));
    });
  }
  f.while(scalar("i32.lt_s", lane, end), () => {
    body(1);
    f.set(lane, add(lane, vectorBytes));
    f.set(lane, add(lane, select(scalar("i32.and", lane, i32(groupBytes - 1)), i32(0), skip)));
  });
}

/** Four vectors of four as the four of their first, second, third and fourth words. */
export function turn(f: FunctionBuilder, [a, b, c, d]: readonly Local<"v128">[]): V128[] {
  const [ab0, ab1] = [f.let(shuffleWords(a, b, [0, 4, 1, 5])), f.let(shuffleWords(a, b, [2, 6, 3, 7]))];
  const [cd0, cd1] = [f.let(shuffleWords(c, d, [0, 4, 1, 5])), f.let(shuffleWords(c, d, [2, 6, 3, 7]))];
  return [
    shuffleWords(ab0, cd0, [0, 1, 4, 5]),
    shuffleWords(ab0, cd0, [2, 3, 6, 7]),
    shuffleWords(ab1, cd1, [0, 1, 4, 5]),
    shuffleWords(ab1, cd1, [2, 3, 6, 7]),
  ];
}
