/** The package's version, as in package.json (a test compares them): in every artifact and behind `--version`. */
export const version = "0.1.0";
