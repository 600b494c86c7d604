/** How quick the machine is just now: what must not take long is measured by it, as others may work on it too. */

import type { Page } from "playwright-core";

/** The longest time between two of a page's next frames, in milliseconds. */
export function longestFrame(page: Page): Promise<number> {
  return page.evaluate(async () => {
    let last = performance.now();
    let longest = 0;
    for (let frame = 0; frame < 60; frame += 1) {
      await new Promise(requestAnimationFrame);
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
    return longest;
  });
}

/** How long `work` takes, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}
