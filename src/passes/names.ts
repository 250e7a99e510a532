/** The passes of normalise in their order. */
export const passNames = [
  "bind",
  "infer",
  "quantised",
  "fold",
  "doubles",
  "clean",
  "decompose",
  "layout",
  "simplify",
  "absorb",
  "merge",
  "fuse",
] as const;
export type PassName = (typeof passNames)[number];
