/** The smallest graph on which a random case fails as it did. */
import { runGraph } from "../../src/host/index.js";
import { bindInputs, type Subject } from "../../src/reduce/edit.js";
import { shrink } from "../../src/reduce/shrink.js";
import type { RandomCase } from "./case.js";
import { checkCase, type Failure } from "./check.js";

const LIMIT = 400;

/** Numbers and names differ between a graph and its parts; what is left tells one fault from another. */
export function sameFault(a: Failure, b: Failure): boolean {
  const essence = ({ detail }: Failure) =>
    detail
      .split("\n")[0]
      .replace(/NCC\d+/g, (id) => id.replace(/\d/g, (digit) => "abcdefghij"[Number(digit)]))
      .replace(/[\w/.]*\d[\w/.]*/g, "#")
      .slice(0, 60);
  return a.kind === b.kind && (a.kind === "mismatch" || essence(a) === essence(b));
}

export async function reduceCase(test: RandomCase, failure: Failure): Promise<RandomCase> {
  const caseOf = (subject: Subject): RandomCase => {
    const names = new Set(subject.graph.nodes.map((node) => node.name));
    const { batchSize: _, forceFuseOps, noFuseOps, ...options } = test.options;
    const present = (list: readonly string[] | undefined) => list && { list: list.filter((name) => names.has(name)) };
    return {
      ...test,
      ...subject,
      batch: undefined,
      options: { ...options, forceFuseOps: present(forceFuseOps)?.list, noFuseOps: present(noFuseOps)?.list },
    };
  };
  const { subject } = await shrink(bindInputs(test), {
    limit: LIMIT,
    fails: async (candidate) => {
      try {
        const seen = await checkCase(caseOf(candidate));
        return seen !== undefined && sameFault(seen, failure);
      } catch {
        return false;
      }
    },
    evaluate: async ({ graph, inputs }) => {
      try {
        return await runGraph({ ...graph, outputs: graph.nodes.flatMap((node) => node.outputs).filter((name) => name !== "") }, inputs);
      } catch {
        return new Map();
      }
    },
  });
  return caseOf(subject);
}
