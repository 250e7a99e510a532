#!/usr/bin/env node
import { main } from "../dist/src/cli/main.js";
import { run } from "../dist/src/cli/run.js";

await main(run);
