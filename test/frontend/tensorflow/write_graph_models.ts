/**
 * `npm run graph-models -- DIR OUT [NAME...]`: TF.js graph models (`NAME.json` with its shards) as cases of `npm run conformance:tensorflow -- OUT`,
 * with what TF.js computes. On TF.js's plain backend a large model takes a minute.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeCase } from "./tfjs.js";

/** Of models with open extents that are made for images of another size than most. */
const sizes: Readonly<Record<string, number>> = {
  age: 64,
  gender: 64,
  emotion: 64,
  iris: 64,
  mobilefacenet: 112,
  "gender-ssrnet-imdb": 64,
};

async function main(): Promise<void> {
  const [folder, out, ...names] = process.argv.slice(2);
  if (out === undefined) throw new Error("usage: npm run graph-models -- DIR OUT [NAME...]");
  const models = readdirSync(folder).flatMap((file) => (file.endsWith(".json") ? [file.slice(0, -".json".length)] : []));
  for (const name of models) {
    const path = join(folder, `${name}.json`);
    if ((names.length > 0 && !names.includes(name)) || !("modelTopology" in JSON.parse(readFileSync(path, "utf8")))) continue;
    await writeCase(path, join(out, name), sizes[name]);
    process.stderr.write(`${name}\n`);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
