/** A child process of the runner: checks one test folder after the other, as it is told. */
import { basename } from "node:path";
import { checkCase } from "./check.js";

process.on("message", (folder: string) => {
  const started = performance.now();
  checkCase(folder, basename(folder)).then((row) => {
    process.send?.({ ...row, seconds: (performance.now() - started) / 1000 });
  });
});
