#!/usr/bin/env node
import { main } from "../dist/src/cli/main.js";
import { neuronc } from "../dist/src/cli/neuronc.js";

await main(neuronc);
