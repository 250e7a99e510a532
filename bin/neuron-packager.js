#!/usr/bin/env node
import { main } from "../dist/src/cli/main.js";
import { packager } from "../dist/src/cli/packager.js";

await main(packager);
