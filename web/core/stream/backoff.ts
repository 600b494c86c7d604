/** How long to wait before the next try: full jitter, so that many pages do not come back at once. */

/** The first try's ceiling, in milliseconds. */
const FIRST_MS = 250;
/** No try waits longer. */
const MOST_MS = 10_000;
/** Never hammer a server that closes at once. */
const LEAST_MS = 50;

/** The wait before try `attempt` (from 0), where `random` is uniform in [0, 1). */
export function backoffMs(attempt: number, random: number): number {
  const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(LEAST_MS + random * (ceiling - LEAST_MS));
}
