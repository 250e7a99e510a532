import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // No test rests on the time that something takes: this only ends one that hangs.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    exclude: ["**/node_modules/**", "**/dist/**", "build/**"],
  },
});
