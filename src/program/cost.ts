/** What one instruction costs on the machine: the facts that scheduling weighs and the simulator's time model adds up. Never depends on data. */
import type { Hardware } from "../hardware/hardware.js";
import { type Access, type AluOp, type Buffer, type Dma, deviceBytes, freeCount, type Operation, type Space } from "./program.js";

/** What the cost of an access needs to know of a buffer; lowered buffers, which have no address yet, do as well. */
export type BufferType = Pick<Buffer, "space" | "dtype">;

/** A DMA's work. */
export interface DmaCost {
  /**
   * Bytes from or to DRAM, or of a move within SBUF those moved. A contiguous run shorter than a descriptor costs a whole one. Reads and writes share
   * DRAM's bandwidth: a move within DRAM counts at both ends.
   */
  readonly chargedBytes: number;
  /** Both ends in SBUF: it takes none of the chip's DRAM bandwidth. */
  readonly onChip: boolean;
}

/** Elements that follow each other in memory, from the first on, in an access's own order; on chip a run ends with its partition. */
function contiguousElements(access: Access, space: Space): number {
  let run = 1;
  for (let axis = access.sizes.length - 1; axis >= 0; axis--) {
    if (access.sizes[axis] === 1) continue;
    if (access.strides[axis] !== run) return run;
    run *= access.sizes[axis];
  }
  return space === "dram" && access.partitionCount > 1 && access.partitionStride === run ? run * access.partitionCount : run;
}

export function dmaCost(operation: Dma, out: BufferType, source: BufferType, hardware: Hardware): DmaCost {
  const count = operation.out.partitionCount * freeCount(operation.out);
  const onChip = out.space !== "dram" && source.space !== "dram";
  const elementBytes = deviceBytes(out.dtype, onChip ? "sbuf" : "dram");
  const run = Math.min(contiguousElements(operation.out, out.space), contiguousElements(operation.in, source.space));
  const runBytes = Math.max(1, run) * elementBytes;
  const ends = out.space === "dram" && source.space === "dram" ? 2 : 1;
  const descriptors = Math.ceil((count * elementBytes) / runBytes);
  return { chargedBytes: ends * descriptors * Math.max(runBytes, hardware.dmaDescriptorBytes), onChip };
}

export function sameAccess(a: Access, b: Access): boolean {
  return (
    a === b ||
    (a.buffer === b.buffer &&
      a.partitionStart === b.partitionStart &&
      a.partitionCount === b.partitionCount &&
      a.partitionStride === b.partitionStride &&
      a.offset === b.offset &&
      a.sizes.length === b.sizes.length &&
      a.sizes.every((size, axis) => size === b.sizes[axis] && a.strides[axis] === b.strides[axis]))
  );
}

/** Columns that the tensor engine streams for an operation: one a cycle. */
function tensorColumns(operation: Operation): number {
  return freeCount(operation.out);
}

/** Cycles of new stationary values that the instruction before doesn't hide. A transpose's input is its stationary operand. */
function stationaryCycles(operation: Operation, previous: Operation | undefined, hardware: Hardware): number {
  if (operation.kind === "matmul" && previous?.kind === "matmul" && sameAccess(operation.stationary, previous.stationary)) return 0;
  return Math.max(0, hardware.stationaryLoadCycles - (previous ? tensorColumns(previous) : 0));
}

function aluFlops(op: AluOp, { divisionFlop, functionFlop }: Hardware): number {
  if (op === "divide" || op === "modulo") return divisionFlop;
  // exp(b log(a))
  return op === "power" ? 2 * functionFlop + 1 : 1;
}

/** FLOP of a vector or scalar instruction for each element that it takes; copies and conversions have none. */
function elementFlops(operation: Operation, hardware: Hardware): number {
  switch (operation.kind) {
    case "activation":
      return 2 + (operation.function === "identity" ? 0 : hardware.functionFlop);
    case "tensor_tensor":
      return aluFlops(operation.op, hardware);
    case "tensor_scalar":
      return aluFlops(operation.op0, hardware) + (operation.op1 ? aluFlops(operation.op1, hardware) : 0);
    case "scalar_tensor_tensor":
      return aluFlops(operation.op0, hardware) + aluFlops(operation.op1, hardware);
    case "reduce":
    case "select":
      return 1;
    default:
      return 0;
  }
}

/**
 * Cycles of an instruction on a compute engine; `previous` is the one before it in the same stream. The tensor engine takes one cycle
 * a column. The others take in one element a lane and cycle, or fewer where their arithmetic would go beyond the engine's stated FLOP per cycle.
 */
export function computeCycles(
  operation: Operation,
  previous: Operation | undefined,
  engine: "tensor" | "scalar" | "vector",
  hardware: Hardware,
): number {
  if (engine === "tensor")
    return tensorColumns(operation) + stationaryCycles(operation, previous, hardware) + hardware.instructionOverheadCycles;
  const [lanes, flopPerCycle] =
    engine === "vector" ? [hardware.vectorLanes, hardware.vectorFlopPerCycle] : [hardware.scalarLanes, hardware.scalarFlopPerCycle];
  const widest = operation.kind === "reduce" ? operation.in : operation.out;
  const perElement = Math.max(1, (elementFlops(operation, hardware) * lanes) / flopPerCycle);
  return Math.ceil(Math.ceil(widest.partitionCount / lanes) * freeCount(widest) * perElement) + hardware.instructionOverheadCycles;
}
