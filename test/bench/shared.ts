/** Instances with known answers, which lie beside the checkout or nowhere. */
import { existsSync } from "node:fs";

/** The path of one of their folders; where it is missing, undefined, and that is told. */
export function shared(name: string): string | undefined {
  const folder = `../shared/${name}`;
  if (existsSync(folder)) return folder;
  process.stdout.write(`skipped: there is no ${folder}\n`);
  return undefined;
}
