/** The recipe of each operator, by name. */
import { matrix } from "./matrix.js";
import { movement } from "./movement.js";
import { pointwise } from "./pointwise.js";
import { rare } from "./rare.js";
import type { Recipe } from "./recipe.js";
import { reduction } from "./reduce.js";
import { wild } from "./wild.js";
import { windows } from "./window.js";

export type { Recipe } from "./recipe.js";

/** Families of operators, and how often one of them is chosen. */
const families: readonly (readonly [Readonly<Record<string, Recipe>>, weight: number])[] = [
  [pointwise, 4],
  [movement, 3],
  [matrix, 2],
  [windows, 2],
  [reduction, 2],
  [rare, 1],
  [wild, 1],
];

export const recipes: Readonly<Record<string, Recipe>> = Object.assign({}, ...families.map(([family]) => family));

/** Names of operators, each as often as it is to be chosen, relative to the others. */
export const choices: readonly (readonly string[])[] = families.flatMap(([family, weight]) => new Array(weight).fill(Object.keys(family)));
