/** The only way in which the package prints. */

/** `--verbose` words from most to least; the vendor's integrations also pass numbers. */
export const logLevels = ["DEBUG", "INFO", "WARN", "ERROR"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface Streams {
  out(text: string): void;
  err(text: string): void;
  /** Whether a person watches `err`: progress is shown then. */
  readonly interactive: boolean;
}

export const processStreams: Streams = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  interactive: process.stderr.isTTY === true,
};

/** Log routing as the vendor's tools have it: debug and info to stdout, warnings and errors to stderr. With JSON nothing but the object goes to stdout. */
export class Terminal {
  private showing = false;

  constructor(
    private readonly streams: Streams,
    private readonly level: LogLevel = "WARN",
    private readonly json = false,
  ) {}

  /** What the command was called for. Nothing with `--json`. */
  print(text: string): void {
    this.clear();
    if (!this.json) this.streams.out(`${text}\n`);
  }

  /** What was asked for beside it: with `--json` on stderr. */
  show(text: string): void {
    this.clear();
    if (this.json) this.streams.err(`${text}\n`);
    else this.streams.out(`${text}\n`);
  }

  object(value: unknown): void {
    this.clear();
    this.streams.out(`${JSON.stringify(value, null, 2)}\n`);
  }

  log(level: LogLevel, message: string): void {
    if (logLevels.indexOf(level) < logLevels.indexOf(this.level)) return;
    this.clear();
    const quiet = level === "DEBUG" || level === "INFO";
    if (quiet && !this.json) this.streams.out(`${message}\n`);
    else this.streams.err(`${quiet ? "" : `${level}: `}${message}\n`);
  }

  /** A line that the next one overwrites. */
  progress(text: string): void {
    if (!this.streams.interactive) return;
    this.streams.err(`\r\x1b[K${text}`);
    this.showing = true;
  }

  clear(): void {
    if (this.showing) this.streams.err("\r\x1b[K");
    this.showing = false;
  }
}
