import { expect, it } from "vitest";
import { isReport } from "./reports.ts";

it("knows a terminal's own answers from what a person types", () => {
  for (const report of [
    "[?1;2c",
    "[>0;276;0c",
    "[12;40R",
    "[0n",
    "[?2026;2$y",
    "[8;24;80t",
    "]11;rgb:0f0f/1313/1919",
    "P1$r0m",
  ]) {
    expect(isReport(`\x1b${report}`), report).toBe(true);
  }
  for (const typed of [
    "c",
    "R",
    "\x1b",
    "\x1b[A",
    "\x1b[1;5C",
    "\x1b[3~",
    "\x1bOP",
    "\x1b[200~text\x1b[201~",
    "\x03",
  ]) {
    expect(isReport(typed), JSON.stringify(typed)).toBe(false);
  }
});
