import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../../src/diagnostics/diagnostic.js";
import { type CutProblem, cut } from "../../src/pipeline/cut.js";
import { parsePipelineInstance } from "../../src/pipeline/instance.js";

/** The slowest stage's time of an assignment of nodes to devices, or undefined where it isn't a pipeline or doesn't fit. */
function timeOf({ nodes, successors, devices, capacity }: CutProblem, device: readonly number[]): number | undefined {
  const time = new Array<number>(devices).fill(0);
  const size = new Array<number>(devices).fill(0);
  for (const [node, { work, size: bytes, transfer }] of nodes.entries()) {
    const targets = new Set(successors[node].map((target) => device[target]));
    if ([...targets].some((target) => target < device[node])) return undefined;
    targets.delete(device[node]);
    time[device[node]] += work + (targets.size > 0 ? transfer : 0);
    size[device[node]] += bytes;
    for (const target of targets) time[target] += transfer;
  }
  return size.every((bytes) => bytes <= capacity) ? Math.max(...time) : undefined;
}

function bruteForce(problem: CutProblem): number | undefined {
  const { nodes, devices } = problem;
  let best: number | undefined;
  for (let code = 0; code < devices ** nodes.length; code++) {
    const device = nodes.map((_, node) => Math.floor(code / devices ** node) % devices);
    const value = timeOf(problem, device);
    if (value !== undefined && (best === undefined || value < best)) best = value;
  }
  return best;
}

const problems: fc.Arbitrary<CutProblem> = fc
  .record({
    nodes: fc.array(fc.record({ work: fc.nat(9), size: fc.nat(4), transfer: fc.nat(5) }), { minLength: 1, maxLength: 6 }),
    devices: fc.integer({ min: 1, max: 3 }),
    capacity: fc.integer({ min: 4, max: 20 }),
    edges: fc.array(fc.boolean(), { minLength: 15, maxLength: 15 }),
  })
  .map(({ nodes, devices, capacity, edges }) => {
    let next = 0;
    const successors = nodes.map((_, node) => nodes.flatMap((_, target) => (target > node && edges[next++] ? [target] : [])));
    return { nodes, devices, capacity, successors };
  });

describe("cut", () => {
  it("finds what brute force finds, and its stages have that time", () => {
    fc.assert(
      fc.property(problems, (problem) => {
        const result = cut(problem);
        expect(result?.value).toBe(bruteForce(problem));
        if (!result) return;
        const device = problem.nodes.map((_, node) => result.stages.findIndex((stage) => stage.includes(node)));
        expect(timeOf(problem, device)).toBe(result.value);
        expect(result.bound).toBe(result.value);
      }),
      { seed: 7, numRuns: 150 },
    );
  });

  it("gives a true bound where there are too many downsets", () => {
    const nodes = Array.from({ length: 18 }, (_, node) => ({ work: 1 + (node % 3), size: 1, transfer: 0 }));
    const result = cut({ nodes, successors: nodes.map(() => []), devices: 4, capacity: 100 });
    expect(result?.bound).toBe(9);
    expect(result?.value).toBeGreaterThanOrEqual(9);
    expect(result?.stages.flat().length).toBe(18);
  });

  it("ends where the downsets of one size are millions, with a valid cut", () => {
    const nodes = Array.from({ length: 120 }, (_, node) => ({ work: 1 + ((node * 7) % 11), size: 1, transfer: 0.5 }));
    const problem = { nodes, successors: nodes.map((_, node) => (node < 100 ? [100 + (node % 20)] : [])), devices: 5, capacity: 100 };
    const result = cut(problem);
    const device = nodes.map((_, node) => result?.stages.findIndex((stage) => stage.includes(node)) ?? -1);
    expect(timeOf(problem, device)).toBeCloseTo(result?.value ?? 0, 9);
    expect(result?.bound).toBeCloseTo(nodes.reduce((sum, { work }) => sum + work, 0) / 5, 9);
    expect(result?.value).toBeLessThan(1.15 * (result?.bound ?? 0));
  });
});

