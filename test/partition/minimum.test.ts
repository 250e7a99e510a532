import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Graph } from "../../src/graph/graph.js";
import { checkPartition, partition } from "../../src/partition/index.js";
import { graphOf, node, verdictsOf } from "./graphs.js";

const plain = { minimumSegmentSize: 1, noFuse: new Set<string>(), forceFuse: new Set<string>() };

interface Case {
  readonly predecessors: readonly (readonly number[])[];
  readonly onNeuron: readonly boolean[];
}

/** Random graphs of up to `most` nodes, each with its predecessors. */
function cases(least: number, most: number): fc.Arbitrary<Case> {
  return fc.integer({ min: least, max: most }).chain((count) =>
    fc.record({
      predecessors: fc.tuple(
        ...Array.from({ length: count }, (_, at) => fc.uniqueArray(fc.nat(Math.max(0, at - 1)), { maxLength: Math.min(at, 3) })),
      ),
      onNeuron: fc.array(fc.boolean(), { minLength: count, maxLength: count }),
    }),
  );
}

function graphOfCase({ predecessors }: Case): Graph {
  return graphOf(predecessors.map((before, at) => node(`N${at}`, before.length > 0 ? before.map((other) => `n${other}`) : ["x"])));
}

/** Least [Neuron groups, CPU groups] over all ways to divide the nodes, found by trying them. */
function leastGroups({ predecessors, onNeuron }: Case): [number, number] {
  const group: number[] = [];
  const devices: boolean[] = [];
  let best: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const visit = (at: number) => {
    const neuron = devices.filter((device) => device).length;
    const found: [number, number] = [neuron, devices.length - neuron];
    if (found[0] > best[0] || (found[0] === best[0] && found[1] >= best[1])) return;
    if (!isAcyclic(predecessors, group, devices.length)) return;
    if (at === onNeuron.length) {
      best = found;
      return;
    }
    for (let choice = 0; choice <= devices.length; choice++) {
      if (choice === devices.length) devices.push(onNeuron[at]);
      else if (devices[choice] !== onNeuron[at]) continue;
      group[at] = choice;
      visit(at + 1);
      group.length = at;
      if (choice === devices.length - 1 && !group.includes(choice)) {
        devices.pop();
        break;
      }
    }
  };
  visit(0);
  return best;
}

/** Whether the graph between the groups of the first nodes, those in `group`, has no cycle: transitive closure on bit sets. */
function isAcyclic(predecessors: readonly (readonly number[])[], group: readonly number[], count: number): boolean {
  const reach = new Array<number>(count).fill(0);
  for (let at = 0; at < group.length; at++)
    for (const before of predecessors[at]) if (group[before] !== group[at]) reach[group[before]] |= 1 << group[at];
  for (let via = 0; via < count; via++) for (let from = 0; from < count; from++) if (reach[from] & (1 << via)) reach[from] |= reach[via];
  return reach.every((bits, own) => (bits & (1 << own)) === 0);
}

function expectLeast(testCase: Case): void {
  const graph = graphOfCase(testCase);
  const verdicts = verdictsOf(
    graph,
    graph.nodes.filter((_, at) => !testCase.onNeuron[at]).map((each) => each.name),
  );
  const result = partition(graph, verdicts, plain);
  expect(checkPartition(graph, verdicts, plain.noFuse, result)).toEqual([]);
  const count = (device: string) => result.subgraphs.filter((subgraph) => subgraph.device === device).length;
  expect([count("neuron"), count("cpu")]).toEqual(leastGroups(testCase));
}

describe("number of groups", () => {
  it("is the least on random graphs of up to 7 nodes", () => {
    fc.assert(fc.property(cases(1, 7), expectLeast), { seed: 1, numRuns: 400 });
  });

  it("is the least on random graphs of 8 to 10 nodes", () => {
    fc.assert(fc.property(cases(8, 10), expectLeast), { seed: 2, numRuns: 60 });
  });

  it("is one per device where the devices follow each other", () => {
    expectLeast({ predecessors: [[], [], [0], [1]], onNeuron: [true, true, false, false] });
    expectLeast({ predecessors: [[], [], [0], [1]], onNeuron: [true, false, false, true] });
  });
});

describe("large graphs", () => {
  it("a chain of 100,000 nodes that changes device at every one", () => {
    const graph = graphOf(Array.from({ length: 100_000 }, (_, at) => node(`N${at}`, [at === 0 ? "x" : `n${at - 1}`])));
    const verdicts = verdictsOf(
      graph,
      graph.nodes.filter((_, at) => at % 2 === 1).map((each) => each.name),
    );
    const result = partition(graph, verdicts, plain);
    expect(result.subgraphs.length).toBe(100_000);
    expect(partition(graph, verdicts, { ...plain, minimumSegmentSize: 2 }).subgraphs.length).toBe(1);
  });

  it("a wide and deep graph of 50,000 nodes is valid", () => {
    const graph = graphOf(
      Array.from({ length: 50_000 }, (_, at) =>
        node(`N${at}`, at === 0 ? ["x"] : [...new Set([1, 7, 101].map((step) => `n${Math.max(0, at - ((at * step) % 300) - 1)}`))]),
      ),
    );
    const verdicts = verdictsOf(
      graph,
      graph.nodes.filter((_, at) => at % 1009 === 500).map((each) => each.name),
    );
    const result = partition(graph, verdicts, plain);
    expect(checkPartition(graph, verdicts, plain.noFuse, result)).toEqual([]);
  });
});
