/**
 * What a compiled model delivers on an instance: the simulated time of its programs at the rates that the machine sustains, and a model of
 * the host around them.
 *
 * Requests in flight circulate through a closed system: the host prepares a request (a vCPU), a copy of the model runs it (its cores), the
 * host takes the results. Its throughput is the least of three bounds: that of the copies, that of the host's vCPUs and of the bus, and what so many
 * requests can reach if none ever waits (requests in flight / time of one alone). Latency follows from Little's law.
 */
import { userError } from "../diagnostics/diagnostic.js";
import { type Hardware, type InstanceName, hardware as inf1, instanceNames, instances, sustained } from "../hardware/hardware.js";
import { linkSeconds } from "../hardware/link.js";
import type { Artifact, Manifest } from "../neff/artifact.js";
import { readPrograms } from "../neff/neff.js";
import { dramBytes } from "../program/dram.js";
import { placeCopies } from "../program/placement.js";
import type { Program } from "../program/program.js";
import { readBytes } from "../runtime/files/files.js";
import { type StageTime, simulateTime, type TimeReport } from "../simulator/time.js";
import { hostCostOf } from "./times.js";

export interface ServiceOptions {
  readonly instance: InstanceName;
  /** Copies of the model; as many as the instance's cores hold if absent. */
  readonly replicas?: number;
  /** User requests that wait or run at any time; twice the copies if absent, more for pipelines: one for each stage and one to come. */
  readonly inFlight?: number;
  /** Items of one user request; the batch that was compiled if absent. Requests of more items are split, the last part filled up. */
  readonly userBatch?: number;
  readonly hardware?: Hardware;
}

/** Resources that can bound a service: a core's engines; the chip's DRAM and a core's way to it; links between chips and the bus to the host; vCPUs and launches. */
const resources = ["tensor", "dram", "vector", "scalar", "link", "host"] as const;
export type Resource = (typeof resources)[number];

export interface Service {
  /** Items a second: images, sequences. */
  readonly throughputPerSecond: number;
  /** Of one user request, waiting included. */
  readonly latencyMs: number;
  /** The resource that is busiest; where requests in flight are too few to keep any busy, the one that a request spends most time on. */
  readonly bound: Resource;
  /** Whether more requests in flight would give more throughput. */
  readonly inFlightLimited: boolean;
  readonly instance: InstanceName;
  readonly replicas: number;
  readonly inFlight: number;
  readonly userBatch: number;
  readonly compiledBatch: number;
  /** NeuronCores of all copies. */
  readonly cores: number;
  /** Share of time for which each resource is busy. */
  readonly utilisation: Readonly<Record<Resource, number>>;
  /** FLOP a second of a core in use, of its stated peak. */
  readonly tensorPeakShare: number;
}

/** Items of a request as compiled: the extent that all inputs and computed outputs have in front. */
export function compiledBatch({ options, signature, constants }: Manifest): number {
  if (options.batchSize !== undefined) return options.batchSize;
  const computed = signature.outputs.filter(({ name }) => !constants.includes(name));
  const shapes = [...signature.inputs, ...computed].map(({ shape }) => shape ?? []).filter((shape) => shape.length > 0);
  const first = shapes[0]?.[0];
  return typeof first === "number" && first > 0 && shapes.every((shape) => shape[0] === first) ? first : 1;
}

/** Copies of a model on their cores. */
interface Device {
  readonly report: TimeReport;
  /** Requests a second of all copies. */
  readonly rate: number;
}

/**
 * Copies from the second one that begins a chip on add nothing but their number, so that only those before it are simulated.
 */
