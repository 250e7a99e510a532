/**
 * A program as assembly, and back. One line is one buffer or instruction:
 *
 *     program "name"
 *     dram input x float32 [1,3,8,8]
 *     dram scratch s bfloat16 [64,8,8] @1024
 *     sbuf w bfloat16 64x128 @0                        partitions x elements @ byte offset
 *     load
 *     stream dma0
 *     of "conv1"                                       the graph node of the instructions that follow
 *     dma w[64:0:128] = c[64*128:0:128] signal 0
 *     infer
 *     stream tensor
 *     matmul acc[64:0:512] += w[64:0:64] x[64+32:7:16x56,32] wait 0:1,3:7 signal 1
 *
 * An access is buffer[start+count*partitionStride:offset:sizes], each size as extent x stride; a start of 0 and strides of 0 (partition)
 * or 1 (free) are left out, and so are a scale of 1, a bias of 0 and an alpha of 0. A name that is not a plain word is a JSON string.
 */
import type { Access, Buffer, Instruction, Operation, Program, Scalar, Stream } from "./program.js";

export { ProgramSyntaxError, parseProgram } from "./parse.js";

/** Names that need no quotes. */
const PLAIN = /^[A-Za-z_][\w./]*$/;
/** Words with a meaning where a name or a number may stand. */
const RESERVED = new Set(["Infinity", "NaN"]);

class Printer {
  readonly #names = new Map<string, string>();
  readonly #lines: string[] = [];

  line(text: string): void {
    this.#lines.push(text);
  }

  get text(): string {
    return `${this.#lines.join("\n")}\n`;
  }

  name(name: string): string {
    let text = this.#names.get(name);
    if (text === undefined) {
      text = PLAIN.test(name) && !RESERVED.has(name) ? name : JSON.stringify(name);
      this.#names.set(name, text);
    }
    return text;
  }

  access(access: Access): string {
    const { partitionStart, partitionCount, partitionStride, offset, sizes, strides } = access;
    let text = `${this.name(access.buffer)}[`;
    if (partitionStart !== 0) text += `${partitionStart}+`;
    text += partitionCount;
    if (partitionStride !== 0) text += `*${partitionStride}`;
    text += `:${offset}:`;
    for (let axis = 0; axis < sizes.length; axis++) {
      if (axis > 0) text += ",";
      text += strides[axis] === 1 ? sizes[axis] : `${sizes[axis]}x${strides[axis]}`;
    }
    return `${text}]`;
  }

  scalar(scalar: Scalar): string {
    return typeof scalar === "number" ? number(scalar) : this.access(scalar);
  }

  buffer(buffer: Buffer): string {
    const name = this.name(buffer.name);
    if (buffer.space === "dram") {
      const address = buffer.address === 0 ? "" : ` @${buffer.address}`;
      return `dram ${buffer.kind} ${name} ${buffer.dtype} [${buffer.shape.join(",")}]${address}`;
    }
    return `${buffer.space} ${name} ${buffer.dtype} ${buffer.partitions}x${buffer.elements} @${buffer.address}`;
  }

  operation(operation: Operation): string {
    const out = this.access(operation.out);
    switch (operation.kind) {
      case "matmul":
        return `matmul ${out} ${operation.accumulate ? "+=" : "="} ${this.access(operation.stationary)} ${this.access(operation.moving)}`;
      case "activation": {
        const scale = Object.is(operation.scale, 1) ? "" : ` scale ${this.scalar(operation.scale)}`;
        const bias = Object.is(operation.bias, 0) ? "" : ` bias ${this.scalar(operation.bias)}`;
        const alpha = Object.is(operation.alpha, 0) ? "" : ` alpha ${number(operation.alpha)}`;
        return `activation ${operation.function} ${out} = ${this.access(operation.in)}${scale}${bias}${alpha}`;
      }
      case "tensor_tensor":
        return `tensor_tensor ${operation.op} ${out} = ${this.access(operation.in0)} ${this.access(operation.in1)}`;
      case "tensor_scalar": {
        const first = `${operation.reverse0 ? "reverse " : ""}${operation.op0} ${this.scalar(operation.scalar0)}`;
        const second = operation.op1 === undefined ? "" : ` then ${operation.op1} ${this.scalar(operation.scalar1 ?? 0)}`;
        return `tensor_scalar ${out} = ${this.access(operation.in)} ${first}${second}`;
      }
      case "scalar_tensor_tensor": {
        const { op0, scalar, op1 } = operation;
        return `scalar_tensor_tensor ${out} = ${this.access(operation.in0)} ${op0} ${this.scalar(scalar)} ${op1} ${this.access(operation.in1)}`;
      }
      case "reduce":
        return `reduce ${operation.op} ${operation.axes} ${out} = ${this.access(operation.in)}`;
      case "select":
        return `select ${out} = ${this.access(operation.mask)} ${this.access(operation.onTrue)} ${this.access(operation.onFalse)}`;
      case "memset":
        return `memset ${out} = ${number(operation.value)}`;
      default:
        return `${operation.kind} ${out} = ${this.access(operation.in)}`;
    }
  }

  instruction({ operation, waits, signal }: Instruction): string {
    const wait = waits.length === 0 ? "" : ` wait ${waits.map(({ semaphore, value }) => `${semaphore}:${value}`).join(",")}`;
    return `${this.operation(operation)}${wait}${signal === undefined ? "" : ` signal ${signal}`}`;
  }

  stream(stream: Stream): void {
    this.line(`stream ${stream.engine}`);
    let origin = "";
    for (const instruction of stream.instructions) {
      if (instruction.origin !== origin) this.line(`of ${JSON.stringify(instruction.origin)}`);
      origin = instruction.origin;
      this.line(this.instruction(instruction));
    }
  }
}

function number(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** The program's assembly; `parseProgram` of it gives an equal program. */
export function printProgram(program: Program): string {
  const printer = new Printer();
  printer.line(`program ${JSON.stringify(program.name)}`);
  for (const buffer of program.buffers) printer.line(printer.buffer(buffer));
  for (const section of ["load", "infer"] as const) {
    printer.line(section);
    for (const stream of program[section]) printer.stream(stream);
  }
  return printer.text;
}

/** One operation as assembly, for messages and listings. */
export function printOperation(operation: Operation): string {
  return new Printer().operation(operation);
}
