import { expect, it } from "vitest";
import { compareIds, formatId, parseId } from "./event-id.ts";

it("reads and writes ids", () => {
  expect(parseId("0-413")).toEqual({ generation: 0, sequence: 413 });
  expect(formatId({ generation: 2, sequence: 9 })).toBe("2-9");
});

it("refuses what is no id, or none this page can count with", () => {
  for (const bad of ["", "-", "1", "1-", "-1", "+1-2", "01-2", "1-2-3", "1-9007199254740993", "a-b", " 1-2", null, 7]) {
    expect(parseId(bad)).toBeNull();
  }
});

it("orders by generation first", () => {
  expect(compareIds({ generation: 0, sequence: 99 }, { generation: 1, sequence: 0 })).toBeLessThan(0);
  expect(compareIds({ generation: 1, sequence: 3 }, { generation: 1, sequence: 2 })).toBeGreaterThan(0);
  expect(compareIds({ generation: 1, sequence: 3 }, { generation: 1, sequence: 3 })).toBe(0);
});
