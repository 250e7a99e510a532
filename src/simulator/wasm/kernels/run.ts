/** The dispatcher: walks records, with barriers between threads where a record asks for one, and the loop of a worker thread. */
import {
  add,
  atomicAdd,
  atomicLoad,
  atomicNotifyAll,
  atomicWait,
  FunctionBuilder,
  i32,
  loadI32,
  type ModuleBuilder,
  multiply,
  scalar,
  select,
  shared,
} from "../emitter.js";
import { kernelType } from "./common.js";

/**
 * Byte addresses of the control block, each word on a cache line of its own. `failures`: how much oftener than not threads have of late
 * polled in vain.
 */
const control = { arrived: 0, generation: 64, sleepers: 128, failures: 192 } as const;
export const controlBytes = 256;

/**
 * A record: kernel function, address of its arguments, 1 if a barrier stands before it, bytes from one thread's arguments to the next.
 * With 0 bytes all threads share the arguments, and the kernel shares out the lanes.
 */
export const recordWords = 4;

/**
 * Polls before a waiting thread sleeps, about a nanosecond each. Milliseconds as a rule: threads that share a processor and hand it to each
 * other by sleeping stay there for long, while systems move one of two that are both ready to another processor. Few once that has
 * been in vain so often that there may be no other processor.
 */
const polls = { usual: 2 ** 21, doubtful: 2 ** 10, failures: 512 } as const;

/** Waits until every thread has come here. All threads use one generation word, so that a barrier can be reused at once. */
function emitBarrier(): FunctionBuilder {
  return shared("barrier", { parameters: ["i32"] }, (f) => {
    const threads = f.parameter(0, "i32");
    const generation = f.let(atomicLoad(i32(control.generation)));
    f.if(
      scalar("i32.eq", add(atomicAdd(i32(control.arrived), i32(1)), 1), threads),
      () => {
        f.atomicStore(i32(control.arrived), i32(0));
        f.drop(atomicAdd(i32(control.generation), i32(1)));
        f.if(atomicLoad(i32(control.sleepers)), () => f.drop(atomicNotifyAll(i32(control.generation))));
      },
      () => {
        const unchanged = scalar("i32.eq", atomicLoad(i32(control.generation)), generation);
        const failures = f.let(atomicLoad(i32(control.failures)));
        const left = f.let(select(scalar("i32.lt_s", failures, i32(polls.failures)), i32(polls.usual), i32(polls.doubtful)));
        f.while(scalar("i32.and", unchanged, scalar("i32.ne", left, i32(0))), () => f.set(left, add(left, -1)));
        f.if(
          unchanged,
          () => {
            f.drop(atomicAdd(i32(control.failures), i32(1)));
            f.drop(atomicAdd(i32(control.sleepers), i32(1)));
            f.while(unchanged, () => f.drop(atomicWait(i32(control.generation), generation)));
            f.drop(atomicAdd(i32(control.sleepers), i32(-1)));
          },
          () => f.if(scalar("i32.gt_s", failures, i32(0)), () => f.drop(atomicAdd(i32(control.failures), i32(-1)))),
        );
      },
    );
  });
}

/** Exports `run(first, last, thread, threads)`: the records at those addresses. Threads leave it when all have come to its end. */
export function emitRun(module: ModuleBuilder): void {
  const barrier = emitBarrier();
  const run = new FunctionBuilder({ parameters: ["i32", "i32", "i32", "i32"] }, (f) => {
    const record = f.let(f.parameter(0, "i32"));
    const thread = f.parameter(2, "i32");
    const threads = f.parameter(3, "i32");
    const several = f.let(scalar("i32.gt_s", threads, i32(1)));
    const pitch = f.local("i32");
    f.while(scalar("i32.lt_u", record, f.parameter(1, "i32")), () => {
      f.if(scalar("i32.and", several, loadI32(record, 8)), () => f.call(barrier, threads));
      f.set(pitch, loadI32(record, 12));
      f.if(
        pitch,
        () => f.callIndirect(kernelType, loadI32(record), add(loadI32(record, 4), multiply(pitch, thread)), i32(0), i32(1)),
        () => f.callIndirect(kernelType, loadI32(record), loadI32(record, 4), thread, threads),
      );
      f.set(record, add(record, recordWords * 4));
    });
    f.if(several, () => f.call(barrier, threads));
  });
  module.export("run", run);
}
