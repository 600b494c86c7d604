/**
 * Passing over output that nobody waits for any more. A page that draws slower than a program prints is seconds behind
 * what has been written; who then presses Ctrl-C would see all of that first. What was written before the key was
 * pressed is passed over instead: acknowledged, so that the server sends on, and not drawn. The server still keeps it.
 */

/** Behind by less, in milliseconds, it is all drawn: it takes no time worth mentioning. */
const BEHIND_MS = 700;

export class Skim {
  /** The server's clock against this page's, with the shortest way seen between them, in milliseconds. */
  #way = Number.POSITIVE_INFINITY;
  #behind = 0;
  /** What was written before is passed over, by the server's clock. */
  #until = Number.NEGATIVE_INFINITY;
  #passed = 0;

  /** Output written at `timestamp` arrives `now`: whether it is drawn. */
  draws(timestamp: number, now: number, bytes: number): boolean {
    this.#way = Math.min(this.#way, now - timestamp);
    this.#behind = now - timestamp - this.#way;
    if (timestamp >= this.#until) return true;
    this.#passed += bytes;
    return false;
  }

  /** Somebody interrupts the program `now`. */
  interrupt(now: number): void {
    if (this.#behind > BEHIND_MS) this.#until = now - this.#way;
  }

  /** How many bytes were passed over since this was last asked. */
  takePassed(): number {
    const passed = this.#passed;
    this.#passed = 0;
    return passed;
  }

  /** The output starts over: all of it is drawn. */
  reset(): void {
    this.#until = Number.NEGATIVE_INFINITY;
    this.#passed = 0;
  }
}
