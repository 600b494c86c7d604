import { expect, it } from "vitest";
import { rowsInSight, type Sight, scrollTo } from "./rows-in-sight.ts";

/** Ten rows fit. */
const SIGHT: Sight = { rows: 10_000, rowHeight: 20, scrollTop: 0, viewHeight: 200, pinned: 0 };

it("draws what is seen and half a screen beyond, however many rows there are", () => {
  expect(rowsInSight(SIGHT)).toEqual(Array.from({ length: 15 }, (_, at) => at));
  const middle = rowsInSight({ ...SIGHT, scrollTop: 2010, pinned: 100 });
  expect([middle[0], middle.at(-1)]).toEqual([95, 115]);
  expect(rowsInSight({ ...SIGHT, scrollTop: 199_800, pinned: -1 }).at(-1)).toBe(9999);
  expect(rowsInSight({ ...SIGHT, rows: 3 })).toEqual([0, 1, 2]);
});

it("draws the row of the keyboard wherever it is, in its place", () => {
  expect(rowsInSight({ ...SIGHT, scrollTop: 2000, pinned: 7 }).slice(0, 2)).toEqual([7, 95]);
  expect(rowsInSight({ ...SIGHT, pinned: 9000 }).slice(-2)).toEqual([14, 9000]);
});

it("is at peace with a list that shrank, and one that isn't laid out yet", () => {
  expect(rowsInSight({ ...SIGHT, rows: 2, scrollTop: 4000, pinned: 1 })).toEqual([1]);
  expect(rowsInSight({ ...SIGHT, rows: 0, pinned: -1 })).toEqual([]);
  expect(rowsInSight({ ...SIGHT, viewHeight: 0 })).toEqual([0]);
});

it("scrolls no further than it must", () => {
  expect(scrollTo(5, SIGHT)).toBe(0);
  expect(scrollTo(10, SIGHT)).toBe(20);
  expect(scrollTo(3, { ...SIGHT, scrollTop: 400 })).toBe(60);
  expect(scrollTo(3, { ...SIGHT, viewHeight: 10 })).toBe(60);
});
