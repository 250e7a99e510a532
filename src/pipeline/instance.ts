/** Pipeline instances from outside: the JSON form of the msr-fiddle/dnn-partitioning data. Its CPUs take no nodes here. */
import { userError } from "../diagnostics/diagnostic.js";
import type { CutProblem } from "./cut.js";
import { downsetsOfOneOrder } from "./downsets.js";

export interface PipelineInstance extends CutProblem {
  /** The file's ids, by index of node. */
  readonly ids: readonly number[];
}

type Fields = Readonly<Record<string, unknown>>;

/** Throws NCC0601 where the text is not such an instance. `devices` replaces the file's number. */
export function parsePipelineInstance(file: string, text: string, devices?: number): PipelineInstance {
  const fail = (detail: string) => userError("NCC0601", { file, detail });
  const fieldsOf = (value: unknown, what: string): Fields => {
    if (typeof value !== "object" || value === null) throw fail(`${what} is not an object`);
    return { ...value };
  };
  const number = (fields: Fields, name: string, what: string): number => {
    const value = fields[name];
    if (typeof value !== "number" || !(value >= 0 && value < Number.POSITIVE_INFINITY))
      throw fail(`${name} of ${what} is ${value === undefined ? "missing" : JSON.stringify(value)}, not a finite number of at least 0`);
    return value;
  };
  const list = (fields: Fields, name: string): Fields[] => {
    const value = fields[name];
    if (!Array.isArray(value)) throw fail(`${name} is not a list`);
    return value.map((item, index) => fieldsOf(item, `${name}[${index}]`));
  };
  const whole = fieldsOf(parseJson(text, fail), "the file");
  const [nodes, edges] = [list(whole, "nodes"), list(whole, "edges")];
  const ids = nodes.map((node, index) => number(node, "id", `nodes[${index}]`));
  const indexOf = new Map(ids.map((id, index) => [id, index]));
  if (indexOf.size < ids.length) throw fail("two nodes have the same id");
  const transfer = new Array<number>(nodes.length).fill(0);
  const successors = nodes.map(() => new Set<number>());
  for (const [index, edge] of edges.entries()) {
    const [source, target] = ["sourceId", "destId"].map((name) => {
      const node = indexOf.get(number(edge, name, `edges[${index}]`));
      if (node === undefined) throw fail(`${name} of edges[${index}] is ${edge[name]}, which is no node's id`);
      return node;
    });
    successors[source].add(target);
    transfer[source] = Math.max(transfer[source], number(edge, "cost", `edges[${index}]`));
  }
  const refused = nodes.find((node) => !node.supportedOnFpga);
  if (refused) throw fail(`node ${refused.id} can't run on an accelerator`);
  const deviceCount = (fields: Fields): number => {
    const count = number(fields, "maxFPGAs", "the file");
    if (!Number.isInteger(count) || count < 1) throw fail(`maxFPGAs of the file is ${count}, not a whole number of at least 1`);
    return count;
  };
  const instance: PipelineInstance = {
    ids,
    nodes: nodes.map((node, index) => ({
      work: number(node, "fpgaLatency", `node ${ids[index]}`),
      size: number(node, "size", `node ${ids[index]}`),
      transfer: transfer[index],
    })),
    successors: successors.map((targets) => [...targets]),
    devices: Math.min(devices ?? deviceCount(whole), nodes.length),
    capacity: number(whole, "maxSizePerFPGA", "the file"),
  };
  if (!downsetsOfOneOrder(instance)) throw fail("its edges form a cycle");
  return instance;
}

function parseJson(text: string, fail: (detail: string) => Error): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw fail("not JSON");
  }
}
