import { expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";

it("grows to a ceiling and never is zero", () => {
  expect(backoffMs(0, 0)).toBe(50);
  expect(backoffMs(0, 0.999)).toBeLessThanOrEqual(250);
  expect(backoffMs(3, 0.999)).toBeGreaterThan(1500);
  for (let attempt = 0; attempt < 2000; attempt += 1) {
    const ms = backoffMs(attempt, Math.random());
    expect(ms).toBeGreaterThanOrEqual(50);
    expect(ms).toBeLessThanOrEqual(10_000);
  }
});
