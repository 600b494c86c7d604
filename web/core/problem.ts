/** What can go wrong with a call: an answer that says no, or no answer at all. */

import type { ProblemBody } from "./api-types.ts";

/** The server's refusal. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly requestId: string;
  /** From `Retry-After`, in seconds, where the server said one. */
  readonly retryAfter: number | null;

  constructor(status: number, code: string, detail: string, requestId = "", retryAfter: number | null = null) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** The server could not be reached; whether it did the work is unknown. */
export class Unreachable extends Error {
  constructor() {
    super("The server can't be reached. Check your connection, then try again.");
    this.name = "Unreachable";
  }
}

/** Reads a refusal's body; anything that is no problem document still makes a sentence. */
export function problemFrom(status: number, body: string, retryAfter: string | null): Problem {
  let parsed: Partial<ProblemBody> = {};
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null) parsed = value;
  } catch {
    // A proxy's error page: the status says enough.
  }
  const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  return new Problem(
    status,
    text(parsed.code) ?? `http_${status}`,
    text(parsed.detail) ?? text(parsed.title) ?? `The server answered ${status}.`,
    text(parsed.request_id) ?? "",
    Number.isFinite(seconds) ? seconds : null,
  );
}

/** A sentence for people, whatever was thrown. */
export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
