import { randomGraphs } from "./suite.js";

randomGraphs(1000, 1000);