describe("pipeline instances", () => {
  const node = (id: number) => ({ id, supportedOnFpga: 1, fpgaLatency: id, size: 1 });
  const file = { maxFPGAs: 2, maxSizePerFPGA: 10, nodes: [node(1), node(2)], edges: [{ sourceId: 1, destId: 2, cost: 0.5 }] };

  it("reads one", () => {
    const instance = parsePipelineInstance("f.json", JSON.stringify(file));
    expect(cut(instance)).toEqual({ value: 2.5, bound: 2.5, stages: [[0], [1]] });
    expect(cut(parsePipelineInstance("f.json", JSON.stringify(file), 1))?.value).toBe(3);
    expect(cut(parsePipelineInstance("f.json", JSON.stringify({ ...file, maxFPGAs: 1e300 })))?.stages.length).toBe(2);
  });

  /** Nodes with ids from 1 on, from their times, each of size 1; edges as source, target and cost. */
  const ofTimes = (
    times: readonly number[],
    edges: readonly (readonly number[])[],
    limits: { maxFPGAs: number; maxSizePerFPGA: number },
  ) => ({
    ...limits,
    maxCPUs: 1,
    nodes: times.map((fpgaLatency, index) => ({ id: index + 1, supportedOnFpga: 1, cpuLatency: 0, fpgaLatency, size: 1 })),
    edges: edges.map(([sourceId, destId, cost]) => ({ sourceId, destId, cost })),
  });
  const roomy = (maxFPGAs: number) => ({ maxFPGAs, maxSizePerFPGA: 10 });
  const chain = [1, 2, 3].map((source) => [source, source + 1, 1]);
  const fan = [2, 3].flatMap((middle) => [
    [1, middle, 2],
    [middle, 4, 1],
  ]);

  it.each([
    ["a chain in its middle, both ends paying", 9, ofTimes([3, 5, 4, 4], chain, roomy(2))],
    [
      "a chain where the transfer costs more than it saves",
      16,
      ofTimes(
        [3, 5, 4, 4],
        chain.map(([a, b]) => [a, b, 20]),
        roomy(4),
      ),
    ],
    ["a chain where memory forces it", 11, ofTimes([3, 1, 1, 9], chain, { maxFPGAs: 2, maxSizePerFPGA: 2 })],
    ["a value for two nodes of a device, paid once", 6, ofTimes([4, 1, 1, 1], fan, roomy(2))],
    ["a value for two devices, paid once by its source", 9, ofTimes([6, 5, 5, 1], fan, roomy(3))],
    ["work without edges, in any order", 6, ofTimes([4, 3, 3, 2], [], roomy(2))],
  ])("cuts %s", (_, slowest, instance) => {
    expect(cut(parsePipelineInstance("f.json", JSON.stringify(instance)))).toMatchObject({ value: slowest, bound: slowest });
  });

  it.each([
    ["[", "not JSON"],
    ["{}", "nodes is not a list"],
    [JSON.stringify({ ...file, nodes: [node(1), node(1)] }), "two nodes have the same id"],
    [JSON.stringify({ ...file, edges: [{ sourceId: 1, destId: 3, cost: 0 }] }), "no node's id"],
    [JSON.stringify({ ...file, edges: [...file.edges, { sourceId: 2, destId: 1, cost: 0 }] }), "cycle"],
    [JSON.stringify({ ...file, nodes: [node(1), { ...node(2), fpgaLatency: "x" }] }), "fpgaLatency of node 2"],
    [JSON.stringify({ ...file, maxFPGAs: 0 }), "maxFPGAs of the file is 0, not a whole number"],
    [JSON.stringify({ ...file, maxFPGAs: 1.5 }), "maxFPGAs of the file is 1.5"],
    [JSON.stringify(file).replace("0.5", "1e999"), "cost of edges[0]"],
    [JSON.stringify({ ...file, nodes: [node(1), { ...node(2), size: -1 }] }), "size of node 2 is -1"],
    ["", "not JSON"],
    [JSON.stringify({ ...file, nodes: [node(1), { ...node(2), supportedOnFpga: 0 }] }), "node 2 can't run"],
  ])("refuses %s with NCC0601", (text, detail) => {
    const read = () => parsePipelineInstance("f.json", text);
    expect(read).toThrow(UserError);
    expect(read).toThrow(detail);
  });
});
