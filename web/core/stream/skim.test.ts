import { expect, it } from "vitest";
import { Skim } from "./skim.ts";

/** The server's clock is an hour ahead, and a message takes 20 ms. */
const AHEAD = 3_600_000;
const arrives = (skim: Skim, written: number, now: number) => skim.draws(written + AHEAD, now, 100);

it("draws everything as long as nobody interrupts", () => {
  const skim = new Skim();
  expect(arrives(skim, 0, 20)).toBe(true);
  expect(arrives(skim, 100, 9000)).toBe(true);
  expect(skim.takePassed()).toBe(0);
});

it("passes over what was written before the interrupt, and draws all that follows", () => {
  const skim = new Skim();
  arrives(skim, 0, 20);
  arrives(skim, 1000, 5000);
  skim.interrupt(5000);
  expect(arrives(skim, 1010, 5001)).toBe(false);
  expect(arrives(skim, 4900, 5200)).toBe(false);
  expect(skim.takePassed()).toBe(200);
  expect(arrives(skim, 4990, 5210)).toBe(true);
  expect(skim.takePassed()).toBe(0);
});

it("draws everything when it is hardly behind, or does not know that it is", () => {
  const near = new Skim();
  arrives(near, 0, 20);
  arrives(near, 1000, 1500);
  near.interrupt(1500);
  expect(arrives(near, 1010, 1510)).toBe(true);
  const unaware = new Skim();
  arrives(unaware, 0, 8000);
  unaware.interrupt(8000);
  expect(arrives(unaware, 10, 8010)).toBe(true);
});

it("draws a replay from the start", () => {
  const skim = new Skim();
  arrives(skim, 0, 20);
  arrives(skim, 1000, 5000);
  skim.interrupt(5000);
  skim.reset();
  expect(arrives(skim, 0, 5100)).toBe(true);
});
