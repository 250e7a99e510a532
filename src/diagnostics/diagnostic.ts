/** Errors that a user can cause. Everything else that throws is an internal error (exit 70). */
import { type MessageId, messages } from "./messages.js";

export interface Diagnostic {
  readonly id: MessageId;
  readonly message: string;
}

/** Thrown for a fault in the user's model, input or usage: exit 1. */
export class UserError extends Error {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map((diagnostic) => `${diagnostic.id}: ${diagnostic.message}`).join("\n"));
    this.name = "UserError";
    this.diagnostics = diagnostics;
  }
}

/** Fills a message's `{placeholders}`. Throws (an internal invariant) when a placeholder has no value. */
export function diagnostic(id: MessageId, values: Readonly<Record<string, string | number>> = {}): Diagnostic {
  const message = messages[id].replace(/\{(\w+)\}/g, (_, key: string) => {
    if (!(key in values)) throw new Error(`${id}: no value for {${key}}`);
    return String(values[key]);
  });
  return { id, message };
}

export function userError(id: MessageId, values: Readonly<Record<string, string | number>> = {}): UserError {
  return new UserError([diagnostic(id, values)]);
}
