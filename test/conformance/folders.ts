/** Test folders on disk. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Folders below `folder`, itself included, that hold a file of this name, in order of their paths; links are followed. */
export function foldersWith(folder: string, file: string): string[] {
  if (existsSync(join(folder, file))) return [folder];
  const names = readdirSync(folder).filter((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.isDirectory());
  return names.sort().flatMap((name) => foldersWith(join(folder, name), file));
}
