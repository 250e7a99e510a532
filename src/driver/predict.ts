/**
 * What a compiled model delivers on an instance: the simulated time of its programs at the rates that the machine sustains, and a model of
 * the host around them.
 *
 * Requests in flight circulate through a closed system: the host prepares a request (a vCPU), a copy of the model runs it (its cores), the
 * host takes the results. Its throughput is the least of three bounds: that of the copies, that of the host's vCPUs and of the bus, and what so many
 * requests can reach if none ever waits (requests in flight / time of one alone). Latency follows from Little's law.
 */
import { userError } from "../diagnostics/diagnostic.js";
import { bytesPerElement, elementCount } from "../graph/tensor.js";
import { linkSeconds } from "../hardware/cost.js";
import { type Hardware, type InstanceName, hardware as inf1, instanceNames, instances, sustained } from "../hardware/hardware.js";
import type { Artifact, Manifest, SubgraphManifest } from "../neff/artifact.js";
import { readNeff } from "../neff/neff.js";
import { readBytes } from "../runtime/files/files.js";
import { simulateTime, type TimeReport } from "../simulator/time.js";

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

/** The Neuron subgraphs with what a request takes of their cores. */
interface Device {
  readonly stages: number;
  readonly report: TimeReport;
  /** Requests a second of all copies. */
  readonly rate: number;
  readonly flops: number;
}

/**
 * Copies beyond those that fill whole chips add nothing but their number, so that only those of one such period are simulated.
 */
function timeDevice(artifact: Artifact, subgraph: SubgraphManifest, copies: number, figures: Hardware): Device {
  const programs = (artifact.programs.get(subgraph.id) ?? []).map(({ program }) => program);
  const period = figures.coresPerChip / greatestDivisor(programs.length, figures.coresPerChip);
  const simulated = Math.min(copies, period);
  const report = simulateTime(programs, { hardware: figures, copies: simulated, gapSeconds: figures.requestGapSeconds });
  return { stages: programs.length, report, rate: (report.throughputPerSecond * copies) / simulated, flops: subgraph.flops };
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function bytesOf(values: SubgraphManifest["inputs"]): number {
  return sum(values.map(({ dtype, shape }) => elementCount((shape ?? []).map(Number)) * bytesPerElement[dtype]));
}

/**
 * Predicts. Errors: NCC0411 the model needs more cores than the instance has, NCC0412 so many replicas do, NCC0413 the model has no part on
 * NeuronCores.
 */
export function predictService(artifact: Artifact, options: ServiceOptions): Service {
  const stated = options.hardware ?? inf1;
  const figures = sustained(stated);
  const { manifest } = artifact;
  const { instance } = options;
  const { vcpus, chips } = instances[instance];
  const replicas = checkReplicas(manifest, instance, options.replicas, figures);
  const batch = compiledBatch(manifest);
  const userBatch = options.userBatch ?? batch;
  const parts = Math.ceil(userBatch / batch);
  const neuron = manifest.subgraphs.filter(({ device }) => device === "neuron");
  const stages = sum(neuron.map((subgraph) => subgraph.stages?.length ?? 0));
  const inFlight = options.inFlight ?? replicas * (stages + 1);
  const circulating = inFlight * parts;
  const devices = neuron.map((subgraph) => timeDevice(artifact, subgraph, Math.min(replicas, circulating), figures));

  const crossing = sum(neuron.map(({ inputs, outputs }) => bytesOf(inputs) + bytesOf(outputs)));
  const busSeconds = crossing / figures.hostBandwidth;
  const cpuMs = sum(manifest.subgraphs.filter(({ device }) => device === "cpu").map(({ ms }) => ms));
  const hostSeconds = neuron.length * figures.hostRequestSeconds + crossing / figures.hostCopyBandwidth + cpuMs / 1000;
  const gapSeconds = neuron.length * figures.requestGapSeconds;
  const aloneSeconds = sum(devices.map(({ report }) => report.latencySeconds)) + gapSeconds + hostSeconds + busSeconds;

  const usedChips = Math.min(chips, Math.ceil((replicas * stages) / figures.coresPerChip));
  const capacity = Math.min(vcpus / hostSeconds, usedChips / busSeconds, ...devices.map(({ rate }) => rate));
  const unhindered = circulating / aloneSeconds;
  const requests = Math.min(capacity, unhindered);

  const active = Math.min(replicas, circulating);
  const utilisation = {
    ...deviceUse(devices, requests / active, active, figures),
    link: Math.max((requests * busSeconds) / usedChips, (requests / active) * linkUse(devices, figures)),
    host: Math.max((requests * hostSeconds) / vcpus, (requests * figures.requestGapSeconds) / active),
  };
  const flops = sum(devices.map((device) => device.flops));
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

/** Shares of time for which the busiest core of a copy keeps its engines busy at `rate` requests a second, and the DRAM behind it. */
function deviceUse(devices: readonly Device[], rate: number, copies: number, figures: Hardware) {
  const busiest = (engine: string) =>
    rate * Math.max(...devices.flatMap(({ report }) => report.stages.map(({ engines }) => engines[engine] ?? 0)));
  const dram = devices.map(({ stages, report }) => {
    const dramBytes = report.stages.map((stage) => stage.dramBytes);
    const core = Math.max(...dramBytes) / (figures.dmaQueues * figures.dmaBandwidthPerQueue);
    const chip = ((sum(dramBytes) / stages) * Math.min(figures.coresPerChip, copies * stages)) / figures.dramBandwidthPerChip;
    return rate * Math.max(core, chip);
  });
  return { tensor: busiest("tensor"), vector: busiest("vector"), scalar: busiest("scalar"), dram: Math.max(...dram) };
}

/** Seconds for which a request keeps the busiest link between two chips busy, a copy's cores starting at a chip's first. */
function linkUse(devices: readonly Device[], figures: Hardware): number {
  const ends = devices.flatMap(({ report }) => report.stages.slice(0, -1).filter((_, core) => (core + 1) % figures.coresPerChip === 0));
  return ends.reduce((most, { passedBytes }) => Math.max(most, linkSeconds(0, passedBytes, figures)), 0);
}

/** The replicas to run. */
function checkReplicas(manifest: Manifest, instance: InstanceName, wanted: number | undefined, figures: Hardware): number {
  const { neuronCores: needed, name } = manifest;
  const coresOf = (one: InstanceName) => instances[one].chips * figures.coresPerChip;
  const available = coresOf(instance);
  if (needed === 0) throw userError("NCC0413", { name });
  if (needed > available) {
    const enough = instanceNames.find((one) => coresOf(one) >= needed);
    const hint = enough ? `${enough} has as many` : "no instance has as many: compile it for fewer with --neuroncore-pipeline-cores";
    throw userError("NCC0411", { name, needed, instance, available, hint });
  }
  const most = Math.floor(available / needed);
  if (wanted !== undefined && wanted > most) throw userError("NCC0412", { wanted, name, needed, instance, available, most });
  return wanted ?? most;
}

/** The same for a NEFF file. Errors: also those of `readNeff`, NCC0101 and NCC0802. */
export function predictFile(path: string, options: ServiceOptions): Service {
  return predictService(readNeff(readBytes(path), path), options);
}
