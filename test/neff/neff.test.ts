import { execFileSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { decodeHeader, encodeHeader, HEADER_BYTES } from "../../src/neff/header.js";
import { parseManifest, readEntries, readNeff, readPrograms, writeNeff } from "../../src/neff/neff.js";
import { type TarSource, tarPieces } from "../../src/neff/tar.js";
import { refusal } from "../refusal.js";
import { sampleArtifact } from "./sample.js";

/** A file with a right header and hash around any content: what only a forger can make. */
function forge(sources: readonly TarSource[], good: Uint8Array): Uint8Array {
  const data = [gzipSync(Buffer.concat(tarPieces(sources)))];
  return Buffer.concat([encodeHeader(decodeHeader(good), data), ...data]);
}

describe("the artifact file", () => {
  it.each([false, true])("reads back what was written (uncompressed: %s)", async (uncompressed) => {
    const artifact = sampleArtifact(uncompressed);
    const read = readNeff(await writeNeff(artifact));
    expect(read.manifest).toEqual(artifact.manifest);
    expect(read.constants).toEqual(artifact.constants);
    const [before] = artifact.programs.get("sg00") ?? [];
    const [after] = read.programs.get("sg00") ?? [];
    expect(after.program).toEqual(before.program);
    expect([...after.constants].map(([name, data]) => [name, [...data]])).toEqual(
      [...before.constants].map(([name, data]) => [name, [...data]]),
    );
    const { manifest, programs } = readPrograms(await writeNeff(artifact), "x.neff");
    expect(manifest).toEqual(artifact.manifest);
    expect([...programs]).toEqual([["sg00", [before.program]]]);
  });

  it("has the same bytes each time, and no word of the host in its gzip header", async () => {
    const first = await writeNeff(sampleArtifact());
    expect(Buffer.from(await writeNeff(sampleArtifact())).equals(first)).toBe(true);
    expect([...first.subarray(HEADER_BYTES, HEADER_BYTES + 10)]).toEqual([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
  });

  it("opens with tail and tar", async () => {
    const file = await writeNeff(sampleArtifact());
    const names = execFileSync("tar", ["tzf", "-"], { input: file.subarray(HEADER_BYTES), encoding: "utf8" })
      .trim()
      .split("\n");
    expect(names).toEqual(["manifest.json", "sg00/core0.asm", "constants/0.pb", "sg00/core0.weights"]);
  });

  it("counts cores in its header", async () => {
    const { header } = readEntries(await writeNeff(sampleArtifact()), "x.neff");
    expect(header).toMatchObject({ cores: 1, requestedCores: 1, name: "copy", packageVersion: 2, versionMajor: 1 });
    expect(header.coresPerNode.slice(0, 2)).toEqual([1, 0]);
    expect(header.uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

it("refuses a file of another version", async () => {
  const file = Buffer.from(await writeNeff(sampleArtifact()));
  file.writeBigUInt64LE(9n, 24);
  expect(refusal(() => readNeff(file, "x.neff"))).toMatch(/^NCC0702: x\.neff: .* received: 9\./);
});

describe("damage", () => {
  it("is noticed in every byte", async () => {
    const file = Buffer.from(await writeNeff(sampleArtifact()));
    for (let at = 0; at < file.length; at++) {
      file[at] ^= 1 << (at % 8);
      expect(
        refusal(() => readNeff(file, "x.neff")),
        `byte ${at}`,
      ).toMatch(/^NCC070[1-4]: x\.neff: /);
      file[at] ^= 1 << (at % 8);
    }
  });

  it("is named: too short, cut, too long, another version", async () => {
    const file = Buffer.from(await writeNeff(sampleArtifact()));
    expect(refusal(() => readNeff(new Uint8Array(), "x.neff"))).toContain("NCC0701: x.neff: not a NEFF file: it has 0 bytes");
    expect(refusal(() => readNeff(Buffer.alloc(5000), "x.neff"))).toContain("NCC0701");
    expect(refusal(() => readNeff(file.subarray(0, file.length - 1), "x.neff"))).toContain("NCC0703");
    expect(refusal(() => readNeff(Buffer.concat([file, Buffer.alloc(1)]), "x.neff"))).toContain("NCC0704");
    file.writeBigUInt64LE(2n, 24);
    expect(refusal(() => readNeff(file, "x.neff"))).toContain("NEFF version mismatch supported: 1.0 received: 2.0");
  });

  it("of the contents is named, where header and hash are right", async () => {
    const file = await writeNeff(sampleArtifact());
    const entries = readEntries(file, "x.neff").entries.map(({ name, data }) => ({ name, pieces: [data] }));
    const without = (name: string) =>
      forge(
        entries.filter((entry) => entry.name !== name),
        file,
      );
    const withText = (name: string, text: string) =>
      forge(
        entries.map((entry) => (entry.name === name ? { name, pieces: [Buffer.from(text)] } : entry)),
        file,
      );
    expect(readNeff(forge(entries, file)).manifest.name).toBe("copy");
    expect(refusal(() => readNeff(without("sg00/core0.asm")))).toContain("sg00/core0.asm is missing");
    expect(refusal(() => readPrograms(without("sg00/core0.asm"), "x.neff"))).toContain("sg00/core0.asm is missing");
    expect(refusal(() => readNeff(withText("sg00/core0.asm", "hello")))).toContain("NCC0705");
    expect(refusal(() => readNeff(withText("sg00/core0.weights", "hello")))).toContain("sg00/core0.weights has a wrong size");
    expect(refusal(() => readNeff(withText("constants/0.pb", "hello")))).toContain("constants/0.pb can't be read");
    expect(refusal(() => readNeff(withText("manifest.json", "{")))).toContain("manifest.json is not JSON");
    expect(refusal(() => readNeff(withText("manifest.json", "{}")))).toContain("manifest.json: $.format: not a count");
    const data = [Buffer.from("no gzip")];
    expect(refusal(() => readNeff(Buffer.concat([encodeHeader(decodeHeader(file), data), ...data])))).toContain("NCC0705");
  });

  it("of the manifest's version is named", () => {
    const { manifest } = sampleArtifact();
    const text = Buffer.from(JSON.stringify({ ...manifest, format: 7 }));
    expect(refusal(() => parseManifest(text, "x.neff"))).toContain("format 7, not 1");
  });

  it("of the place of a subgraph is named", () => {
    const { manifest } = sampleArtifact();
    const [subgraph] = manifest.subgraphs;
    const text = Buffer.from(JSON.stringify({ ...manifest, subgraphs: [subgraph, { ...subgraph, id: "sg01" }] }));
    expect(refusal(() => parseManifest(text, "x.neff"))).toContain("sg01 does not lie behind the subgraph before it");
  });
});
