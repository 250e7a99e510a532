import { randomGraphs } from "./suite.js";

randomGraphs(0, 1000);
