/** Files of commands: read with a coded error, written whole or not at all. */
import { accessSync, closeSync, constants, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { userError } from "../diagnostics/diagnostic.js";

function refusal(path: string, error: unknown): Error {
  if (!(error instanceof Error) || !("code" in error)) return error instanceof Error ? error : new Error(String(error));
  return userError("NCC0706", { path, detail: String(error.code) });
}

/** Errors: NCC0802. */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw userError("NCC0802", { file: path, detail: error instanceof Error ? error.message : String(error) });
  }
}

/** Fails early where `path` can't be written later. Errors: NCC0706. */
export function checkWritable(path: string): void {
  guarded(path, () => {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw userError("NCC0706", { path, detail: "it is a directory" });
  });
}

/** Fails early where a folder can't be made, or files not be written into it, later. Errors: NCC0706. */
export function checkFolder(path: string): void {
  guarded(path, () => {
    let folder = resolve(path);
    while (!statSync(folder, { throwIfNoEntry: false })) folder = dirname(folder);
    if (path === "" || !statSync(folder).isDirectory()) throw userError("NCC0706", { path, detail: `${folder} is no directory` });
    accessSync(folder, constants.W_OK | constants.X_OK);
  });
}

function guarded(path: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw refusal(path, error);
  }
}

/** Writes beside `path`, then renames: readers never see a part of it. Errors: NCC0706, with nothing left behind. */
export function writeWhole(path: string, bytes: Uint8Array | string): void {
  const temporary = `${path}.${process.pid}.partial`;
  let made = false;
  try {
    const file = openSync(temporary, "w");
    made = true;
    try {
      writeFileSync(file, bytes);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    if (made) rmSync(temporary, { force: true });
    throw refusal(path, error);
  }
}

/** Makes a folder with those above it. Errors: NCC0706. */
export function makeFolder(path: string): void {
  guarded(path, () => mkdirSync(path, { recursive: true }));
}

/** File names in one folder for names that may hold any character: safe on every system, and distinct. */
export function fileNames(names: readonly string[], extension: string): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const plain =
      name
        .replace(/[^A-Za-z0-9_.-]/g, "_")
        .replace(/^\.+/, "_")
        .slice(0, 100) || "_";
    let file = plain + extension;
    for (let count = 2; taken.has(file.toLowerCase()); count++) file = `${plain}_${count}${extension}`;
    taken.add(file.toLowerCase());
    return file;
  });
}

/** A path inside `folder` for an archive member. Errors: NCC0705 for a name that leads outside. */
export function inside(folder: string, member: string, archive: string): string {
  if (member.startsWith("/") || member.split(/[\\/]/).includes("..")) {
    throw userError("NCC0705", { file: archive, detail: `its member ${member} leads outside the folder` });
  }
  return join(folder, member);
}
