/** Seeded faults put into a program. */
import type { Access, Instruction, Operation, Program } from "../../src/program/program.js";

export type Random = () => number;

function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)];
}

/** The program with one instruction of `infer` replaced, of those for which `edit` gives something. */
function editInstruction(program: Program, random: Random, edit: (instruction: Instruction) => Instruction | undefined): Program {
  for (;;) {
    const stream = pick(random, program.infer);
    const index = Math.floor(random() * stream.instructions.length);
    const edited = edit(stream.instructions[index]);
    if (!edited) continue;
    const instructions = stream.instructions.map((instruction, at) => (at === index ? edited : instruction));
    return { ...program, infer: program.infer.map((each) => (each === stream ? { ...each, instructions } : each)) };
  }
}

/** The names of an operation's fields that hold an access. */
function editAccess(program: Program, random: Random, edit: (access: Access) => Access | undefined): Program {
  return editInstruction(program, random, (instruction) => {
    const operation: Operation = instruction.operation;
    const fields = Object.entries(operation).filter((entry): entry is [string, Access] => typeof entry[1] === "object");
    const [name, access] = pick(random, fields);
    const edited = edit(access);
    return edited && { ...instruction, operation: { ...operation, [name]: edited } };
  });
}

export const mutations = {
  "drop a wait": (program: Program, random: Random) =>
    editInstruction(program, random, (instruction) => {
      if (instruction.waits.length === 0) return undefined;
      const dropped = pick(random, instruction.waits);
      return { ...instruction, waits: instruction.waits.filter((wait) => wait !== dropped) };
    }),
  "wait for one less": (program: Program, random: Random) =>
    editInstruction(program, random, (instruction) => {
      if (instruction.waits.length === 0) return undefined;
      const eased = pick(random, instruction.waits);
      return { ...instruction, waits: instruction.waits.map((wait) => (wait === eased ? { ...wait, value: wait.value - 1 } : wait)) };
    }),
  "drop a signal": (program: Program, random: Random) =>
    editInstruction(program, random, ({ signal, ...rest }) => (signal === undefined ? undefined : rest)),
  "move a buffer": (program: Program, random: Random): Program => {
    const moved = pick(
      random,
      program.buffers.filter((buffer) => buffer.space !== "dram" || buffer.kind === "scratch"),
    );
    const reach = Math.max(...program.buffers.filter((buffer) => buffer.space === moved.space).map((buffer) => buffer.address)) + 64;
    const address = 4 * Math.floor((random() * reach) / 4);
    return { ...program, buffers: program.buffers.map((buffer) => (buffer === moved ? { ...buffer, address } : buffer)) };
  },
  "shorten a pattern": (program: Program, random: Random) =>
    editAccess(program, random, (access) => {
      const axis = Math.floor(random() * (access.sizes.length + 1));
      if (axis === access.sizes.length)
        return access.partitionCount > 1 ? { ...access, partitionCount: access.partitionCount - 1 } : undefined;
      if (access.sizes[axis] < 2) return undefined;
      return { ...access, sizes: access.sizes.map((size, each) => (each === axis ? size - 1 : size)) };
    }),
  "shift an offset": (program: Program, random: Random) =>
    editAccess(program, random, (access) => ({ ...access, offset: access.offset + pick(random, [-64, -16, -3, -1, 1, 2, 8, 48]) })),
} as const;

export type Mutation = keyof typeof mutations;