function timeCopies(programs: readonly (readonly Program[])[], copies: readonly number[], figures: Hardware): Device {
  const next = copies.findIndex((first, index) => index > 0 && first % figures.coresPerChip === 0);
  const simulated = next < 0 ? copies : copies.slice(0, next);
  const report = simulateTime(programs, { hardware: figures, copies: simulated, gapSeconds: figures.requestGapSeconds });
  return { report, rate: (report.throughputPerSecond * copies.length) / simulated.length };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** What a prediction needs of an artifact: no weights. */
export interface Predicted {
  readonly manifest: Manifest;
  /** By id of Neuron subgraph, in the order in which they run: the program of each stage. */
  readonly programs: ReadonlyMap<string, readonly Program[]>;
}

/**
 * Predicts. Errors: NCC0411 the model needs more cores than the instance has, NCC0412 so many replicas do, NCC0413 the model has no part on
 * NeuronCores, NCC0414 so many replicas need more memory than the chips have.
 */
export function predictService({ manifest, programs }: Artifact, options: ServiceOptions): Service {
  const plain = [...programs].map(([id, stages]) => [id, stages.map(({ program }) => program)] as const);
  return predictPrograms({ manifest, programs: new Map(plain) }, options);
}

function predictPrograms({ manifest, programs }: Predicted, options: ServiceOptions): Service {
  const figures = sustained(options.hardware ?? inf1);
  const { instance } = options;
  const { vcpus } = instances[instance];
  const subgraphs = [...programs.values()];
  const stages = subgraphs.flat().length;
  const placed = placeReplicas(manifest, subgraphs.flat(), instance, options.replicas, figures);
  const replicas = placed.length;
  const batch = compiledBatch(manifest);
  const userBatch = options.userBatch ?? batch;
  const parts = Math.ceil(userBatch / batch);
  const neuron = manifest.subgraphs.filter(({ device }) => device === "neuron");
  const inFlight = options.inFlight ?? replicas * (stages + 1);
  const circulating = inFlight * parts;
  const active = placed.slice(0, circulating);
  const { report, rate } = timeCopies(subgraphs, active, figures);

  const costs = neuron.map((subgraph) => hostCostOf(subgraph, figures));
  const cpuMs = sum(manifest.subgraphs.filter(({ device }) => device === "cpu").map(({ ms }) => ms));
  const busSeconds = sum(costs.map((cost) => cost.busSeconds));
  const hostSeconds = sum(costs.map((cost) => cost.processorSeconds)) + cpuMs / 1000;
  const gapSeconds = sum(costs.map((cost) => cost.gapSeconds));
  const aloneSeconds = report.latencySeconds + gapSeconds + hostSeconds + busSeconds;

  const chipOf = (core: number) => Math.floor(core / figures.coresPerChip);
  const usedChips = new Set(placed.flatMap((first) => Array.from({ length: stages }, (_, stage) => chipOf(first + stage)))).size;
  const capacity = Math.min(vcpus / hostSeconds, usedChips / busSeconds, rate);
  const unhindered = circulating / aloneSeconds;
  const requests = Math.min(capacity, unhindered);

  const each = requests / active.length;
  const utilisation = {
    ...deviceUse(report, each, active, figures),
    link: Math.max((requests * busSeconds) / usedChips, each * linkUse(report, figures)),
    host: Math.max((requests * hostSeconds) / vcpus, each * Math.max(...costs.map((cost) => cost.gapSeconds))),
  };
  const flops = sum(neuron.map((subgraph) => subgraph.flops));
  return {
    throughputPerSecond: (requests / parts) * userBatch,
    latencyMs: 1000 * Math.max(aloneSeconds, circulating / requests),
    bound: resources.reduce<Resource>((most, resource) => (utilisation[resource] > utilisation[most] ? resource : most), "tensor"),
    inFlightLimited: unhindered < capacity,
    instance,
    replicas,
    inFlight,
    userBatch,
    compiledBatch: batch,
    cores: replicas * stages,
    utilisation,
    tensorPeakShare: (requests * flops) / (replicas * stages * figures.peakFlopsPerCore),
  };
}

function stagesOf({ subgraphs }: TimeReport): StageTime[] {
  return subgraphs.flatMap(({ stages }) => stages);
}

/** Shares of time for which the busiest core of a copy keeps its engines busy at `rate` requests a second, and the DRAM behind it. */
function deviceUse(report: TimeReport, rate: number, copies: readonly number[], figures: Hardware) {
  const stages = stagesOf(report);
  const busiest = (engine: string) => rate * Math.max(...stages.map(({ engines }) => engines[engine] ?? 0));
  const bytes = stages.map((stage) => stage.dramBytes);
  const chips = chipSums(
    copies.flatMap((first) => bytes.map((count, stage) => [first + stage, count] as const)),
    figures,
  );
  const core = Math.max(...bytes) / (figures.dmaQueues * figures.dmaBandwidthPerQueue);
  const dram = rate * Math.max(core, Math.max(...chips) / figures.dramBandwidthPerChip);
  return { tensor: busiest("tensor"), vector: busiest("vector"), scalar: busiest("scalar"), dram };
}

/** Of each chip in use, the sum over its cores. */
function chipSums(cores: readonly (readonly [core: number, value: number])[], { coresPerChip }: Hardware): number[] {
  const chips = new Map<number, number>();
  for (const [core, value] of cores) {
    const chip = Math.floor(core / coresPerChip);
    chips.set(chip, (chips.get(chip) ?? 0) + value);
  }
  return [...chips.values()];
}

/** Seconds for which a request keeps the busiest link between two chips busy, a copy's cores starting at a chip's first. */
function linkUse({ subgraphs }: TimeReport, figures: Hardware): number {
  let core = 0;
  let most = 0;
  for (const { stages } of subgraphs) {
    for (const [index, { passedBytes }] of stages.entries()) {
      core++;
      if (index < stages.length - 1 && core % figures.coresPerChip === 0) most = Math.max(most, linkSeconds(0, passedBytes, figures));
    }
  }
  return most;
}

/** The first core of each replica to run. */
function placeReplicas(
  { name }: Manifest,
  programs: readonly Program[],
  instance: InstanceName,
  wanted: number | undefined,
  figures: Hardware,
): number[] {
  const coresOf = (one: InstanceName) => instances[one].chips * figures.coresPerChip;
  const available = coresOf(instance);
  const needed = programs.length;
  if (needed === 0) throw userError("NCC0413", { name });
  if (needed > available) {
    const enough = instanceNames.find((one) => coresOf(one) >= needed);
    const hint = enough ? `${enough} has as many` : "no instance has as many: compile it for fewer with --neuroncore-pipeline-cores";
    throw userError("NCC0411", { name, needed, instance, available, hint });
  }
  const most = Math.floor(available / needed);
  if (wanted !== undefined && wanted > most) throw userError("NCC0412", { wanted, name, needed, instance, available, most });
  const bytes = programs.map(({ buffers }) => dramBytes(buffers));
  const { chips } = instances[instance];
  const placed = placeCopies(bytes, chips, wanted ?? most, figures);
  if (placed.length === 0 || (wanted !== undefined && placed.length < wanted)) {
    const capacity = figures.dramBytesPerChip;
    throw userError("NCC0414", { wanted: wanted ?? 1, name, bytes: sum(bytes), chips, capacity, instance, fit: placed.length });
  }
  return placed;
}

/** The same for a NEFF file, of which no weights are read. Errors: also those of `readPrograms`, NCC0101 and NCC0802. */
export function predictFile(path: string, options: ServiceOptions): Service {
  return predictPrograms(readPrograms(readBytes(path), path), options);
}
