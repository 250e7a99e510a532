/**
 * The program checker: proves that every read of a program is ordered after its write, that live buffers never overlap, and that nothing
 * leaves its memory. It works from the program alone and shares no code with the scheduler.
 *
 * Three passes. `check_structure`: each instruction and buffer by itself. `check_order`: runs the semaphores (a deadlock is a fault) and
 * gives each instruction a vector clock. `check_memory`: with these, every two conflicting accesses of a buffer are ordered, each element
 * read was written, and buffers that share memory use it one wholly after the other.
 */
import type { Hardware } from "../hardware/hardware.js";
import { hardware as inf1 } from "../hardware/hardware.js";
import { checkMemory } from "./check_memory.js";
import { orderSection, type SectionOrder } from "./check_order.js";
import { checkBuffers, checkInstruction } from "./check_structure.js";
import type { Buffer, Engine, Program } from "./program.js";

export interface Fault {
  readonly message: string;
  readonly section?: "load" | "infer";
  /** The engine whose stream holds the instruction, and its index there. */
  readonly stream?: Engine;
  readonly instruction?: number;
}

/** Collects faults, up to a limit: past it they say nothing new. */
export class Faults {
  readonly list: Fault[] = [];

  add(fault: Fault): void {
    if (this.list.length < 100) this.list.push(fault);
  }
}

function checkStructure(program: Program, buffers: ReadonlyMap<string, Buffer>, hardware: Hardware, faults: Faults): void {
  for (const section of ["load", "infer"] as const) {
    const engines = new Set<Engine>();
    for (const { engine, instructions } of program[section]) {
      if (engines.has(engine)) faults.add({ message: `two streams for ${engine}`, section, stream: engine });
      engines.add(engine);
      for (const [index, instruction] of instructions.entries()) {
        checkInstruction(instruction, engine, buffers, hardware, (message) =>
          faults.add({ message, section, stream: engine, instruction: index }),
        );
      }
    }
  }
}

/** Every fault found (at most 100), none for a sound program. Where an instruction itself is malformed, only that is reported. */
export function checkProgram(program: Program, hardware: Hardware = inf1): Fault[] {
  const faults = new Faults();
  const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
  checkBuffers(program.buffers, hardware, (message) => faults.add({ message }));
  checkStructure(program, buffers, hardware, faults);
  if (faults.list.length > 0) return faults.list;
  const orders: SectionOrder[] = [];
  for (const section of ["load", "infer"] as const) {
    const order = orderSection(section, program[section], hardware, faults);
    if (!order) return faults.list;
    orders.push(order);
  }
  checkMemory(program.buffers, orders[0], orders[1], faults);
  return faults.list;
}

/** A fault as one line. */
export function describeFault({ message, section, stream, instruction }: Fault): string {
  return section === undefined ? message : `${section} ${stream ?? ""}${instruction === undefined ? "" : `[${instruction}]`}: ${message}`;
}
