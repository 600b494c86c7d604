import { Problem, sentence } from "../../core/problem.ts";
import type { IdeContext } from "./context.ts";

/** Runs what a person asked for, and tells them when it did not work. Answers whether it did. */
export async function attempt(context: IdeContext, work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    tell(context, error);
    return false;
  }
}

/** Shows what went wrong, with the request's id where the server gave one. */
export function tell(context: IdeContext, error: unknown): void {
  if (error instanceof Problem && error.status === 401) {
    context.signedOut();
    return;
  }
  const requestId = error instanceof Problem && error.requestId !== "" ? { requestId: error.requestId } : {};
  context.dispatch({ type: "notice", tone: "error", text: sentence(error), ...requestId });
}
