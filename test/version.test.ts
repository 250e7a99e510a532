import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { version } from "../src/version.js";

it("the version is package.json's", () => {
  expect(JSON.parse(readFileSync("package.json", "utf8")).version).toBe(version);
});
