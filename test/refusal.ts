/** The text of the UserError that `action` throws; fails if it throws none. */
import { expect } from "vitest";
import { UserError } from "../src/diagnostics/diagnostic.js";

function textOf(error: unknown): string {
  if (!(error instanceof UserError)) throw error;
  return error.message;
}

export function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return textOf(error);
  }
  expect.fail("nothing was refused");
}

export async function asyncRefusal(action: () => Promise<unknown>): Promise<string> {
  try {
    await action();
  } catch (error) {
    return textOf(error);
  }
  expect.fail("nothing was refused");
}
