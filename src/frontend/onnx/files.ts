/** The files of an ONNX model: the model itself and its external data, read by range. */
import { realpathSync } from "node:fs";
import { dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { type UserError, userError } from "../../diagnostics/diagnostic.js";
import { tensorFlowKind } from "../detect.js";
import { modelStats, readRange, readWhole, statsOf, unreadable, withFile } from "../files.js";
import type { ExternalData } from "./tensor.js";

/** A protobuf message can't be larger. */
const largestModel = 2 ** 31;

/** The content of a model file. Throws a UserError if there is none to read. */
export function readModelFile(path: string): Uint8Array {
  if (statsOf(path)?.isDirectory()) throw folderError(path);
  const { size } = modelStats(path);
  if (size > largestModel) throw userError("NCC0109", { path, bytes: size });
  return readWhole(path, size);
}

function folderError(path: string): UserError {
  const isSavedModel = statsOf(join(path, "saved_model.pb")) !== undefined;
  return isSavedModel ? userError("NCC0107", { path, kind: "a SavedModel folder" }) : userError("NCC0102", { path });
}

/**
 * Reads the external data of the model at `path`. A location is relative, has no `..`, and stays in the model's folder after symbolic
 * links are followed: a model file must not be able to name other files of its user. Adds each file that it reads to `seen`.
 */
export function externalDataOf(path: string, seen: Set<string>): ExternalData {
  const folder = realpathSync(dirname(resolve(path)));
  return (tensor, entries, byteLength) => {
    const location = entries.get("location") ?? "";
    const outside = () => userError("NCC0121", { tensor, location: JSON.stringify(location) });
    if (location === "" || location.includes("\0")) {
      throw userError("NCC0123", {
        tensor,
        key: "location",
        value: JSON.stringify(location),
        expected: "it has to name a file beside the model",
      });
    }
    if (isAbsolute(location) || location.split(/[\\/]/).includes("..")) throw outside();
    const file = join(folder, location);
    const stats = statsOf(file);
    if (!stats?.isFile()) throw userError("NCC0120", { tensor, location });
    const fromFolder = relative(folder, realpathSync(file));
    if (fromFolder === ".." || fromFolder.startsWith(`..${sep}`) || isAbsolute(fromFolder)) throw outside();
    const number = (key: string, missing: number) => {
      const text = entries.get(key) ?? String(missing);
      const value = Number(text);
      if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
        throw userError("NCC0123", { tensor, key, value: JSON.stringify(text), expected: "it has to be a count of bytes" });
      }
      return value;
    };
    const offset = number("offset", 0);
    const length = number("length", byteLength);
    if (length !== byteLength) {
      throw userError("NCC0123", { tensor, key: "length", value: length, expected: `the tensor's shape asks for ${byteLength} bytes` });
    }
    const found = Math.max(0, stats.size - offset);
    if (found < length) throw userError("NCC0122", { tensor, location, offset, found, expected: length });
    seen.add(file);
    try {
      return withFile(file, (open) => readRange(open, offset, length));
    } catch (error) {
      throw unreadable(location, error);
    }
  };
}

interface FileKind {
  readonly kind: string;
  readonly instead: string;
  readonly at: number;
  readonly magic: string;
}

const exportFirst = "export the model to ONNX first";
const giveModel = "give the path of an ONNX model";

/** What is often given instead of a model, by its first bytes (latin-1). */
const otherKinds: readonly FileKind[] = [
  { kind: "a Git LFS pointer", instead: "fetch the file itself with git lfs pull", at: 0, magic: "version https://git-lfs" },
  { kind: "a zip archive, perhaps a PyTorch checkpoint", instead: exportFirst, at: 0, magic: "PK\x03\x04" },
  { kind: "a Python pickle", instead: exportFirst, at: 0, magic: "\x80\x02" },
  { kind: "an HDF5 file, perhaps a Keras model", instead: exportFirst, at: 0, magic: "\x89HDF" },
  { kind: "a TensorFlow Lite model", instead: exportFirst, at: 4, magic: "TFL3" },
  { kind: "an ONNX Runtime model", instead: "give the ONNX file that it was made from", at: 4, magic: "ORTM" },
  { kind: "a gzip archive", instead: "unpack it first", at: 0, magic: "\x1f\x8b" },
  { kind: "a JPEG picture", instead: giveModel, at: 0, magic: "\xff\xd8\xff" },
  { kind: "a PNG picture", instead: giveModel, at: 0, magic: "\x89PNG" },
  { kind: "a web page", instead: "download the file itself", at: 0, magic: "<" },
];

/** The error for a file that does not decode as an ONNX model: says what it is, as far as that shows, else `reason`. */
export function notOnnx(path: string, bytes: Uint8Array, reason: string): UserError {
  const head = Buffer.from(bytes.subarray(0, 64)).toString("latin1");
  const other = otherKinds.find(({ at, magic }) => head.startsWith(magic, at));
  if (other !== undefined) return userError("NCC0108", { path, kind: other.kind, instead: other.instead });
  const kind = tensorFlowKind(bytes, bytes.length);
  return kind === undefined ? userError("NCC0106", { path, reason }) : userError("NCC0107", { path, kind });
}
