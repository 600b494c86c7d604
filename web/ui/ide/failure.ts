import { Problem, sentence } from "../../core/problem.ts";
import type { IdeContext } from "./context.ts";

/** Runs what a person asked for, and tells them when it did not work. Answers whether it did. */
export async function attempt(context: IdeContext, work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) context.signedOut();
    else context.dispatch({ type: "notice", tone: "error", text: sentence(error) });
    return false;
  }
}
