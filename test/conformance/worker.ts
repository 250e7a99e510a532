/** A child process of the runner: checks one test after the other, as it is told. */
import { checkCase } from "./check.js";
import type { TestSource } from "./suite.js";

process.on("message", (test: TestSource) => {
  const started = performance.now();
  checkCase(test).then((row) => {
    process.send?.({ ...row, seconds: (performance.now() - started) / 1000 });
  });
});
