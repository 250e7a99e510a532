#!/usr/bin/env node
import { checkModelCommand } from "../dist/src/cli/check_model.js";
import { main } from "../dist/src/cli/main.js";

await main(checkModelCommand);
