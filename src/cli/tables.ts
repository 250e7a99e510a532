/** Writes the support tables in `ops/`: `npm run tables`; with `--check` it only tells whether they are stale. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { tables } from "../driver/tables.js";

/** The package's `ops/` folder, from the sources as from their compiled form. */
function folder(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, "package.json"))) directory = dirname(directory);
  return join(directory, "ops");
}

/** Names of the tables that differ from the records. */
export function staleTables(): string[] {
  const read = (file: string): string => (existsSync(join(folder(), file)) ? readFileSync(join(folder(), file), "utf8") : "");
  return [...tables()].filter(([file, content]) => read(file) !== content).map(([file]) => file);
}

function main(check: boolean): void {
  const stale = staleTables();
  if (!check) {
    mkdirSync(folder(), { recursive: true });
    for (const [file, content] of tables()) writeFileSync(join(folder(), file), content);
  } else if (stale.length > 0) {
    process.stderr.write(`stale: ${stale.map((file) => `ops/${file}`).join(", ")}; run npm run tables\n`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.includes("--check"));
