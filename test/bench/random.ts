/** Random graphs of new seeds against ONNX Runtime: how many fail. */
import { randomCase } from "../random/case.js";
import { checkCase } from "../random/check.js";
import { type Measured, row } from "./rows.js";

const GRAPHS = 20_000;

/** The first seed is in the row, so that a run can be had again; each failure is told as it comes. */
export async function randomGraphs(): Promise<Measured> {
  const first = Date.now() % 2 ** 31;
  let failures = 0;
  for (let seed = first; seed < first + GRAPHS; seed++) {
    const failure = await checkCase(randomCase(seed));
    if (failure === undefined) continue;
    failures++;
    process.stdout.write(`seed ${seed}: ${failure.kind}: ${failure.detail.split("\n")[0]}\n`);
  }
  return { rows: [row(`${GRAPHS} random graphs from seed ${first}, failures`, "", failures, 0)] };
}
