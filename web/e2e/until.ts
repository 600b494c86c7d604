import { setTimeout as pause } from "node:timers/promises";
import { PATIENCE_MS } from "./settings.ts";

/** Asks again and again until `ask` answers something true, and gives that back. */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  patienceMs = PATIENCE_MS,
): Promise<Exclude<T, null | undefined | false | "" | 0>> {
  const end = Date.now() + patienceMs;
  let last: unknown;
  for (;;) {
    last = await ask();
    if (last) return last as Exclude<T, null | undefined | false | "" | 0>;
    if (Date.now() > end) throw new Error(`waited ${patienceMs} ms in vain: ${what}`);
    await pause(100);
  }
}
