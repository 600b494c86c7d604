/** The steps of a journey: numbered, reported as they pass, with a picture of where each one ended. */

import type { Page } from "playwright-core";
import { OUT } from "./settings.ts";

export class Steps {
  #passed = 0;
  #page: Page | null = null;

  /** The page whose pictures are taken from now on. */
  watch(page: Page): void {
    this.#page = page;
  }

  /** Runs one step. The first that fails ends the journey: those after it build on it. */
  async step(name: string, work: () => Promise<void>): Promise<void> {
    const number = this.#passed + 1;
    const started = performance.now();
    try {
      await work();
    } catch (error) {
      await this.#picture(`${number}-failed`);
      console.log(`not ok ${number} ${name}`);
      console.log(error instanceof Error ? error.stack : error);
      throw new JourneyFailed();
    }
    this.#passed = number;
    await this.#picture(`${String(number).padStart(2, "0")}-${name.replaceAll(/[^a-z0-9]+/gi, "-")}`);
    console.log(`ok ${number} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  }

  summary(failed: number): string {
    return `${this.#passed} passed, ${failed} failed`;
  }

  async #picture(name: string): Promise<void> {
    // A picture that can't be taken (the page is gone) must not hide how the step ended.
    await this.#page?.screenshot({ path: `${OUT}/${name}.png` }).catch(() => undefined);
  }
}

/** Already reported. */
export class JourneyFailed extends Error {}
